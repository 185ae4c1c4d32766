"""`ordinate plan labels`: the cheapest numbers of unlabelled rows and of labels for a target, from pilot runs."""

from pathlib import Path
from typing import Annotated

import typer

from ordinate.cli.options import Json, Out, Quiet, Seed, place

__all__ = ["labels"]


def labels(
    runs: Annotated[Path, typer.Argument(help="Pilot runs: a CSV with columns m (unlabelled rows; 0 for labels alone), n (labels), risk.")],
    target: Annotated[float, typer.Option("--target", help="The risk to be reached, in the unit of the runs.")],
    cost_unlabelled: Annotated[float, typer.Option("--cost-unlabelled", help="The price of an unlabelled row.")] = 1.0,
    cost_labelled: Annotated[float, typer.Option("--cost-labelled", help="The price of a label.")] = 100.0,
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The cheapest numbers of unlabelled rows and labels that reach a target, what is the bottleneck now, and what pretraining saves."""
    import math

    from rich.table import Table

    from ordinate.analyze.sample_planner import SamplePlanner
    from ordinate.cli.console import print_json, say, show
    from ordinate.data.pilot_runs import read_pilot_runs
    from ordinate.ground.files import write_json
    from ordinate.report.label_plan import save_label_plan_figure

    found = read_pilot_runs(runs)
    planner = SamplePlanner(seed=seed).fit(found)
    plan = planner.plan(target, cost_unlabelled, cost_labelled)
    m, n = max(run[0] for run in found), max(run[1] for run in found if run[0])
    now = planner.bottleneck(m, n)
    whole = (math.ceil(plan.m), math.ceil(plan.n))
    ahead = planner.crossover(whole[1]) if planner.alone_ else None
    document = {
        "target": target,
        "m": whole[0],
        "n": whole[1],
        "cost": plan.cost,
        "cost_interval": [_finite(plan.cost_low), _finite(plan.cost_high)],
        "labels_alone": None if plan.supervised is None else math.ceil(plan.supervised),
        "ahead_from_m": None if ahead is None else _finite(ahead),
        "fit": {name: {"value": value, "interval": list(planner.intervals_[name])} for name, value in planner.fit_._asdict().items()},
        "misfit": planner.misfit_,
        "bottleneck": {"m": m, "n": n, **now._asdict()},
    }
    folder = place("plan/labels", out, False)
    write_json(folder / "label-plan.json", document)
    figures = save_label_plan_figure(planner, plan, cost_unlabelled, cost_labelled, folder)
    if as_json:
        print_json(document)
        return
    facts = Table(title=f"The cheapest data for a risk of {target:g}", title_justify="left", show_header=False)
    facts.add_column("what", style="dim")
    facts.add_column("value")
    facts.add_row("unlabelled rows", f"{whole[0]:,}")
    facts.add_row("labels", f"{whole[1]:,}")
    facts.add_row("cost", f"{plan.cost:,.4g}   [{plan.cost_low:,.4g}, {plan.cost_high:,.4g}]")
    if plan.supervised is not None and ahead is not None:
        facts.add_row("labels alone would need", f"{math.ceil(plan.supervised):,}, at {cost_labelled * plan.supervised:,.4g}")
        facts.add_row(
            f"pretraining is ahead at {whole[1]:,} labels", f"from {ahead:,.0f} unlabelled rows on" if math.isfinite(ahead) else "never"
        )
    facts.add_row(
        f"bottleneck of the largest run (m = {m:,}, n = {n:,})",
        f"{now.name}: {now.unlabelled:.3g} unlabelled, {now.labelled:.3g} labelled, {now.floor:.3g} floor",
    )
    show(facts)
    curve = Table(title=f"a m^-p + b n^-q + c, off by {planner.misfit_:.1%} on average", title_justify="left")
    for column in ("", "value", "95 % interval"):
        curve.add_column(column, justify="left" if not column else "right")
    for name, value in planner.fit_._asdict().items():
        low, high = planner.intervals_[name]
        curve.add_row(name, f"{value:.4g}", f"[{low:.4g}, {high:.4g}]")
    show(curve)
    if not quiet:
        say(f"numbers and {len(figures)} figures: {folder}")


def _finite(value: float) -> float | None:
    import math

    return value if math.isfinite(value) else None
