"""`ordinate plan samples TABLE`: how many samples of which source task to buy for a target."""

from pathlib import Path
from typing import Annotated

import typer

from ordinate.cli.options import Json, Out, Quiet, place

__all__ = ["samples"]


def _penalty(text: str) -> float | str:
    from ordinate.ground.errors import InputError

    if text == "cv":
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--penalty is a number, or cv, not {text!r}") from None


def samples(
    table: Annotated[
        Path, typer.Argument(help="Samples at hand, CSV or parquet: a column task, numbers, and the target in the last column.")
    ],
    target: Annotated[str, typer.Option("--target", help="The task that is to be learnt; all others are sources.")],
    budget: Annotated[float, typer.Option("--budget", help="Samples to buy; with costs in --prices, what may be spent.")],
    features: Annotated[int, typer.Option("--features", help="How many features the tasks share.")],
    column: Annotated[str | None, typer.Option("--column", help="The column of targets, where it is not the last.")] = None,
    task_column: Annotated[str, typer.Option("--task-column", help="The column that names tasks.")] = "task",
    rule: Annotated[str, typer.Option("--rule", help="l1, l2 or uniform.")] = "l1",
    penalty: Annotated[str, typer.Option("--penalty", help="Of the Lasso for l1: 0 is the linear program, cv cross-validates.")] = "0",
    minimum: Annotated[int, typer.Option("--minimum", help="The least samples to buy of each source.")] = 0,
    prices: Annotated[Path | None, typer.Option("--prices", help="A table with a row a task: columns task, and cost or cap.")] = None,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """How many samples of which source to buy, so that what is learnt from them serves the target best."""
    from rich.table import Table

    from ordinate.analyze.sample_study import study_samples
    from ordinate.cli.console import print_json, say, show
    from ordinate.data.task_table import read_prices, read_task_table
    from ordinate.ground.errors import choose
    from ordinate.ground.files import write_json

    read = read_task_table(table, task=task_column, target=column)
    choose("task", target, read.names)
    sources = [name for name in read.names if name != target]
    costs, caps = (None, None) if prices is None else read_prices(prices, sources)
    found = study_samples(read, target, budget, features, rule=rule, penalty=_penalty(penalty), minimum=minimum, costs=costs, caps=caps)
    folder = place("plan/samples", out, False)
    document = {"table": str(table), "target": target, "budget": budget, "rule": rule, **found.to_json()}
    write_json(folder / "plan.json", document)
    if as_json:
        print_json(document)
        return
    shown = Table(title=f"{budget:g} to buy for {target}, by {rule}", title_justify="left")
    shown.add_column("source")
    for name in ("at hand", "relevance", "to buy"):
        shown.add_column(name, justify="right")
    for number in found.allocation.argsort(descending=True, stable=True).tolist():
        nu, count = float(found.relevance[number]), int(found.allocation[number])
        shown.add_row(found.sources[number], str(int(found.at_hand[number])), f"{nu:.3g}", str(count))
    show(shown)
    show(f"cost {found.cost:g}; noise of the target {found.noise:.3g}")
    if found.rivals:
        needs = ", ".join(f"{name} {amount:.4g}" for name, amount in found.rivals.items())
        show(f"for the same precision each rule would need: {needs}")
    for remark in found.remarks:
        show(remark)
    if not quiet:
        say(f"the plan: {folder}")
