"""`ordinate compose BASE TUNED... -o OUT`: fine-tuned runs added to the run that they were fine-tuned from, as a new run."""

from pathlib import Path
from typing import Annotated

import typer

from ordinate.cli.options import Device, Json, Out, Quiet, Seed, place

__all__ = ["compose"]


def compose(
    base: Annotated[Path, typer.Argument(help="The run (or model folder) that the others were fine-tuned from.")],
    tuned: Annotated[list[Path], typer.Argument(help="Fine-tuned runs (or model folders) of the same architecture.")],
    coefficients: Annotated[
        str | None,
        typer.Option(
            "--coefficients", help="What each is added with, commas between; one number for all. Negative ones forget. 1 by default."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Learn the coefficients on these images instead: a named dataset, or a folder (class = subfolder)."),
    ] = None,
    shots: Annotated[int | None, typer.Option("--shots", help="With --data: learn from so many images of each class.")] = None,
    granularity: Annotated[str, typer.Option("--granularity", help="With --data: scalar, block or partition.")] = "block",
    partitions: Annotated[int | None, typer.Option("--partitions", help="With --granularity partition: how many a block.")] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="With --data: epochs of learning.")] = 10,
    lr: Annotated[float, typer.Option("--lr", help="With --data: the peak learning rate.")] = 0.1,
    seed: Seed = 0,
    device: Device = "cpu",
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compose task vectors: add what fine-tuning changed, by given numbers or by learned ones, and keep the sum as a run."""
    from rich.table import Table

    from ordinate.cli.console import print_json, say, show
    from ordinate.experiment.setting import Setting
    from ordinate.ground.errors import InputError
    from ordinate.tasks.compose_runs import compose_runs, learn_runs

    Setting(device=device)
    if data is not None and coefficients is not None:
        raise InputError("coefficients are given with --coefficients or learned with --data, not both")
    if data is None and (shots is not None or partitions is not None):
        raise InputError("--shots and --partitions belong to learning: give --data too")
    folder = place("compose", out, False)
    if folder.exists():
        raise InputError(f"{folder} exists already: choose another folder with --out")
    if data is not None:
        found = learn_runs(
            base, tuned, data, granularity=granularity, partitions=partitions, shots=shots, epochs=epochs, lr=lr, seed=seed, device=device
        )
    else:
        try:
            numbers = [float(part) for part in (coefficients or "1").split(",")]
        except ValueError:
            raise InputError(f"--coefficients takes numbers with commas between them, 0.3,-1, not {coefficients!r}") from None
        found = compose_runs(base, tuned, numbers)
    found.save(folder)
    if as_json:
        print_json({"run": str(folder), "scores": found.scores, "similarity": found.similarity, "composed": found.card["composed"]})
        return
    table = Table(title=f"{len(tuned)} task vectors of {base}", title_justify="left")
    table.add_column("run", overflow="fold")
    table.add_column("coefficient", justify="right")
    for number in range(len(tuned)):
        table.add_column(f"cosine {number + 1}", justify="right")
    for name, coefficient, row in zip(tuned, found.coefficients, found.similarity, strict=True):
        shown = f"{coefficient:.3f}" if isinstance(coefficient, float) else f"{len(found.card['composed']['blocks'])} blocks"
        table.add_row(str(name), shown, *(f"{value:.2f}" for value in row))
    show(table)
    for score, value in found.scores.items():
        show(f"{score}: {value:.2f}")
    if not quiet:
        say(f"the composed run: {folder}")
