r"""Search in a database of nested embeddings: at any size, by shortlist and rerank, or through a funnel of reranks.

Every prefix of a nested embedding is an embedding, so that one stored database serves every accuracy and every budget. With N database vectors a query costs, in multiply-adds,

.. math:: \underbrace{D_s N}_{\text{shortlist at size } D_s} + \sum_t \underbrace{k_t D_t}_{\text{the first } k_t \text{ sorted again at size } D_t}

where *adaptive retrieval* is one rerank (200 at full size) and the *funnel* doubles the size and halves the list at every stage. Distances are squared Euclidean, between prefixes that are scaled to unit
length where the metric is ``"cosine"``: then :math:`\lVert q - x \rVert^2 = 2 - 2\cos(q, x)`. All of them are computed in float32, whatever the dtype given: prefixes of 8 dimensions in bfloat16 have visible ties.

Source: Kusupati et al., "Matryoshka Representation Learning", 2022, section 4.3 and appendices E and F.
"""

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ordinate.ground.errors import InputError, choose, require
from ordinate.nn.nested_head import check_dims

__all__ = ["BACKENDS", "Backend", "FaissBackend", "Found", "NestedIndex", "TorchBackend", "search_flops"]

_GROUP = 16


class Found(NamedTuple):
    """What a search found: squared distances (Q, k), float32 and ascending, and the rows' numbers (Q, k), int64. A row that an approximate backend did not find is -1 at an infinite distance."""

    distances: Float[Tensor, "queries k"]
    ids: Int[Tensor, "queries k"]


@runtime_checkable
class Backend(Protocol):
    """Nearest neighbours among fixed vectors by squared Euclidean distance: built from contiguous float32 vectors (N, m), searched by queries (Q, m)."""

    def search(self, queries: Float[Tensor, "queries dim"], k: int) -> Found:
        """The k nearest rows of every query, nearest first."""
        ...


