"""`ordinate embed RUN INPUT -o OUT`: what a trained model makes of its inputs, a vector each."""

from pathlib import Path
from typing import Annotated

import typer

from ordinate.cli.options import Device, Json, Quiet

__all__ = ["embed"]


def embed(
    run: Annotated[Path, typer.Argument(help="A run folder of ordinate train.")],
    given: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="What the run was trained on: an image or a folder of them, a file with a text (or a set of numbers) a line, a named dataset.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write: .parquet (with ids and labels) or .npy.")] = Path(
        "embeddings.parquet"
    ),
    dim: Annotated[
        int | None,
        typer.Option("--dim", help="Keep only the first so many dimensions, normalised anew: for models trained with --matryoshka."),
    ] = None,
    at_once: Annotated[int, typer.Option("--batch-size", min=1, help="Inputs that are embedded together.")] = 128,
    strict: Annotated[bool, typer.Option("--strict", help="A corrupt file is an error, not a warning.")] = False,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Embed images, texts or sets of numbers with a trained model, one vector each; a run that was interrupted goes on where it stopped."""
    from torch import Tensor

    from ordinate.cli.console import advancing, print_json, say
    from ordinate.ground.errors import InputError
    from ordinate.objectives.matryoshka import truncate
    from ordinate.retrieve.embeddings import Origin, check_ending
    from ordinate.retrieve.resumable import embed_resumably
    from ordinate.tasks.run_encoder import load_encoder

    check_ending(out)
    encoder = load_encoder(run, device)
    fingerprint = encoder.fingerprint
    if dim is not None and not 1 <= dim <= fingerprint.width:
        raise InputError(f"--dim must lie between 1 and the embedding's own {fingerprint.width}, not {dim}")
    inputs = encoder.open(given, strict=strict)
    if dim is not None:
        fingerprint = fingerprint.shortened(dim)
    origin = Origin(
        fingerprint,
        str(run.resolve()),
        str(Path(given).expanduser().resolve()) if Path(given).expanduser().exists() and not inputs.named else given,
        str(inputs.root.resolve()) if inputs.root else None,
    )

    def vectors(rows: range) -> Tensor:
        found = encoder.encode(inputs.take(rows))
        return found if dim is None else truncate(found, dim)

    try:
        with advancing("embedding", len(inputs.ids), quiet or as_json) as watch:
            written = embed_resumably(
                out,
                inputs.ids,
                vectors,
                identity={"fingerprint": fingerprint.word, "inputs": inputs.stamp, "device": device},
                labels=inputs.labels,
                origin=origin,
                at_once=at_once,
                watch=watch,
            )
    except KeyboardInterrupt:
        say("interrupted; what was embedded is kept, and the same command goes on from there")
        raise
    if as_json:
        print_json(
            {
                "embeddings": str(out),
                "rows": written.rows,
                "dim": fingerprint.width,
                "dims": list(fingerprint.dims),
                "kind": fingerprint.kind,
                "fingerprint": fingerprint.word,
                "resumed_from": written.before,
            }
        )
    else:
        if written.before:
            say(f"went on after {written.before:,} rows that had been embedded before")
        say(f"{written.rows:,} embeddings of {fingerprint.width} dimensions: {out}")
