"""The figure of a study of rates: excess risk over unlabelled rows and over labels on logarithmic axes, two phases beside the oracle and labels alone, with the slopes."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ordinate.analyze.rate_study import RateTable
from ordinate.ground.errors import InputError
from ordinate.report.saving import save_figure
from ordinate.report.style import THEMES

__all__ = ["save_rates_figure"]

_COLOURS = THEMES["light"]


def save_rates_figure(found: RateTable, folder: Path) -> list[Path]:
    """Draw a study to `rates.svg` and `rates.png`.

    Args:
        found: the study.
        folder: where the files go; made where it is absent.

    Returns:
        The files written.

    Raises:
        OSError: the folder cannot be written.
    """
    return save_figure(lambda: _draw(found), folder, "rates")


def _draw(found: RateTable) -> Figure:
    grid = found.grid
    figure = Figure(figsize=(9.2, 4.0), layout="constrained")
    figure.suptitle(f"{found.instance} model: excess risk", x=0.01, ha="left", fontweight="bold", color=_COLOURS["ink"])
    labels, rows = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    arms = {"two phases": grid.two_phase[:, -1], "true model": grid.oracle, **grid.baselines}
    for number, (name, risks) in enumerate(arms.items()):
        _line(labels, grid.ns, risks, f"arm{number}", name)
    _line(rows, grid.ms, grid.two_phase[:, :, -1], "arm0", "two phases")
    for number, (name, risks) in enumerate(list(arms.items())[1:], start=1):
        mean = float(risks[:, -1].mean())
        if mean > 0:
            rows.axhline(mean, color=_COLOURS[f"arm{number}"], linestyle="--", linewidth=1, label=name)
    for place, axis, of, other in ((labels, "n", "labels", f"m = {grid.ms[-1]:,}"), (rows, "m", "unlabelled rows", f"n = {grid.ns[-1]:,}")):
        place.set_xscale("log")
        place.set_yscale("log")
        place.set_xlabel(f"{of} {axis}", fontsize=8.5)
        place.set_title(f"{other}{_slope(found, axis)}")
    handles, names = labels.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower left", ncols=5, fontsize=8.5)
    return figure


def _slope(found: RateTable, axis: str) -> str:
    try:
        slope = found.slope(axis)
    except InputError:  # too few sizes that no floor covers: no slope to show
        return ""
    return f": slope {slope.value:.2f} [{slope.low:.2f}, {slope.high:.2f}]"


def _line(place: Axes, sizes: Sequence[int], risks: Tensor, colour: str, label: str) -> None:
    mean = risks.mean(dim=0)
    shown = [(size, value) for size, value in zip(sizes, mean.tolist(), strict=True) if value > 0]  # 0 has no logarithm
    if not shown:
        return
    x, y = zip(*shown, strict=True)
    place.plot(x, y, "o-", color=_COLOURS[colour], label=label, markersize=3.5)
    if len(risks) > 1:
        kept = mean > 0
        error = (risks.std(dim=0) / len(risks) ** 0.5)[kept]
        place.fill_between(
            x,
            (mean[kept] - error).clamp(min=float(mean[kept].min()) / 10).tolist(),
            (mean[kept] + error).tolist(),
            color=_COLOURS[colour],
            alpha=0.15,
            linewidth=0,
        )
