"""How a figure is drawn and written: in the house's style, as SVG and PNG, whole or not at all, and with the same bytes every time."""

from collections.abc import Callable
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from ordinate.ground.files import atomic_path
from ordinate.report.style import FIGURE_STYLE

__all__ = ["save_figure"]


def save_figure(draw: Callable[[], Figure], folder: Path, name: str) -> list[Path]:
    """Draw a figure in the house's style and write it to `name.svg` and `name.png`.

    Args:
        draw: makes it; called once.
        folder: where the files go; made where it is absent.
        name: without an ending.

    Returns:
        The files written.

    Raises:
        OSError: the folder cannot be written.
    """
    paths = []
    with rc_context(FIGURE_STYLE):
        figure = draw()
        for kind in ("svg", "png"):
            path = folder / f"{name}.{kind}"
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=kind, metadata={"Date": None, "Creator": None} if kind == "svg" else {"Software": None})
            paths.append(path)
    return paths
