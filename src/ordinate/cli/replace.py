"""`ordinate replace RUN_NEW --index INDEX`: another model takes over the queries of an index, whose vectors stay as they are."""

from pathlib import Path
from typing import Annotated

import typer

from ordinate.cli.options import Device, Json, Quiet, Seed

__all__ = ["replace"]


def replace(
    run: Annotated[Path, typer.Argument(metavar="RUN_NEW", help="The run folder of the model that is to embed queries from now on.")],
    index: Annotated[Path, typer.Option("--index", help="A folder of ordinate index.")],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Held-out inputs with labels: a named dataset (its test rows), or a folder. By default the run's own named dataset.",
        ),
    ] = None,
    old: Annotated[
        Path | None, typer.Option("--old", help="The run folder of the model that made the vectors, where it is not where the index says.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only compare; record nothing.")] = False,
    device: Device = "cpu",
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Let a compatible model take over an index's queries without embedding its rows anew; refuse, with numbers, one that is not. A running server takes it up by itself."""
    from rich.table import Table

    from ordinate.cli.console import print_json, say, show
    from ordinate.retrieve.stored_index import StoredIndex
    from ordinate.tasks.replacement import judge_replacement

    opened = StoredIndex.open(index)
    judged = judge_replacement(opened, run, data, old=old, device=device, seed=seed)
    report = judged.report
    numbers = {**report.to_json(), "queries": judged.queries, "gallery": judged.gallery}
    accepted = report.compatible and not dry_run
    if accepted:
        opened.accept(judged.fingerprint, str(run.resolve()), numbers)
    if as_json:
        print_json({"run": str(run), "index": str(index), "accepted": accepted, **numbers})
        return 0 if report.compatible else 1
    table = Table(
        title=f"{judged.queries:,} held-out queries against {judged.gallery:,} rows that the old model embedded", title_justify="left"
    )
    for column in ("", "old model's queries", "new model's queries", "asked for"):
        table.add_column(column, justify="left" if not column else "right")
    slack = f"within {report.cosine_tolerance:g}"
    table.add_row("mean cosine, same class", f"{report.old_same:.3f}", f"{report.new_same:.3f}", f"no less, {slack}")
    table.add_row("mean cosine, two classes", f"{report.old_different:.3f}", f"{report.new_different:.3f}", f"no more, {slack}")
    table.add_row(
        "queries identified",
        f"{100 * report.self_test:.1f} %",
        f"{100 * report.cross_test:.1f} %",
        f"no less, within {100 * report.rate_tolerance:g} %",
    )
    table.add_row("pairs kept, same class", "", f"{100 * report.same_pairs:.1f} %", "")
    table.add_row("pairs kept, two classes", "", f"{100 * report.different_pairs:.1f} %", "")
    show(table)
    if not report.compatible:
        say(f"refused: {report.why}. {index} is as it was")
        return 1
    if not quiet:
        say(f"{report.why}. {'Nothing was recorded (--dry-run)' if dry_run else f'{index} takes its queries from now on'}")
    return 0
