"""The figure of a circuit: the grid of scores, the same of the control by size, and one against the other, with the known heads ringed where they are known."""

from pathlib import Path

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ordinate.analyze.circuits import CircuitResult
from ordinate.report.saving import save_figure
from ordinate.report.style import THEMES

__all__ = ["save_circuit_figure"]

_COLOURS = THEMES["light"]
_NAMED = 8


def save_circuit_figure(
    result: CircuitResult, folder: Path, *, title: str = "", truth: Float[Tensor, "layers columns"] | None = None
) -> list[Path]:
    """Draw a circuit to `circuit.svg` and `circuit.png`.

    Args:
        result: what was found.
        folder: where the files go; made where it is absent.
        title: above the figure.
        truth: 1 at the heads that are known to be in the circuit.

    Returns:
        The files written.

    Raises:
        OSError: the folder cannot be written.
    """
    return save_figure(lambda: _draw(result, title, truth), folder, "circuit")


def _draw(result: CircuitResult, title: str, truth: Tensor | None) -> Figure:
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    if title:
        figure.suptitle(title.replace("$", r"\$"), x=0.01, ha="left", fontweight="bold", color=_COLOURS["ink"])
    scores, norms, against = (figure.add_subplot(1, 3, number) for number in (1, 2, 3))
    _grid(scores, result.scores, "codes of positives alone", truth)
    _grid(norms, result.norms, "size of the outputs", truth)
    x, y = result.norms.flatten().tolist(), result.scores.flatten().tolist()
    inside = [False] * len(x) if truth is None else (truth.flatten() > 0).tolist()
    colours = [_COLOURS["arm1"] if known else _COLOURS["arm0"] for known in inside]
    against.scatter(x, y, c=colours, s=16, alpha=0.8, linewidths=0)
    for name, _ in result.ranking()[:_NAMED]:
        place = result.labels.index(name)
        against.annotate(name, (x[place], y[place]), textcoords="offset points", xytext=(4, 2), fontsize=7.5, color=_COLOURS["soft"])
    against.set_title("score by size")
    against.set_xlabel("size of the outputs", fontsize=8.5)
    return figure


def _grid(place: Axes, values: Tensor, title: str, truth: Tensor | None) -> None:
    place.imshow(values.numpy(), cmap="viridis", aspect="auto", interpolation="nearest")
    if truth is not None:
        for layer, column in truth.nonzero().tolist():
            place.plot(column, layer, "o", markersize=9, markerfacecolor="none", markeredgecolor=_COLOURS["arm1"], markeredgewidth=1.6)
    place.grid(False)
    place.set_title(title)
    place.set_xlabel("head", fontsize=8.5)
    place.set_ylabel("layer", fontsize=8.5)
    for axis in (place.xaxis, place.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
