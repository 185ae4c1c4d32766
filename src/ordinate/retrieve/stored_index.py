"""An index in a folder: nested vectors with names, how a shortlist is found among them, and the fingerprint of the space that they lie in.

index.json       what it is: sizes, metric, backend, where the vectors come from, and which other models' queries are welcome
vectors-XXXX/    its files; index.json names the folder

A new version is written into a folder of its own and taken up in one rename of index.json, so that a reader, and whoever looks after a writer was killed, finds the old index or the new one. What an interrupted writer left is
cleared away by the next.
"""

import secrets
import shutil
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ordinate.ground.errors import InputError, choose, some
from ordinate.ground.files import atomic_folder, read_json, write_json
from ordinate.ground.locks import only_writer
from ordinate.nn.nested_head import complete_dims
from ordinate.retrieve.embeddings import Origin, Part, checked_parts
from ordinate.retrieve.file_store import SHORTLISTS, FileStore
from ordinate.retrieve.fingerprint import Fingerprint
from ordinate.retrieve.qdrant_store import QdrantStore, connect, drop_collections, fill
from ordinate.retrieve.vector_files import METRICS, VectorFiles
from ordinate.retrieve.vector_store import VectorStore

__all__ = ["BACKENDS", "Hits", "Rows", "StoredIndex"]

BACKENDS = (*SHORTLISTS, "qdrant")
CARD = "index.json"
_FORMAT = 1
_LOCK = ".lock"
_AT_ONCE = 1 << 14
_SHORTLIST = 200


class Hits(NamedTuple):
    """What a search found.

    Attributes:
        ids: k names a query, best first.
        scores: (Q, k) float32, descending: cosines, or minus squared distances.
        rows: (Q, k) int64, the rows' numbers.
    """

    ids: list[list[str]]
    scores: Float[Tensor, "queries k"]
    rows: Int[Tensor, "queries k"]


@runtime_checkable
class Rows(Protocol):
    """Embeddings to be indexed, in memory or in a file."""

    @property
    def origin(self) -> Origin | None:
        """Where the vectors come from."""

    @property
    def width(self) -> int:
        """Of a vector."""

    def __len__(self) -> int: ...

    def parts(self, rows: int) -> Iterator[Part]:
        """All rows in their order, at most so many at once."""
        ...


