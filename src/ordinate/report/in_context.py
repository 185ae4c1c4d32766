"""The figure of an in-context study: how far a predictor is from each algorithm after every number of pairs, and their errors beside its own, with 95 % bands."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ordinate.analyze.in_context.following import Curve, Following
from ordinate.report.saving import save_figure
from ordinate.report.style import THEMES

__all__ = ["save_in_context_figure"]

_COLOURS = THEMES["light"]
_LEAST = 1e-8  # what is drawn on a logarithmic axis in place of 0


def save_in_context_figure(found: Following, folder: Path, title: str) -> list[Path]:
    """Draw a study to `incontext.svg` and `incontext.png`.

    Args:
        found: the study.
        folder: where the files go; made where it is absent.
        title: what was studied.

    Returns:
        The files written.

    Raises:
        OSError: the folder cannot be written.
    """
    return save_figure(lambda: _draw(found, title), folder, "incontext")


def _draw(found: Following, title: str) -> Figure:
    figure = Figure(figsize=(9.2, 4.0), layout="constrained")
    figure.suptitle(title.replace("$", r"\$"), x=0.01, ha="left", fontweight="bold", color=_COLOURS["ink"])
    answers, risks = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    for number, (name, each) in enumerate(found.references.items()):
        colour = _COLOURS[f"arm{number % _arms()}"]
        _line(answers, each.spd, colour, name)
        _line(risks, each.risk, colour, name, dashed=True)
    _line(risks, found.risk, _COLOURS["ink"], "model")
    answers.set_title("squared difference of answers / d")
    risks.set_title("squared error (dashed: the algorithms)")
    for place in (answers, risks):
        place.set_yscale("log")
        place.set_xlabel("pairs in the prompt", fontsize=8.5)
        place.axvline(found.d, color=_COLOURS["soft"], linewidth=1, linestyle=(0, (1, 3)))
    handles, labels = risks.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=8, fontsize=8.5)
    return figure


def _arms() -> int:
    return sum(name.startswith("arm") for name in _COLOURS)


def _line(place: Axes, curve: Curve, colour: str, label: str, *, dashed: bool = False) -> None:
    pairs = list(range(1, len(curve.mean)))
    mean, half = curve.mean[1:].clamp(min=_LEAST), curve.half[1:]
    place.plot(pairs, mean.tolist(), color=colour, label=label, linestyle="--" if dashed else "-")
    if not dashed and bool(half.isfinite().all()):
        place.fill_between(pairs, (mean - half).clamp(min=_LEAST).tolist(), (mean + half).tolist(), color=colour, alpha=0.15, linewidth=0)
