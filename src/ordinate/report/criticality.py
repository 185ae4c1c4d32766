"""The figure of a criticality study: for every initialisation the kernel with the band in which single networks lie, the cosine of two inputs, and the fluctuations, foretold (lines) and seen (dots)."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ordinate.analyze.criticality_study import CriticalityStudy
from ordinate.report.saving import save_figure
from ordinate.report.style import THEMES

__all__ = ["save_criticality_figure"]

_COLOURS = THEMES["light"]
_DOTS = 40


def save_criticality_figure(study: CriticalityStudy, folder: Path) -> list[Path]:
    """Draw a study to `criticality.svg` and `criticality.png`.

    Args:
        study: what was found.
        folder: where the files go; made where it is absent.

    Returns:
        The files written.

    Raises:
        OSError: the folder cannot be written.
    """
    return save_figure(lambda: _draw(study), folder, "criticality")


def _draw(study: CriticalityStudy) -> Figure:
    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    name = study.report.activation.replace("$", r"\$")
    figure.suptitle(f"{name}: {study.depth} layers of {study.width}", x=0.01, ha="left", fontweight="bold", color=_COLOURS["ink"])
    places = [figure.add_subplot(2, 2, number) for number in range(1, 5)]
    sizes, cosines, vertices, tangents = places
    layers = list(range(1, study.depth + 1))
    for number, each in enumerate(study.initialisations):
        colour = _COLOURS[f"arm{number}"]
        mean = each.mean.tolist()
        # To first order in 1/n the band is mean ± 2 spread; written as a factor it stays positive where that is wide.
        factor = (2 * each.spread / each.mean).exp().tolist()
        _line(sizes, layers, mean, colour, each.name)
        low, high = [a / b for a, b in zip(mean, factor, strict=True)], [a * b for a, b in zip(mean, factor, strict=True)]
        sizes.fill_between(layers, low, high, color=colour, alpha=0.15, linewidth=0)
        _line(cosines, layers, each.cosine.tolist(), colour, each.name)
        _line(vertices, layers, (each.flow.V / each.flow.K.square() / study.width).tolist(), colour, each.name)
        _line(tangents, layers, each.flow.chi_perp.tolist(), colour, each.name)
        if each.signals is not None:
            step = max(1, math.ceil(study.depth / _DOTS))
            for place, values in ((sizes, each.signals.squares), (cosines, each.signals.cosines)):
                place.plot(
                    layers[::step], values.mean(dim=0)[::step].tolist(), "o", color=colour, markersize=3, alpha=0.7, markeredgewidth=0
                )
    sizes.set_yscale("log")
    vertices.set_yscale("log")
    for place, title in zip(
        places, ("mean of z² (band: one network)", "cosine of two inputs", "fluctuations V / (n K²)", "χ⊥ from layer to layer"), strict=True
    ):
        place.set_title(title)
        place.set_xlabel("layer", fontsize=8.5)
    tangents.axhline(1.0, color=_COLOURS["soft"], linewidth=1, linestyle=(0, (4, 3)))
    handles, labels = sizes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=3, fontsize=8.5)
    return figure


def _line(place: Axes, x: Sequence[float], y: Sequence[float], colour: str, label: str) -> None:
    place.plot(x, y, color=colour, label=label)
