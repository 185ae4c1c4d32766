"""`ordinate analyze probe RUN... --data D`: what the embeddings of runs are good for, each by itself and side by side."""

from pathlib import Path
from typing import Annotated

import typer

from ordinate.cli.options import Device, Json, Out, Quiet, Seed, place

__all__ = ["probe"]


def probe(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders of ordinate train, one or more.")],
    data: Annotated[str, typer.Option("--data", help="Images: a folder (class = subfolder), or a named dataset.")],
    labels: Annotated[int | None, typer.Option("--labels", help="Fit on so many labels only.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="At most this many training and as many test images.")] = 10_000,
    solver: Annotated[str, typer.Option("--solver", help="newton (logistic), ridge or sgd.")] = "newton",
    l2: Annotated[str | None, typer.Option("--l2", help="Penalties to choose from, with commas between them: 1e-4,1e-2.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A corrupt file is an error, not a warning.")] = False,
    device: Device = "cpu",
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Linear probes on the frozen embeddings of one run or several side by side, and how redundant these are."""
    from rich.table import Table

    from ordinate.analyze.linear_probe import L2_GRID
    from ordinate.cli.console import print_json, say, show
    from ordinate.experiment.setting import Setting
    from ordinate.ground.errors import InputError
    from ordinate.ground.files import write_json
    from ordinate.tasks.run_probe import probe_runs

    Setting(device=device)
    try:
        penalties = L2_GRID if l2 is None else tuple(float(part) for part in l2.split(","))
    except ValueError:
        raise InputError(f"--l2 takes penalties with commas between them, 1e-4,1e-2, not {l2!r}") from None
    found = probe_runs(runs, data, labels=labels, limit=limit, solver=solver, l2=penalties, device=device, strict=strict, seed=seed)
    document = found.to_json()
    folder = place("analyze/probe", out, False)
    write_json(folder / "probe.json", document)
    if as_json:
        print_json(document)
        return
    table = Table(title=f"fitted on {found.fitted:,} images of {found.data}, scored on {found.tested:,}", title_justify="left")
    table.add_column("embeddings of", overflow="fold")
    for column in ("width", "accuracy %", "penalty", "adds %"):
        table.add_column(column, justify="right")
    for row in found.rows:
        adds = "" if row.adds is None else f"{100 * row.adds:+.1f}"
        table.add_row(row.name, str(row.width), f"{100 * row.accuracy:.1f}", f"{row.l2:g}", adds)
    show(table)
    if found.cka and found.predicted:
        pairs = [(i, j) for i in range(len(runs)) for j in range(i)]
        likeness = sum(found.cka[i][j] for i, j in pairs) / len(pairs)
        explained = sum(found.predicted[i][j] + found.predicted[j][i] for i, j in pairs) / (2 * len(pairs))
        show(f"between two runs: CKA {likeness:.2f}, and {100 * explained:.0f} % of one's variance predicted by the other")
    if not quiet:
        say(f"the numbers: {folder}")
