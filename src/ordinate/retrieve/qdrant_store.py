"""Vectors in Qdrant, a vector database: for what outgrows one machine, a server by its URL; without one, the database's own engine inside this process.

A collection holds a named vector for each size, so that shortlist and rerank are one request: the shortlist is found at one size and sorted at another where the vectors are. Point numbers are rows; ids and labels are payload.
Only the smallest size gets a graph, and the larger ones stay on the server's disk. The embedded engine is filled from the index's own files whenever it is opened, and holds all vectors in memory: it is for trying things out.

A server that asks for a key is given `$QDRANT_API_KEY`; keys are not kept in the index.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError, MissingError, require
from ordinate.retrieve.embeddings import Part
from ordinate.retrieve.vector_files import VectorFiles, prepared
from ordinate.retrieve.vector_store import Ranked, VectorStore

__all__ = ["QdrantStore", "connect", "drop_collections", "fill"]

_AT_ONCE = 512
_T = TypeVar("_T")


def connect(url: str | None) -> Any:
    """A client of the server at `url`, or of an empty engine in this process where that is None.

    Raises:
        MissingError: qdrant-client is not installed.
    """
    qdrant = require("qdrant_client", "retrieval")
    if url is None:
        return qdrant.QdrantClient(":memory:")
    return qdrant.QdrantClient(url=url, api_key=os.environ.get("QDRANT_API_KEY"), timeout=60)


def _asked(url: str | None, call: Callable[[], _T]) -> _T:
    exceptions = require("qdrant_client.http.exceptions", "retrieval")
    try:
        return call()
    except exceptions.ResponseHandlingException as error:
        raise MissingError(
            f"no Qdrant answers at {url} ({' '.join(str(error).split())[:100]}): docker run -p 6333:6333 qdrant/qdrant starts one"
        ) from None
    except exceptions.UnexpectedResponse as error:
        said = " ".join(error.content.decode(errors="replace").split())[:200]
        if error.status_code in (401, 403):
            raise MissingError(f"the Qdrant at {url} asks for a key: export QDRANT_API_KEY=...") from None
        raise InputError(f"the Qdrant at {url} refuses ({error.status_code}): {said}") from None


def fill(client: Any, collection: str, parts: Iterable[Part], dims: Sequence[int], metric: str, url: str | None = None) -> int:
    """Make a collection of the parts' rows, and say how many there are.

    Args:
        client: of `connect`.
        collection: a new name.
        parts: rows, in their order.
        dims: the nested sizes, ascending.
        metric: ``"cosine"`` or ``"l2"``.
        url: the client's.

    Raises:
        InputError: the server refuses.
        MissingError: no server answers.
    """
    models = require("qdrant_client.models", "retrieval")
    distance = models.Distance.COSINE if metric == "cosine" else models.Distance.EUCLID
    sizes = {
        str(dim): models.VectorParams(
            size=dim, distance=distance, on_disk=dim != dims[0], hnsw_config=None if dim == dims[0] else models.HnswConfigDiff(m=0)
        )
        for dim in dims
    }
    _asked(url, lambda: client.create_collection(collection, vectors_config=sizes))
    rows = 0
    for part in parts:
        for start in range(0, len(part.ids), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            vectors = part.vectors[some].float()
            payloads: list[dict[str, str]] = [{"id": name} for name in part.ids[some]]
            for payload, label in zip(payloads, part.labels[some] if part.labels is not None else (), strict=False):
                payload["label"] = label
            points = models.Batch(
                ids=list(range(rows, rows + len(vectors))),
                vectors={str(dim): vectors[:, :dim].tolist() for dim in dims},
                payloads=payloads,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the embedded engine, that it is not for large collections: this file says so
                _asked(url, lambda: client.upsert(collection, points=points, wait=True))  # noqa: B023 - called at once
            rows += len(vectors)
    return rows


def drop_collections(client: Any, prefix: str, keep: str, url: str) -> None:
    """Remove the collections whose name begins with `prefix`, but for `keep`: what earlier or interrupted writes of an index left."""
    for each in _asked(url, client.get_collections).collections:
        if each.name.startswith(prefix) and each.name != keep:
            _asked(url, lambda: client.delete_collection(each.name))  # noqa: B023 - called at once


class QdrantStore(VectorStore):
    """A collection."""

    def __init__(self, client: Any, collection: str, dims: tuple[int, ...], metric: str, rows: int, url: str | None = None) -> None:
        """
        Args:
            client: of `connect`.
            collection: its name.
            dims, metric, rows: as it was filled.
            url: the client's.

        Raises:
            InputError: there is no such collection, or it holds other rows.
            MissingError: no server answers.
        """
        self.client, self.collection, self.dims, self.metric, self.url = client, collection, dims, metric, url
        self._rows = rows
        if not _asked(url, lambda: client.collection_exists(collection)):
            raise InputError(f"the Qdrant at {url} has no collection {collection}: make the index again with ordinate index")
        found = _asked(url, lambda: client.count(collection, exact=True)).count
        if found != rows:
            raise InputError(f"the collection {collection} holds {found} rows, not {rows}: make the index again with ordinate index")

    @classmethod
    def embedded(cls, folder: Path, dims: tuple[int, ...], metric: str) -> "QdrantStore":
        """The engine in this process, filled from the files that `VectorFiles.write` left in a folder."""
        files, client = VectorFiles(folder, metric), connect(None)
        starts = range(0, len(files), _AT_ONCE)

        def part(start: int) -> Part:
            rows = range(start, min(start + _AT_ONCE, len(files)))
            return Part(files.ids(rows), files.vectors[rows.start : rows.stop], files.labels(rows))

        fill(client, "vectors", map(part, starts), dims, metric)
        return cls(client, "vectors", dims, metric, len(files))

    def __len__(self) -> int:
        return self._rows

    def search(self, queries: Float[Tensor, "queries dim"], k: int, shortlist_dim: int, rerank_dim: int, shortlist: int) -> Ranked:
        """As in :class:`VectorStore`; the nested sizes alone can be searched."""
        for dim in (shortlist_dim, rerank_dim):
            if dim not in self.dims:
                raise InputError(
                    f"this index was made for the sizes {', '.join(map(str, self.dims))}, and Qdrant searches those alone, not {dim}"
                )
        found = self._ask(queries, k, shortlist_dim, rerank_dim, shortlist, exact=False)
        if any(len(points) < k for points in found):
            found = self._ask(queries, k, shortlist_dim, rerank_dim, shortlist, exact=True)
        scores = torch.tensor([[point.score for point in points] for points in found])
        rows = torch.tensor([[point.id for point in points] for points in found])
        return Ranked(scores if self.metric == "cosine" else -scores.square(), rows)

    def _ask(self, queries: Tensor, k: int, low: int, high: int, shortlist: int, *, exact: bool) -> list[Any]:
        models = require("qdrant_client.models", "retrieval")
        how = models.SearchParams(exact=exact)

        def request(query: Tensor) -> Any:
            small, large = (prepared(query[None, :], dim, self.metric)[0].tolist() for dim in (low, high))
            if low == high:
                return models.QueryRequest(query=large, using=str(high), limit=k, params=how)
            first = models.Prefetch(query=small, using=str(low), limit=shortlist, params=how)
            return models.QueryRequest(prefetch=[first], query=large, using=str(high), limit=k)

        answers: list[Any] = []
        for some in queries.split(_AT_ONCE):
            requests = [request(query) for query in some]
            answers += _asked(self.url, lambda: self.client.query_batch_points(self.collection, requests=requests))  # noqa: B023 - called at once
        return [answer.points for answer in answers]

    def _points(self, rows: Sequence[int], vector: bool | list[str]) -> list[Any]:
        wanted = [int(row) for row in rows]
        records = _asked(
            self.url,
            lambda: self.client.retrieve(self.collection, list(dict.fromkeys(wanted)), with_payload=not vector, with_vectors=vector),
        )
        found = {record.id: record for record in records}
        return [found[row] for row in wanted]

    def vectors(self, rows: Sequence[int]) -> Float[Tensor, "rows width"]:
        """As in :class:`VectorStore`; of cosines, scaled to unit length: the database keeps them so."""
        name = str(self.dims[-1])
        return torch.tensor([record.vector[name] for record in self._points(rows, [name])], dtype=torch.float32)

    def ids(self, rows: Sequence[int]) -> list[str]:
        """As in :class:`VectorStore`."""
        return [record.payload["id"] for record in self._points(rows, False)]

    def labels(self, rows: Sequence[int]) -> list[str] | None:
        """As in :class:`VectorStore`."""
        found = [record.payload.get("label") for record in self._points(rows, False)]
        return found if found and found[0] is not None else None

    def row_of(self, name: str) -> int | None:
        """As in :class:`VectorStore`."""
        models = require("qdrant_client.models", "retrieval")
        one = models.Filter(must=[models.FieldCondition(key="id", match=models.MatchValue(value=name))])
        found, _ = _asked(self.url, lambda: self.client.scroll(self.collection, scroll_filter=one, limit=1, with_payload=False))
        return int(found[0].id) if found else None

    def close(self) -> None:
        """Close the connection."""
        self.client.close()
