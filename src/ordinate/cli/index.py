"""`ordinate index EMBEDDINGS --dims 16,64,256 -o INDEX`: nested embeddings made searchable."""

from pathlib import Path
from typing import Annotated

import typer

from ordinate.cli.options import Json, Quiet

__all__ = ["index"]


def index(
    embeddings: Annotated[
        Path, typer.Argument(metavar="EMBEDDINGS", help="A file of ordinate embed, or any .npy or .parquet of its form.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The index's folder; by default beside the embeddings, ending in .index.")
    ] = None,
    dims: Annotated[
        str | None, typer.Option("--dims", help="The sizes to search at, 16,64,256; by default those that the model was trained for.")
    ] = None,
    backend: Annotated[
        str, typer.Option("--backend", help="flat, hnsw or ivf (faiss, in a file), or qdrant (a vector database).")
    ] = "flat",
    metric: Annotated[str, typer.Option("--metric", help="cosine or l2.")] = "cosine",
    url: Annotated[
        str | None, typer.Option("--url", help="Of a Qdrant server; without it the database's own engine runs in this process.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="The run folder of the model that made the vectors, where the file does not say.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make an index of embeddings, or replace one in one step: the old one stays whole until the new one is."""
    from ordinate.cli.console import print_json, say
    from ordinate.ground.errors import InputError
    from ordinate.retrieve.embeddings import open_embeddings
    from ordinate.retrieve.stored_index import StoredIndex
    from ordinate.tasks.run_encoder import load_encoder

    file = open_embeddings(embeddings)
    sizes = None
    if dims is not None:
        try:
            sizes = [int(part) for part in dims.split(",")]
        except ValueError:
            raise InputError(f"--dims takes sizes with commas between them, 16,64,256, not {dims!r}") from None
    fingerprint = None
    if run is not None:
        fingerprint = load_encoder(run).fingerprint
        if file.width < fingerprint.width:
            fingerprint = fingerprint.shortened(file.width)
    folder = out if out is not None else embeddings.with_suffix(".index")
    made = StoredIndex.create(
        folder,
        file,
        dims=sizes,
        backend=backend,
        fingerprint=fingerprint,
        metric=metric,
        run=str(run.resolve()) if run is not None else None,
        url=url,
    )
    if as_json:
        print_json(
            {
                "index": str(folder),
                "rows": len(made),
                "dims": list(made.dims),
                "backend": backend,
                "metric": metric,
                "fingerprint": made.fingerprint.word if made.fingerprint else None,
            }
        )
    else:
        say(f"{len(made):,} vectors, searched at {', '.join(map(str, made.dims))} dimensions: {folder}")
        if made.fingerprint is None and not quiet:
            say("it does not say which model made them, so that it can be searched by vectors and ids alone: --run RUN names the model")
