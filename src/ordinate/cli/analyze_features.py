"""`ordinate analyze features RUN --data D`: what a trained model's layers show of labels, beside what they hold of them."""

from pathlib import Path
from typing import Annotated

import typer

from ordinate.cli.options import Device, Json, Out, Quiet, Seed, place

__all__ = ["features"]


def features(
    run: Annotated[Path, typer.Argument(help="A run folder of ordinate train.")],
    data: Annotated[str, typer.Option("--data", help="Images: a folder (class = subfolder), or a named dataset.")],
    layers: Annotated[
        list[str] | None,
        typer.Option("--layer", help="A module of the model by name; may be given several times. By default what its head reads."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="A CSV file of further labels, one a column; with a column id, or in order.")
    ] = None,
    pool: Annotated[str, typer.Option("--pool", help="How maps become vectors: space, positions, first, last, flatten.")] = "space",
    limit: Annotated[int, typer.Option("--limit", help="At most this many images.")] = 4000,
    properties: Annotated[bool, typer.Option("--properties/--no-properties", help="Take brightness and contrast as labels too.")] = True,
    mlp: Annotated[bool, typer.Option("--mlp", help="Decode by an MLP probe too, beside the linear one.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A corrupt file is an error, not a warning.")] = False,
    device: Device = "cpu",
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """How much of each layer's variance labels explain, how well they are decoded, and where the two disagree."""
    from rich.table import Table

    from ordinate.cli.console import print_json, say, show
    from ordinate.experiment.setting import Setting
    from ordinate.ground.files import write_json
    from ordinate.report.features import save_feature_figure
    from ordinate.tasks.feature_audit import DEFAULT_LAYER, audit_run

    Setting(device=device)
    report = audit_run(
        run,
        data,
        layers=layers or (DEFAULT_LAYER,),
        labels=labels,
        pool=pool,
        limit=limit,
        properties=properties,
        mlp=mlp,
        device=device,
        strict=strict,
        seed=seed,
    )
    folder = place("analyze/features", out, False)
    document = report.to_json()
    write_json(folder / "features.json", document)
    figures = save_feature_figure(report, folder)
    if as_json:
        print_json(document)
        return
    table = Table(title=f"{report.examples:,} images, {len(report.joint)} layers", title_justify="left")
    table.add_column("layer", overflow="fold")
    table.add_column("label", overflow="fold")
    for column in ("variance %", "its own %", "units", "decoded %", "chance %", *(("MLP %",) if mlp else ()), "components", "RSA"):
        table.add_column(column, justify="right")
    for row in report.rows:
        table.add_row(
            row.layer,
            row.feature,
            f"{100 * row.variance:.1f}",
            f"{100 * row.unique:.1f}",
            f"{row.dense}/{row.units}",
            f"{100 * row.accuracy:.1f}",
            f"{100 * row.chance:.1f}",
            *((f"{100 * row.mlp:.1f}",) if row.mlp is not None else ()),
            "-" if row.components is None else str(row.components),
            f"{row.rsa:.2f}",
        )
    show(table)
    for layer, joint in report.joint.items():
        show(f"{layer}: {100 * joint:.1f} % of the variance by all labels together")
    for (a, b), value in report.layers.items():
        show(f"RSA of {a} and {b}: {value:.2f}")
    for warning in report.warnings:
        show(f"! {warning}")
    if not quiet:
        say(f"numbers and {len(figures)} figures: {folder}")
