"""`ordinate analyze incontext RUN`: which learning algorithm a trained network follows in context."""

from pathlib import Path
from typing import Annotated

import typer

from ordinate.cli.options import Device, Json, Out, Quiet, Seed, place

__all__ = ["incontext"]


def incontext(
    run: Annotated[Path, typer.Argument(help="A run of ordinate train ... --objective in-context.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Other prompts than those that it was trained on: linear:d=4,n=12,noise=0.5.")
    ] = None,
    prompts: Annotated[int, typer.Option("--prompts", help="Prompts to draw.")] = 2_000,
    asked: Annotated[
        int, typer.Option("--asked", help="How many of them are asked fresh queries, for weights and linearity; 0 for none.")
    ] = 128,
    seed: Seed = 0,
    device: Device = "cpu",
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The distance of a network to gradient descent, ridge regression, least squares, nearest neighbours and the Bayes predictor, over context lengths."""
    from typing import cast

    from rich.table import Table

    from ordinate.analyze.in_context.following import reference_families
    from ordinate.analyze.in_context.model import Askable, ModelPredictor
    from ordinate.analyze.in_context.study import study_in_context
    from ordinate.cli.console import print_json, say, show
    from ordinate.data.in_context.sources import make_source, source_family
    from ordinate.experiment.setting import Setting
    from ordinate.ground.errors import InputError
    from ordinate.ground.files import write_json
    from ordinate.report.in_context import save_in_context_figure
    from ordinate.tasks.in_context import InContext
    from ordinate.tasks.training_run import load_run

    Setting(device=device)
    finished = load_run(run)
    if finished.card["objective"] not in InContext.objectives:
        raise InputError(
            f"the run in {run} was trained on {finished.card['objective']!r}, not in context: use one of ordinate train ... --objective in-context"
        )
    text = data or finished.card["data"] or InContext.default
    source = make_source(text)
    families = reference_families(source_family(text), source)
    predictor = ModelPredictor(cast(Askable, finished.model.to(device)), layout=source.layout, device=device)
    found = study_in_context(predictor, source, families, prompts=prompts, asked=asked, seed=seed)
    folder = place("analyze/incontext", out, False)
    document = {"run": str(run), "data": text, **found.to_json()}
    write_json(folder / "incontext.json", document)
    figures = save_in_context_figure(found, folder, f"{run.name} on {text}")
    if as_json:
        print_json(document)
        return
    table = Table(title=f"{run.name} on {text}: nearest to {found.ranking[0]}", title_justify="left")
    for column in ("algorithm", "nearest member", "SPD / d", f"SPD / d, 1 to {source.d - 1} pairs", "ILWD / d", "its own error"):
        table.add_column(column, justify="left" if column in ("algorithm", "nearest member") else "right", overflow="fold")
    for name in found.ranking:
        each = found.references[name]
        few = f"{each.spd.over(1, source.d):.3g}" if 1 < source.d < source.n else "-"
        apart = "-" if each.ilwd is None else f"{each.ilwd.over():.3g}"
        table.add_row(name, each.member, f"{each.spd.over():.3g}", few, apart, f"{each.risk.over():.3g}")
    show(table)
    lengths = Table(title="squared difference of answers / d, ± 95 % of its mean over prompts", title_justify="left")
    lengths.add_column("pairs", justify="right")
    for name in found.references:
        lengths.add_column(name, justify="right")
    lengths.add_column("nearest")
    for pairs, nearest in enumerate(found.nearest, start=1):
        cells = [f"{each.spd.mean[pairs]:.2g} ± {each.spd.half[pairs]:.1g}" for each in found.references.values()]
        lengths.add_row(str(pairs), *cells, nearest)
    show(lengths)
    if found.linearity is not None:
        show(f"linear in the query: R² {found.linearity[1:].mean():.4f}; squared error {found.risk.over():.4g}")
    if not quiet:
        say(f"numbers and {len(figures)} figures: {folder}")