class StoredIndex:
    """An index, opened. Made by `create` and `open`.

    Attributes:
        path: its folder.
        dims: the nested sizes, ascending, the last the width.
        metric: ``"cosine"`` or ``"l2"``.
        backend: one of :data:`BACKENDS`.
        origin: where its vectors come from, or None.
        accepted: what `accept` recorded, the earliest first: fingerprint, run and report.
        facts: what the backend noted when it was made: how many cells, how many of them are looked into, a server's URL.
    """

    def __init__(self, path: Path, card: dict[str, Any], store: VectorStore) -> None:
        """
        Args:
            path: the folder.
            card: what its index.json holds.
            store: what is behind it.
        """
        self.path, self._card, self.store = path, card, store
        self.dims, self.metric, self.backend = store.dims, store.metric, str(card["backend"])
        self.origin = Origin.from_json(card["origin"]) if card["origin"] else None
        self.accepted: list[dict[str, Any]] = list(card["accepted"])
        self.facts: dict[str, Any] = dict(card["facts"])

    @classmethod
    def create(
        cls,
        path: Path,
        embedded: Rows,
        *,
        dims: Sequence[int] | None = None,
        backend: str = "flat",
        fingerprint: Fingerprint | None = None,
        metric: str = "cosine",
        run: str | None = None,
        url: str | None = None,
    ) -> "StoredIndex":
        """Make an index, or replace the one in `path` in one step.

        Args:
            path: a folder that is an index, is empty, or does not exist.
            embedded: `Embedded`, or an `EmbeddingFile`, which is read in parts.
            dims: the sizes to search at, ascending; the width is added where it is not among them. None takes those of the model.
            backend: ``"flat"``, ``"hnsw"`` or ``"ivf"``: a shortlist by faiss; ``"qdrant"``: a vector database.
            fingerprint: of the model that made the vectors; None takes what the embeddings say of themselves.
            metric: ``"cosine"``, or ``"l2"`` for squared distances.
            run: the model's run folder; None takes what the embeddings say of themselves.
            url: of a Qdrant server; None is the engine in this process.

        Raises:
            InputError: sizes that are not a nesting, an unknown backend or metric, embeddings that are empty, not finite, of several widths or have an id twice, a fingerprint of another width, a folder that is something
                else, or one that is just being written.
            MissingError: faiss or Qdrant is not there.
            OSError: the folder cannot be written.
        """
        path = Path(path)
        choose("backend", backend, BACKENDS)
        choose("metric", metric, METRICS)
        if url is not None and backend != "qdrant":
            raise InputError(f"a URL is given for a server of the backend qdrant, not for {backend}")
        origin = _origin(embedded.origin, fingerprint, run)
        if origin is not None and origin.fingerprint.width != embedded.width:
            raise InputError(
                f"the vectors are {embedded.width} wide, and those of the model {origin.fingerprint.width}: they are not of its making"
            )
        sizes = complete_dims(dims or (origin.fingerprint.dims if origin else (embedded.width,)), embedded.width)
        _check_place(path)
        new = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        try:
            with _writing(path):
                old = _content(path)
                _clear(path, old)
                content = f"vectors-{secrets.token_hex(4)}"
                facts: dict[str, Any] = {}
                with atomic_folder(path / content) as folder:
                    if url is not None:
                        client, prefix = connect(url), _prefix(path)
                        facts = {"url": url, "collection": prefix + content}
                        drop_collections(client, prefix, prefix + (old or ""), url)
                        rows = fill(client, prefix + content, checked_parts(embedded.parts(_AT_ONCE), distinct=True), sizes, metric, url)
                        client.close()
                        if not rows:
                            raise InputError("there is nothing to index: the embeddings have no rows")
                    else:
                        parts = _warned(embedded.parts(_AT_ONCE), sizes[0], metric)
                        if backend == "qdrant":
                            VectorFiles.write(folder, parts, metric)
                        else:
                            facts = FileStore.write(folder, parts, sizes, metric, backend)
                        rows = len(embedded)
                card = {
                    "ordinate": "index",
                    "format": _FORMAT,
                    "rows": rows,
                    "dims": list(sizes),
                    "metric": metric,
                    "backend": backend,
                    "content": content,
                    "files": {file.name: file.stat().st_size for file in sorted((path / content).iterdir())},
                    "facts": facts,
                    "origin": origin.to_json() if origin else None,
                    "accepted": [],
                }
                write_json(path / CARD, card)
                _clear(path, content)
        except BaseException:
            if new and not (path / CARD).exists():
                shutil.rmtree(path, ignore_errors=True)
            raise
        if url is not None:
            client = connect(url)
            drop_collections(client, _prefix(path), facts["collection"], url)
            client.close()
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "StoredIndex":
        """Open the index in a folder.

        Raises:
            InputError: there is none, or it is damaged.
            MissingError: faiss or Qdrant is not there.
        """
        path = Path(path)
        for last in (False, False, True):
            card = _card(path)
            try:
                return cls(path, card, _store(path, card))
            except FileNotFoundError as error:  # a new version was taken up in between
                if last:
                    raise InputError(
                        f"the index in {path} is damaged ({error.filename} is not there): make it again with ordinate index"
                    ) from None
        raise AssertionError

    @staticmethod
    def stamp(path: Path) -> Hashable:
        """Something cheap that differs once the index in a folder has changed.

        Raises:
            InputError: there is none.
        """
        try:
            found = (Path(path) / CARD).stat()
        except OSError:
            raise InputError(f"{path} is not an index: make one with ordinate index") from None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def __len__(self) -> int:
        return len(self.store)

    @property
    def width(self) -> int:
        """Of the vectors."""
        return self.dims[-1]

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Of the model that made the vectors, if it is known."""
        return self.origin.fingerprint if self.origin else None

    @property
    def welcome(self) -> list[Fingerprint]:
        """Of every model whose queries are taken: the vectors' own, and those that were accepted."""
        first = [self.origin.fingerprint] if self.origin else []
        return first + [Fingerprint.from_json(each["fingerprint"]) for each in self.accepted]

    @property
    def run(self) -> str | None:
        """The run folder of the model that queries are to be embedded by: the one accepted last, or else the vectors' own."""
        if self.accepted:
            return str(self.accepted[-1]["run"])
        return self.origin.run or None if self.origin else None

    def check(self, fingerprint: Fingerprint) -> None:
        """Raise `InputError` unless queries of this model are welcome."""
        welcome = self.welcome
        if not welcome:
            raise InputError(
                f"the index in {self.path} does not say which model made its vectors: make it again with ordinate index ... --run RUN"
            )
        if fingerprint not in welcome:
            raise InputError(
                f"these queries lie in another space than the vectors of {self.path}: {welcome[-1].difference(fingerprint)}. Embed them with {self.run or 'the model that made the vectors'}"
            )

    def accept(self, fingerprint: Fingerprint, run: str, report: Mapping[str, Any]) -> None:
        """Record, in one step, that another model's queries are welcome from now on; whether they should be is for the caller to find out.

        Args:
            fingerprint: of the other model.
            run: its run folder.
            report: the numbers that say why, as JSON values.

        Raises:
            InputError: its vectors are of another width, of other inputs, or of another table of class directions; or the index is being written, or was replaced since it was opened.
            OSError: the folder cannot be written.
        """
        first = self.fingerprint
        if first is None:
            raise InputError(
                f"the index in {self.path} does not say which model made its vectors: make it again with ordinate index ... --run RUN"
            )
        for what, ours, theirs in (
            ("inputs of the kind", first.kind, fingerprint.kind),
            ("the width", first.width, fingerprint.width),
            ("the table of class directions", first.prototypes, fingerprint.prototypes),
        ):
            if ours != theirs:
                raise InputError(f"the model of {run} cannot answer for the vectors of {self.path}: {what} {theirs}, not {ours}")
        with _writing(self.path):
            card = _card(self.path)
            if card["content"] != self._card["content"]:
                raise InputError(f"the index in {self.path} was replaced since it was opened: open it again")
            entry = {"fingerprint": fingerprint.to_json(), "run": str(run), "report": dict(report)}
            kept = [each for each in card["accepted"] if each["fingerprint"] != entry["fingerprint"]]
            card = {**card, "accepted": [*kept, entry]}
            write_json(self.path / CARD, card)
        self._card, self.accepted = card, list(card["accepted"])

    def search(
        self,
        vectors: Float[Tensor, "queries dim"],
        k: int,
        shortlist_dim: int | None = None,
        rerank_dim: int | None = None,
        shortlist: int = _SHORTLIST,
    ) -> Hits:
        """The k best rows of every query: a shortlist at a small size, sorted again at a large one.

        Args:
            vectors: (Q, m) floating point, at least as wide as both sizes; the whole width, or a prefix of it.
            k: how many.
            shortlist_dim: the size at which the shortlist is found; None is the smallest of the index. Equal to `rerank_dim` there is no shortlist, but one search at that size; at another size than the index's smallest it looks
                at every row.
            rerank_dim: the size at which the shortlist is sorted; None is the largest that the queries have.
            shortlist: its length; as many as there are rows where those are fewer.

        Raises:
            InputError: k or a size out of range, a shortlist shorter than k, or queries that are empty, not finite or of a wrong width.

        Warns:
            UserWarning: `rerank_dim` below `shortlist_dim`, which sorts a good order by a worse one.
        """
        queries = self._queries(vectors)
        high = min(self.width, queries.shape[1]) if rerank_dim is None else rerank_dim
        low = min(self.dims[0], high) if shortlist_dim is None else shortlist_dim
        for what, size in (("shortlist", low), ("rerank", high)):
            if not 1 <= size <= queries.shape[1]:
                raise InputError(f"the size of the {what} must be between 1 and the {queries.shape[1]} of the queries, not {size}")
        if not 1 <= k <= len(self):
            raise InputError(f"k must be between 1 and the {len(self):,} rows of the index, not {k}")
        length = min(shortlist, len(self))
        if length < k and low != high:
            raise InputError(f"a shortlist of {shortlist} cannot give the {k} best: it must be at least k long")
        if high < low:
            warnings.warn(f"reranking at a smaller size than before sorts a good order by a worse one: {low}, then {high}", stacklevel=2)
        found = self.store.search(queries, k, low, high, length)
        names = self.store.ids(found.rows.flatten().tolist())
        return Hits([names[start : start + k] for start in range(0, len(names), k)], found.scores, found.rows)

    def _queries(self, vectors: Tensor) -> Tensor:
        if vectors.ndim != 2 or not len(vectors) or not vectors.is_floating_point():
            raise InputError(
                f"queries are a floating-point matrix with at least one row, not {vectors.dtype} of shape {tuple(vectors.shape)}"
            )
        if not 1 <= vectors.shape[1] <= self.width:
            raise InputError(f"queries are {self.width} wide, as the vectors of {self.path}, or a prefix of that, not {vectors.shape[1]}")
        queries = vectors.detach().float().cpu().contiguous()
        finite = torch.isfinite(queries).all(dim=1)
        if not bool(finite.all()):
            raise InputError(
                f"{int((~finite).sum())} of {len(finite)} queries hold NaN or infinite values, the first is row {int((~finite).nonzero()[0])}"
            )
        return queries

    def vectors(self, rows: Sequence[int]) -> Float[Tensor, "rows width"]:
        """The vectors of some rows."""
        return self.store.vectors(rows)

    def labels(self, rows: Sequence[int]) -> list[str] | None:
        """The labels of some rows, or None where there are none."""
        return self.store.labels(rows)

    def row_of(self, name: str) -> int:
        """The row with an id.

        Raises:
            InputError: there is none.
        """
        row = self.store.row_of(name)
        if row is None:
            raise InputError(f"the index in {self.path} has no id {name!r}")
        return row

    def file(self, name: str) -> Path | None:
        """The file that an id names, or None where the vectors are not of files."""
        return Path(self.origin.root) / name if self.origin and self.origin.root else None

    def close(self) -> None:
        """Let go of what is open."""
        self.store.close()


