"""`ordinate serve RUN --index INDEX`: a trained model and an index behind HTTP."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ordinate.cli.options import Device, Json

if TYPE_CHECKING:
    from ordinate.retrieve.server.thumbnails import Thumbnails

__all__ = ["serve"]


def serve(
    run: Annotated[Path, typer.Argument(help="A run folder of ordinate train: it embeds the queries.")],
    index: Annotated[Path, typer.Option("--index", help="A folder of ordinate index.")],
    host: Annotated[str, typer.Option("--host", help="Where to listen; other machines are let in only with a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="A file with the token that requests must carry ($ORDINATE_TOKEN without one).")
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images", help="The pictures of the index's rows, a folder or named dataset; none shows none. By default what was embedded."
        ),
    ] = None,
    max_queue: Annotated[int, typer.Option("--max-queue", help="Requests inside at once; one more is told to come again (429).")] = 64,
    batch: Annotated[int, typer.Option("--batch", help="Rows that are embedded and searched together.")] = 32,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds from a request to its answer (504 beyond).")] = 10.0,
    max_body: Annotated[int, typer.Option("--max-body", help="Bytes of a request (413 beyond).")] = 8 << 20,
    max_pixels: Annotated[int, typer.Option("--max-pixels", help="Of a picture, before it is decoded (413 beyond).")] = 1 << 25,
    max_rows: Annotated[int, typer.Option("--max-rows", help="Pictures, texts or vectors of one request.")] = 256,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Take up replacements that are recorded in the index, now and while serving.")
    ] = True,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Serve a model and an index: POST /embed and /search, GET /health and /metrics, and a page at /. Ends with Ctrl-C or SIGTERM, after the requests inside."""
    from ordinate.cli.console import print_json, say
    from ordinate.ground.errors import InputError, require
    from ordinate.retrieve.server.access import Access, read_token
    from ordinate.retrieve.server.limits import Limits
    from ordinate.retrieve.server.logs import logging_to
    from ordinate.retrieve.stored_index import StoredIndex

    limits = Limits(queue=max_queue, batch=batch, timeout=timeout, body=max_body, pixels=max_pixels, rows=max_rows)
    access = Access(host, read_token(token_file))
    for module in ("fastapi", "uvicorn", "prometheus_client"):
        require(module, "serve")
    from ordinate.retrieve.server.app import Server
    from ordinate.retrieve.server.follow import following
    from ordinate.retrieve.server.process import listen, run_server
    from ordinate.retrieve.server.served import Served
    from ordinate.tasks.served_run import serve_run

    def load() -> Served:
        accepted = StoredIndex.open(index).accepted if follow else []
        chosen = Path(accepted[-1]["run"]) if accepted else run
        try:
            return serve_run(chosen, index, limits, device=device)
        except InputError as error:
            if chosen == run:
                raise
            raise InputError(f"the replacement that {index} records cannot be served: {error} (--no-follow serves {run})") from None

    seen = StoredIndex.stamp(index)
    served = load()
    thumbnails = None if images == "none" else _thumbnails(index, images)
    listener = listen(host, port)
    server = Server(
        served,
        limits=limits,
        access=access,
        thumbnails=thumbnails,
        watch=following(lambda: StoredIndex.stamp(index), load, seen=seen) if follow else None,
    )

    def ready(url: str) -> None:
        if as_json:
            print_json({"url": url, "run": served.run, "fingerprint": served.fingerprint, "rows": len(served.index)})
            sys.stdout.flush()
        else:
            say(f"{len(served.index):,} rows are served at {url}")

    writer = logging_to()
    try:
        run_server(server, listener, ready)
    finally:
        writer.close()


def _thumbnails(index: Path, given: str | None) -> "Thumbnails | None":
    from ordinate.data.images import NAMED_IMAGES
    from ordinate.retrieve.server.thumbnails import Thumbnails
    from ordinate.retrieve.stored_index import StoredIndex

    if given is not None:
        return Thumbnails(given)
    origin = StoredIndex.open(index).origin
    if origin is None or origin.fingerprint.kind != "image":
        return None
    if origin.root is None:
        return Thumbnails(origin.given) if origin.given in NAMED_IMAGES else None
    return Thumbnails(origin.root) if Path(origin.root).is_dir() else None
