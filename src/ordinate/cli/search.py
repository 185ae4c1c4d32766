"""`ordinate search INDEX QUERY`: the nearest of what was indexed, to a picture, a text, vectors of a file, or something that is in the index itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ordinate.cli.options import Device, Json, Quiet

if TYPE_CHECKING:
    from torch import Tensor

    from ordinate.retrieve.stored_index import StoredIndex

__all__ = ["search"]

_SHEET_ROWS = 16


@dataclass(frozen=True)
class _Queries:
    """Names and vectors of what is searched for; of an id of the index, its own row, which is left out of what is found; of a picture, its file."""

    names: list[str]
    vectors: "Tensor"
    own: int | None = None
    file: Path | None = None


def search(
    index: Annotated[Path, typer.Argument(help="A folder of ordinate index.")],
    query: Annotated[
        str,
        typer.Argument(
            metavar="QUERY", help="A picture, a text, a .npy or .parquet of vectors, or an id of the index (then itself left out)."
        ),
    ],
    k: Annotated[int, typer.Option("-k", help="How many are found.")] = 10,
    shortlist_dim: Annotated[
        int | None, typer.Option("--shortlist-dim", help="The size at which a shortlist is found; the smallest by default.")
    ] = None,
    rerank_dim: Annotated[
        int | None,
        typer.Option("--rerank-dim", help="The size at which it is sorted; the whole by default. Equal to --shortlist-dim: one search."),
    ] = None,
    shortlist: Annotated[int, typer.Option("--shortlist", help="Its length.")] = 200,
    run: Annotated[
        Path | None, typer.Option("--run", help="The run folder that embeds the query; by default the one that the index names.")
    ] = None,
    sheet: Annotated[Path, typer.Option("--out", "-o", help="Of pictures: where the contact sheet is written.")] = Path("neighbours.png"),
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search an index: names and scores of what is nearest, and of pictures a contact sheet."""
    from rich.table import Table

    from ordinate.cli.console import print_json, say, show
    from ordinate.ground.errors import InputError
    from ordinate.retrieve.stored_index import StoredIndex

    opened = StoredIndex.open(index)
    asked = _queries(opened, query, run, device)
    if not 1 <= k <= len(opened):
        raise InputError(f"-k must be between 1 and the {len(opened):,} rows of the index, not {k}")
    more = min(k + (asked.own is not None), len(opened))
    hits = opened.search(asked.vectors, more, shortlist_dim, rerank_dim, shortlist)
    results: list[dict[str, Any]] = []
    for name, ids, scores, rows in zip(asked.names, hits.ids, hits.scores.tolist(), hits.rows.tolist(), strict=True):
        kept = [(each, score, row) for each, score, row in zip(ids, scores, rows, strict=True) if row != asked.own][:k]
        labels = opened.labels([row for _, _, row in kept])
        neighbours: list[dict[str, Any]] = []
        for place, (each, score, _) in enumerate(kept):
            file = opened.file(each)
            neighbours.append(
                {
                    "id": each,
                    "score": score,
                    **({"label": labels[place]} if labels is not None else {}),
                    **({"file": str(file)} if file is not None else {}),
                }
            )
        results.append({"query": name, "neighbours": neighbours})
    drawn = _draw(opened, asked, results, sheet)
    if as_json:
        print_json({"index": str(index), "rows": len(opened), "queries": results, **({"sheet": str(drawn)} if drawn else {})})
        return
    for result in results:
        table = Table(title=f"nearest to {result['query']}", title_justify="left")
        labelled = any("label" in each for each in result["neighbours"])
        table.add_column("", justify="right", style="dim")
        table.add_column("score", justify="right", no_wrap=True)
        table.add_column("id", overflow="fold")
        if labelled:
            table.add_column("label", overflow="fold")
        for place, each in enumerate(result["neighbours"], start=1):
            table.add_row(str(place), f"{each['score']:.4f}", each["id"], *([each["label"]] if labelled else []))
        show(table)
    if drawn and not quiet:
        say(f"the pictures: {drawn}")


def _queries(opened: "StoredIndex", query: str, run: Path | None, device: str) -> _Queries:
    from ordinate.ground.errors import InputError
    from ordinate.objectives.matryoshka import truncate
    from ordinate.retrieve.embeddings import ENDINGS, read_embeddings
    from ordinate.tasks.run_encoder import load_encoder

    path = Path(query).expanduser()
    if path.suffix in ENDINGS and (path.exists() or opened.store.row_of(query) is None):
        given = read_embeddings(path)
        if given.origin is not None:
            opened.check(given.origin.fingerprint)
        elif given.width != opened.width:
            raise InputError(f"{path} holds vectors that are {given.width} wide, and the index vectors that are {opened.width} wide")
        return _Queries(given.ids, given.vectors)
    own = opened.store.row_of(query) if not path.is_file() else None
    if own is not None:
        return _Queries([query], opened.vectors([own]), own=own)
    folder = run if run is not None else opened.run
    kind = opened.fingerprint.kind if opened.fingerprint else None
    if folder is None:
        raise InputError(f"the index in {opened.path} has no id {query!r}, and does not say which model embeds a query: --run RUN names it")
    if kind == "image" and not path.is_file():
        raise InputError(f"{query!r} is neither a picture that is there nor an id of the index in {opened.path}")
    if run is None and not Path(folder).is_dir():
        raise InputError(f"the run that embeds queries, {folder}, is not there any more: --run RUN says where it is now")
    encoder = load_encoder(Path(folder), device)
    short = opened.width < encoder.fingerprint.width
    opened.check(encoder.fingerprint.shortened(opened.width) if short else encoder.fingerprint)
    vectors = encoder.encode(encoder.query(query)).cpu()
    return _Queries([query], truncate(vectors, opened.width) if short else vectors, file=path if kind == "image" else None)


def _draw(opened: "StoredIndex", asked: _Queries, results: list[dict[str, Any]], sheet: Path) -> Path | None:
    """The contact sheet of an index of pictures; None where there is nothing to show."""
    if opened.origin is None or opened.origin.fingerprint.kind != "image":
        return None
    from ordinate.data.album import Album
    from ordinate.data.decode import decode
    from ordinate.report.contact_sheet import Shown, draw_sheet

    album = Album(opened.origin.given, Path(opened.origin.root) if opened.origin.root else None)
    rows: list[tuple[Shown, list[Shown]]] = []
    for result in results[:_SHEET_ROWS]:
        own = decode(asked.file, grey=False) if asked.file is not None else album.picture(result["query"])
        found = [(album.picture(each["id"]), f"{each['id']}\n{each['score']:.3f}") for each in result["neighbours"]]
        rows.append(((own, f"{result['query']}\nthe query"), list(found)))
    if all(pixels is None for _, found in rows for pixels, _ in found):
        return None
    draw_sheet(sheet, rows)
    return sheet
