"""The figure of a feature report: for every label and layer the part of the variance that it explains (dots) beside how well it is decoded (bars), so that what is known and hardly shown stands out."""

from pathlib import Path

from matplotlib.figure import Figure

from ordinate.analyze.feature_report import FeatureReport
from ordinate.report.saving import save_figure
from ordinate.report.style import THEMES

__all__ = ["save_feature_figure"]

_COLOURS = THEMES["light"]


def save_feature_figure(report: FeatureReport, folder: Path) -> list[Path]:
    """Draw a report to `features.svg` and `features.png`.

    Args:
        report: what was found.
        folder: where the files go; made where it is absent.

    Returns:
        The files written.

    Raises:
        OSError: the folder cannot be written.
    """
    return save_figure(lambda: _draw(report), folder, "features")


def _draw(report: FeatureReport) -> Figure:
    layers = list(report.joint)
    names = list(dict.fromkeys(row.feature for row in report.rows))
    figure = Figure(figsize=(7.2, 1.0 + len(layers) * (0.7 + 0.32 * len(names))), layout="constrained")
    figure.suptitle("What layers hold of labels, and what they show", x=0.01, ha="left", fontweight="bold", color=_COLOURS["ink"])
    for number, layer in enumerate(layers, start=1):
        place = figure.add_subplot(len(layers), 1, number)
        rows = [report.row(layer, name) for name in names]
        heights = list(range(len(rows)))[::-1]
        place.barh(
            heights,
            [100 * max(0.0, row.recovered) for row in rows],
            height=0.6,
            color=_COLOURS["arm0"],
            alpha=0.35,
            label="decoded, chance to certainty",
        )
        place.plot([100 * max(0.0, row.variance) for row in rows], heights, "o", color=_COLOURS["arm1"], label="variance explained")
        for height, row in zip(heights, rows, strict=True):
            place.annotate(
                f"{100 * row.variance:.1f} %", (100 * max(0.0, row.variance), height), (6, -3), textcoords="offset points", fontsize=8
            )
        place.set_yticks(heights, [name.replace("$", r"\$") for name in names])
        place.set_xlim(0, 105)
        place.set_title(layer.replace("$", r"\$"))
        if number == len(layers):
            place.set_xlabel("%", fontsize=8.5)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2, fontsize=8.5)
    return figure