class TorchBackend:
    """Exact search by blocks of matrix products.

    The k smallest of N distances are found through the minima of groups of 16: the k nearest rows lie in the k groups with the smallest minima, so that sorting sees N/16 + 16 k numbers instead of N, and the
    N distances are read once, while they are in the cache.
    """

    def __init__(self, vectors: Float[Tensor, "rows dim"]) -> None:
        """
        Args:
            vectors: (N, m), float32.
        """
        # Narrow products are bound by memory: few queries against many rows. Wide ones are bound by arithmetic: many queries against rows that stay in the cache.
        self.queries_at_once, rows_at_once = (16, 1 << 16) if vectors.shape[1] < 64 else (256, 1 << 12)
        self.blocks = list(zip(vectors.split(rows_at_once), vectors.square().sum(dim=1).split(rows_at_once), strict=True))
        self.starts = range(0, len(vectors), rows_at_once)

    def search(self, queries: Float[Tensor, "queries dim"], k: int) -> Found:
        """The k nearest rows of every query, nearest first."""
        found = [self._search_some(some, k) for some in queries.split(self.queries_at_once)]
        scores, ids = (torch.cat(parts) for parts in zip(*found, strict=True))
        return Found((scores + queries.square().sum(dim=1, keepdim=True)).clamp_min_(0.0), ids)

    def _search_some(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        parts = []
        for start, (rows, norms) in zip(self.starts, self.blocks, strict=True):
            scores, ids = _smallest(torch.addmm(norms, queries, rows.t(), alpha=-2.0), min(k, len(rows)))
            parts.append((scores, ids + start))
        if len(parts) == 1:
            return parts[0]
        scores, order = torch.cat([scores for scores, _ in parts], dim=1).topk(k, largest=False)
        return scores, torch.cat([ids for _, ids in parts], dim=1).gather(1, order)


def _smallest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of every row of (Q, N), ascending, and their columns."""
    groups = scores.shape[1] // _GROUP
    if k >= groups:
        return scores.topk(k, largest=False)
    grouped = scores[:, : groups * _GROUP].view(
        -1, _GROUP, groups
    )  # a group is every `groups`-th column, so that its minimum is taken over whole rows at once
    chosen = grouped.amin(dim=1).topk(k, largest=False, sorted=False).indices
    candidates = grouped.gather(2, chosen[:, None].expand(-1, _GROUP, -1)).flatten(1)
    rest = scores[:, groups * _GROUP :]
    values, order = (torch.cat([candidates, rest], dim=1) if rest.shape[1] else candidates).topk(k, largest=False)
    in_rest = order >= _GROUP * k
    return values, torch.where(in_rest, order + (groups - k) * _GROUP, order // k * groups + chosen.gather(1, order % k))


class FaissBackend:
    """Search by faiss: every row (``IndexFlatL2``), or approximately through a navigable graph (``IndexHNSWFlat``). On the CPU."""

    def __init__(self, vectors: Float[Tensor, "rows dim"], links: int | None = None) -> None:
        """
        Args:
            vectors: (N, m), float32.
            links: the neighbours that the graph keeps a row, M = 32 in the paper; None searches every row.

        Raises:
            MissingError: faiss is not installed.
        """
        faiss = require("faiss", "retrieval")
        self.index = faiss.IndexFlatL2(vectors.shape[1]) if links is None else faiss.IndexHNSWFlat(vectors.shape[1], links)
        self.index.add(vectors.cpu().numpy())
        self.links = links

    def search(self, queries: Float[Tensor, "queries dim"], k: int) -> Found:
        """The k nearest rows of every query, nearest first."""
        if self.links is not None:
            self.index.hnsw.efSearch = max(2 * k, 64)  # fewer than k candidates could not give k neighbours
        distances, ids = self.index.search(queries.cpu().contiguous().numpy(), k)
        found = torch.from_numpy(distances).masked_fill_(torch.from_numpy(ids) < 0, torch.inf)
        return Found(found.to(queries.device), torch.from_numpy(ids).to(queries.device))


BACKENDS: dict[str, Callable[[Tensor], Backend]] = {
    "torch": TorchBackend,
    "faiss-flat": FaissBackend,
    "faiss-hnsw": lambda vectors: FaissBackend(vectors, links=32),
}


def search_flops(rows: int, dim: int, reranks: Sequence[tuple[int, int]] = ()) -> int:
    """Multiply-adds of one query: rows * dim for the search of every row, and length * dim for every rerank.

    Args:
        rows: the database's size N.
        dim: the size at which every row is compared.
        reranks: (length, size) of each rerank.
    """
    return rows * dim + sum(length * size for length, size in reranks)


class NestedIndex:
    """A database (N, d) of nested embeddings.

    The smaller sizes are kept as contiguous copies (a slice of the whole would read as much memory as the whole), made when a size is first searched; squared norms of all sizes come from one pass of cumulative sums.
    """

    def __init__(
        self,
        database: Float[Tensor, "rows dim"],
        dims: Sequence[int],
        metric: Literal["cosine", "l2"] = "cosine",
        backend: str | Callable[[Tensor], Backend] = "torch",
    ) -> None:
        """
        Args:
            database: (N, d), floating point of any precision; distances are computed in float32.
            dims: the sizes for which the embedding was trained, ascending, the last d. Others may be searched too.
            metric: ``"cosine"`` scales every prefix to unit length; ``"l2"`` takes prefixes as they are.
            backend: one of ``"torch"``, ``"faiss-flat"``, ``"faiss-hnsw"``, or whatever makes a `Backend` out of vectors.

        Raises:
            InputError: an empty database, not a matrix, NaN or infinite values, sizes that are not a nesting, or an unknown metric or backend.
            MissingError: a faiss backend without faiss.

        Warns:
            UserWarning: prefixes of length zero, which have no direction: they stay zeros.
        """
        _check_vectors("database", database)
        self.dims = check_dims(dims, database.shape[1])
        self.metric = choose("metric", metric, ("cosine", "l2"))
        self._make = BACKENDS[choose("backend", backend, BACKENDS)] if isinstance(backend, str) else backend
        self.vectors = database.detach().to(torch.float32).contiguous()
        pieces = zip((0, *self.dims), self.dims, strict=False)
        squares = torch.stack([self.vectors[:, low:high].square().sum(dim=1, dtype=torch.float64) for low, high in pieces])
        self._squares = dict(zip(self.dims, squares.cumsum(dim=0).to(torch.float32), strict=True))
        self._backends: dict[int, Backend] = {}
        empty = int((self._squares[self.dims[0]] == 0).sum())
        if empty and metric == "cosine":
            warnings.warn(
                f"{empty} of {len(self)} vectors have zeros alone in their first {self.dims[0]} dimensions: they have no direction there, and stay zeros",
                stacklevel=2,
            )

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Float[Tensor, "queries width"], k: int, dim: int | None = None) -> Found:
        """The k nearest rows at one size.

        Args:
            queries: (Q, d), or prefixes that are at least `dim` wide.
            k: how many rows.
            dim: the size; None is d.

        Raises:
            InputError: k or `dim` out of range, queries of a wrong width, or values that are not finite.
        """
        dim = self._check_dim(self.dims[-1] if dim is None else dim)
        if not 1 <= k <= len(self):
            raise InputError(f"k must be between 1 and the {len(self)} rows of the database, not {k}")
        return self._backend(dim).search(self._prepare(queries, dim), k)

    def adaptive(
        self,
        queries: Float[Tensor, "queries width"],
        k: int,
        shortlist: int = 200,
        d_short: int | None = None,
        d_rerank: int | None = None,
    ) -> Found:
        """Adaptive retrieval: a shortlist at a small size, sorted again at a large one.

        Args:
            queries: (Q, d), or prefixes that are at least `d_rerank` wide.
            k: how many rows are returned.
            shortlist: how many are sorted again, K.
            d_short: the size D_s of the shortlist's search; None is the smallest.
            d_rerank: the size D_r at which it is sorted; None is d.

        Raises:
            InputError: shortlist < k, or what `search` raises.

        Warns:
            UserWarning: D_r < D_s, which sorts a good order by a worse one.
        """
        if shortlist < k:
            raise InputError(f"a shortlist of {shortlist} cannot give the {k} nearest: it must be at least k long")
        return self.funnel(
            queries, [self.dims[-1] if d_rerank is None else d_rerank], [shortlist], self.dims[0] if d_short is None else d_short, k
        )

    def funnel(
        self, queries: Float[Tensor, "queries width"], dims: Sequence[int], lengths: Sequence[int], d_short: int, k: int | None = None
    ) -> Found:
        """Funnel retrieval: at each stage the first `lengths[t]` of the current order are sorted again at size `dims[t]`.

        Args:
            queries: (Q, d), or prefixes that are at least as wide as the largest size.
            dims: the sizes of the stages, ascending.
            lengths: how many rows each stage keeps, not ascending.
            d_short: the size at which the first `lengths[0]` rows are found.
            k: how many of the last stage's rows are returned; None returns all `lengths[-1]`.

        Raises:
            InputError: no stages, unequal numbers of sizes and lengths, lengths that ascend, k greater than the last length, or what `search` raises.

        Warns:
            UserWarning: a stage that is smaller than the one before it.
        """
        if not dims or len(dims) != len(lengths):
            raise InputError(f"a funnel needs as many lengths as sizes, at least one: {len(dims)} sizes, {len(lengths)} lengths")
        if any(low < high for low, high in pairwise(lengths)):
            raise InputError(f"a funnel's lengths must not ascend, since a stage can keep no more than it is given: {list(lengths)}")
        k = lengths[-1] if k is None else k
        if not 1 <= k <= lengths[-1]:
            raise InputError(f"k must be between 1 and the last length {lengths[-1]}, not {k}")
        sizes = [self._check_dim(dim) for dim in (d_short, *dims)]
        if any(high < low for low, high in pairwise(sizes)):
            warnings.warn(f"reranking at a smaller size than before sorts a good order by a worse one: {sizes}", stacklevel=2)
        ids = self.search(queries, lengths[0], d_short).ids
        for dim, length in zip(dims, lengths, strict=True):
            ids = ids[:, :length]
            distances, order = self.distances(queries, ids, dim).sort(dim=1, stable=True)
            ids = ids.gather(1, order)
        return Found(distances[:, :k], ids[:, :k])

    def distances(self, queries: Float[Tensor, "queries width"], ids: Int[Tensor, "queries k"], dim: int) -> Float[Tensor, "queries k"]:
        """Squared distances (Q, k) at size `dim` of each query to the rows `ids` (Q, k) of its own; infinite for a row of -1."""
        dim = self._check_dim(dim)
        prepared = self._prepare(queries, dim)
        rows, vectors = ids.clamp_min(0), self.vectors[:, :dim]
        if vectors.device.type == "cpu":
            # A query at a time: its rows then stay in the cache between being gathered and being multiplied.
            dots = torch.empty(rows.shape)
            for number, query in enumerate(prepared):
                torch.mv(vectors.index_select(0, rows[number]), query, out=dots[number])
        else:
            some = max(1, (1 << 26) // (rows.shape[1] * dim))
            blocks = zip(rows.split(some), prepared.split(some), strict=True)
            dots = torch.cat([torch.einsum("qkd,qd->qk", vectors[block], part) for block, part in blocks])
        squares = self._square_norms(dim)[rows]
        if self.metric == "cosine":
            dots, squares = dots * _inverse_root(squares), (squares > 0).to(squares)
        found = squares - 2.0 * dots + prepared.square().sum(dim=1, keepdim=True)
        return found.clamp_min_(0.0).masked_fill_(ids < 0, torch.inf)

    def flops_per_query(self, dim: int | None = None, reranks: Sequence[tuple[int, int]] = ()) -> int:
        """Multiply-adds of one exact query: N * dim, and length * size for each rerank (length, size). `dim` None is d."""
        return search_flops(len(self), self.dims[-1] if dim is None else dim, reranks)

    def _check_dim(self, dim: int) -> int:
        if not 1 <= dim <= self.dims[-1]:
            raise InputError(f"a size must be between 1 and {self.dims[-1]}, not {dim}")
        return dim

    def _prepare(self, queries: Tensor, dim: int) -> Tensor:
        _check_vectors("queries", queries)
        if not dim <= queries.shape[1] <= self.dims[-1]:
            raise InputError(
                f"a search at size {dim} of {self.dims[-1]} takes queries between {dim} and {self.dims[-1]} wide, not {queries.shape[1]}"
            )
        prefixes = queries[:, :dim].detach().to(device=self.vectors.device, dtype=torch.float32)
        if self.metric == "cosine":
            return prefixes * _inverse_root(prefixes.square().sum(dim=1, keepdim=True))
        return prefixes.contiguous()

    def _square_norms(self, dim: int) -> Tensor:
        if dim not in self._squares:
            self._squares[dim] = self.vectors[:, :dim].square().sum(dim=1)
        return self._squares[dim]

    def _backend(self, dim: int) -> Backend:
        if dim not in self._backends:
            prefixes = self.vectors[:, :dim]
            if self.metric == "cosine":
                prefixes = prefixes * _inverse_root(self._square_norms(dim))[:, None]
            self._backends[dim] = self._make(prefixes.contiguous())
        return self._backends[dim]


def _inverse_root(squares: Tensor) -> Tensor:
    """1/sqrt, and zero where there is nothing to take a root of."""
    return torch.where(squares > 0, squares.rsqrt(), 0.0)


def _check_vectors(name: str, vectors: Tensor) -> None:
    if vectors.ndim != 2 or not len(vectors) or not vectors.is_floating_point():
        raise InputError(
            f"{name} must be a floating-point matrix with at least one row, not {vectors.dtype} of shape {tuple(vectors.shape)}"
        )
    finite = torch.isfinite(vectors).all(dim=1)
    if not finite.all():
        raise InputError(
            f"{name}: {int((~finite).sum())} of {len(vectors)} rows hold NaN or infinite values, the first is row {int((~finite).nonzero()[0])}"
        )
