"""`ordinate embed RUN INPUT -o OUT`: what a trained model makes of images, a vector each."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ordinate.cli.options import Device, Json, Quiet

__all__ = ["embed"]

_AT_ONCE = 128


def embed(
    run: Annotated[Path, typer.Argument(help="A run folder of ordinate train.")],
    given: Annotated[str, typer.Argument(metavar="INPUT", help="An image, a folder of images, or a named dataset.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write: .parquet (with ids and labels) or .npy.")] = Path(
        "embeddings.parquet"
    ),
    dim: Annotated[
        int | None,
        typer.Option("--dim", help="Keep only the first so many dimensions, normalised anew: for models trained with --matryoshka."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A corrupt file is an error, not a warning.")] = False,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Embed images with a trained model: one vector an image, streamed to a file."""
    import torch
    from rich.progress import track

    from ordinate.cli.console import print_json, say
    from ordinate.data.to_embed import open_pictures
    from ordinate.experiment.setting import Setting
    from ordinate.ground.errors import InputError
    from ordinate.models.base import VisionEncoder
    from ordinate.objectives.matryoshka import truncate
    from ordinate.retrieve.embeddings import Part, check_ending, write_embeddings
    from ordinate.tasks.training_run import load_run

    check_ending(out)
    Setting(device=device)
    finished = load_run(run)
    model = finished.model.to(device)
    if not isinstance(model, VisionEncoder):
        raise InputError(f"{run} holds a {type(model).__name__}, which does not embed images")
    if dim is not None and not 1 <= dim <= model.num_features:
        raise InputError(f"--dim must lie between 1 and the embedding's own {model.num_features}, not {dim}")
    card = finished.card["input"]
    pictures = open_pictures(given, tuple(card["shape"]), tuple(card["mean"]), tuple(card["std"]), strict=strict)

    def parts() -> Iterator[Part]:
        chunks = torch.arange(len(pictures.ids)).split(_AT_ONCE)
        shown = track(chunks, "embedding") if not (quiet or as_json) and sys.stderr.isatty() else chunks
        for rows in shown:
            with torch.no_grad():
                vectors = model.embed(pictures.source.take(rows)["image"].to(device)).float()
            if dim is not None:
                vectors = truncate(vectors, dim)
            first, last = int(rows[0]), int(rows[-1]) + 1
            yield Part(pictures.ids[first:last], vectors.cpu(), pictures.labels[first:last] if pictures.labels else None)

    count = write_embeddings(out, parts())
    if as_json:
        print_json({"embeddings": str(out), "rows": count, "dim": dim or model.num_features})
    else:
        say(f"{count:,} embeddings of {dim or model.num_features} dimensions: {out}")