def _warned(parts: Iterator[Part], dim: int, metric: str) -> Iterator[Part]:
    """The same parts, with one warning where prefixes have no direction."""
    silent = metric != "cosine"
    for part in parts:
        if not silent and bool((part.vectors[:, :dim] == 0).all(dim=1).any()):
            silent = True
            warnings.warn(
                f"some vectors have zeros alone in their first {dim} dimensions: they have no direction there, and no query is near to them",
                stacklevel=4,
            )
        yield part


def _origin(said: Origin | None, fingerprint: Fingerprint | None, run: str | None) -> Origin | None:
    if fingerprint is None:
        return said
    if said is not None and said.fingerprint != fingerprint:
        raise InputError(
            f"the embeddings are not of this model: {fingerprint.difference(said.fingerprint)}; they say that they come from {said.run}"
        )
    return Origin(fingerprint, run or (said.run if said else ""), said.given if said else "", said.root if said else None)


def _check_place(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"{path} is a file: an index is a folder, choose another with --out")
    if not (path / CARD).is_file():
        strange = sorted(each.name for each in path.iterdir() if not each.name.startswith((".", "vectors-")))
        if strange:
            raise InputError(f"{path} exists and is not an index ({some(strange, 3)}): choose another folder with --out")


def _writing(path: Path) -> AbstractContextManager[None]:
    return only_writer(path / _LOCK, f"the index in {path}")


