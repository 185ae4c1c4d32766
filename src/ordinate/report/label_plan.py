"""The figure of a plan: all pairs of unlabelled rows and labels that reach the target, what they cost, and the cheapest."""

from pathlib import Path

from matplotlib.figure import Figure

from ordinate.analyze.sample_planner import Plan, SamplePlanner
from ordinate.report.saving import save_figure
from ordinate.report.style import THEMES

__all__ = ["save_label_plan_figure"]

_COLOURS = THEMES["light"]
_POINTS = 200


def save_label_plan_figure(planner: SamplePlanner, plan: Plan, cost_unlabelled: float, cost_labelled: float, folder: Path) -> list[Path]:
    """Draw a plan to `label-plan.svg` and `label-plan.png`.

    Args:
        planner: with its curve.
        plan: what it found for a target.
        cost_unlabelled, cost_labelled: the prices of the plan.
        folder: where the files go; made where it is absent.

    Returns:
        The files written.

    Raises:
        OSError: the folder cannot be written.
    """
    return save_figure(lambda: _draw(planner, plan, cost_unlabelled, cost_labelled), folder, "label-plan")


def _draw(planner: SamplePlanner, plan: Plan, cost_unlabelled: float, cost_labelled: float) -> Figure:
    fit = planner.fit_
    figure = Figure(figsize=(9.2, 4.0), layout="constrained")
    figure.suptitle(f"Data for a risk of {plan.risk:.4g}", x=0.01, ha="left", fontweight="bold", color=_COLOURS["ink"])
    pairs, costs = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    room = plan.risk - fit.c
    if fit.a > 0 and fit.b > 0:
        shares = [(place + 0.5) / _POINTS for place in range(_POINTS)]
        ms = [(fit.a / (room * share)) ** (1 / fit.p) for share in shares]
        ns = [(fit.b / (room * (1 - share))) ** (1 / fit.q) for share in shares]
        pairs.plot(ms, ns, color=_COLOURS["arm0"])
        costs.plot(ms, [cost_unlabelled * m + cost_labelled * n for m, n in zip(ms, ns, strict=True)], color=_COLOURS["arm0"])
    pairs.plot([plan.m], [plan.n], "o", color=_COLOURS["arm1"])
    costs.plot([plan.m], [plan.cost], "o", color=_COLOURS["arm1"], label="cheapest")
    if plan.supervised is not None:
        pairs.axhline(plan.supervised, color=_COLOURS["arm3"], linestyle="--", linewidth=1)
        costs.axhline(cost_labelled * plan.supervised, color=_COLOURS["arm3"], linestyle="--", linewidth=1, label="labels alone")
    for place, title in ((pairs, "labels that it takes"), (costs, "cost of both")):
        place.set_xscale("log")
        place.set_yscale("log")
        place.set_title(title)
        place.set_xlabel("unlabelled rows", fontsize=8.5)
    costs.legend(fontsize=8.5)
    return figure