def _content(path: Path) -> str | None:
    return str(_card(path)["content"]) if (path / CARD).is_file() else None


def _clear(path: Path, keep: str | None) -> None:
    for each in path.iterdir():
        if each.is_dir() and each.name.startswith(("vectors-", ".vectors-")) and each.name != keep:
            shutil.rmtree(each, ignore_errors=True)


def _prefix(path: Path) -> str:
    """How the collections of this index begin on a server."""
    return f"ordinate-{blake2b(str(path.resolve()).encode(), digest_size=4).hexdigest()}-"


def _card(path: Path) -> dict[str, Any]:
    if not (path / CARD).is_file():
        raise InputError(f"{path} is not an index: make one with ordinate index")
    card = read_json(path / CARD)
    if not isinstance(card, dict) or card.get("ordinate") != "index":
        raise InputError(f"{path / CARD} is not of an index: make one with ordinate index")
    if card.get("format") != _FORMAT:
        raise InputError(
            f"the index in {path} has the format {card.get('format')}, and this version reads {_FORMAT}: make it again with ordinate index"
        )
    return card


def _store(path: Path, card: Mapping[str, Any]) -> VectorStore:
    try:
        dims, metric, backend, rows = tuple(card["dims"]), str(card["metric"]), str(card["backend"]), int(card["rows"])
        folder, facts, sizes = path / card["content"], dict(card["facts"]), dict(card["files"])
        for field in ("origin", "accepted"):
            _ = card[field]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path / CARD} is damaged ({type(error).__name__}: {error}): make the index again with ordinate index") from None
    if folder.parent != path or choose("backend", backend, BACKENDS) != backend:
        raise InputError(f"{path / CARD} names files outside of its folder: make the index again with ordinate index")
    for name, size in sizes.items():
        if (folder / name).stat().st_size != size:
            raise InputError(f"the index in {path} is damaged ({name} is not as long as it was): make it again with ordinate index")
    if backend != "qdrant":
        return FileStore(folder, dims, metric, backend, facts)
    if "url" in facts:
        return QdrantStore(connect(facts["url"]), facts["collection"], dims, metric, rows, facts["url"])
    return QdrantStore.embedded(folder, dims, metric)
