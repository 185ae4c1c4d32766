"""What nesting costs in training and saves in search: heads against one linear layer, ways of searching against faiss, a rerank against a loop over the queries.

- Heads: logits at every size, from separate classifiers (about twice the multiplications of one linear layer) and from one tied classifier (as many), and tied as slices, each multiplied by itself.
- Search: every row at the full width, by ordinate and by faiss; a shortlist by 16 dimensions sorted again at the full width, and a funnel; faiss' graph (HNSW, 32 links) at the full width, and at 16 with the same rerank. Beside
  the time stands the share of the ten nearest by full search that was found.
- Rerank: shortlists of 200 sorted at the full width, against a Python loop over the queries.

Vectors are drawn around 100 centres, with a variance that falls as 1/j along the dimensions j: the first dimensions tell most, as in a nested embedding. The median over rounds is taken, in each of which every contender has its turn.
"""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ordinate.bench.base import Bench, BenchResult, Timing
from ordinate.experiment.measure import measure_time
from ordinate.nn.nested_head import MatryoshkaHead, halving_dims
from ordinate.retrieve.nested_index import Found, NestedIndex

__all__ = ["BENCHES", "nested_vectors", "rerank_by_loop", "tied_by_slices"]

CLASSES, BATCH = 1000, 256
RESULTS, SHORTLIST, SHORT = 10, 200, 16
_MOST_LINKED = 20_000  # rows of 2048 dimensions beyond which building a graph takes many minutes


def nested_vectors(rows: int, dim: int, seed: int) -> Tensor:
    """(rows, dim) float32: 100 centres, the same for every seed, and points around them, with variances that fall as 1/j."""
    scale = torch.arange(1, dim + 1) ** -0.5
    centres = torch.randn(100, dim, generator=torch.Generator().manual_seed(-1)) * scale
    chance = torch.Generator().manual_seed(seed)
    members = torch.randint(100, (rows,), generator=chance)
    return centres[members] + torch.randn(rows, dim, generator=chance) * scale


def tied_by_slices(head: MatryoshkaHead, z: Tensor) -> list[Tensor]:
    """The peer of tied logits: each size multiplied by itself."""
    only = head.classifiers[0]
    return [F.linear(z[:, :size], only.weight[:, :size], only.bias) for size in head.dims]  # type: ignore[index, arg-type]


def rerank_by_loop(database: np.ndarray, queries: np.ndarray, ids: np.ndarray, dim: int) -> np.ndarray:
    """The peer of a rerank: one query after another gathers its rows (N, d), scales them to unit length, and sorts its ids (Q, K) by distance."""
    found = np.empty_like(ids)
    for number, row in enumerate(ids):
        vectors = database[row, :dim]
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        query = queries[number, :dim] / np.linalg.norm(queries[number, :dim])
        found[number] = row[np.argsort(np.linalg.norm(vectors - query, axis=1), kind="stable")]
    return found


def _in_turns(calls: dict[str, Callable[[], Any]], repeats: int, device: str) -> dict[str, float]:
    """The median seconds of each call, one of each in every round, so that a machine that slows down touches all alike."""
    seconds = {name: [measure_time(call, repeats=1, warmup=1, device=device)] for name, call in calls.items()}
    for _ in range(repeats - 1):
        for name, call in calls.items():
            seconds[name].append(measure_time(call, repeats=1, warmup=0, device=device))
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def _heads(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for dim in sizes or ((512,) if quick else BENCHES["nested-heads"].sizes):
        torch.manual_seed(0)
        dims = halving_dims(dim, min(8, dim))
        linear, separate, tied = (
            module.to(device)
            for module in (nn.Linear(dim, CLASSES), MatryoshkaHead(dims, CLASSES), MatryoshkaHead(dims, CLASSES, tied=True))
        )
        z = torch.randn(BATCH, dim, device=device)
        calls: dict[str, Callable[[], Any]] = {
            "one linear layer": partial(linear, z),
            "tied (MRL-E)": partial(tied, z),
            "separate (MRL)": partial(separate, z),
            "tied, by slices": partial(tied_by_slices, tied, z),  # type: ignore[arg-type]
        }
        watch(f"heads of embeddings that are {dim} wide")
        with torch.no_grad():
            rows += [Timing(name, dim, seconds) for name, seconds in _in_turns(calls, 7 if quick else 31, device).items()]
    return BenchResult(rows, peer="one linear layer", size_name="width", remarks=[f"logits of {BATCH} embeddings for {CLASSES} classes"])


def _ways(index: NestedIndex, queries: Tensor) -> dict[str, Callable[[], Found]]:
    whole = index.dims[-1]
    stages = [size for size in index.dims if SHORT < size <= 8 * SHORT]
    lengths = [SHORTLIST >> stage for stage in range(len(stages) + 1)]
    return {
        "full": lambda: index.search(queries, RESULTS),
        f"{SHORT} alone": lambda: index.search(queries, RESULTS, SHORT),
        f"{SHORT}, then full": lambda: index.adaptive(queries, RESULTS, SHORTLIST, SHORT, whole),
        f"funnel from {SHORT}": lambda: index.funnel(queries, [*stages, whole], lengths, SHORT, RESULTS),
    }


def _search(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    dim, asked = (512, 100) if quick else (2048, 1000)
    queries = nested_vectors(asked, dim, 1).to(device)
    dims, remarks, rows = halving_dims(dim), [f"{asked} queries, {dim} dimensions, the {RESULTS} nearest"], []
    for count in sizes or ((10_000,) if quick else BENCHES["nested-search"].sizes):
        database = nested_vectors(count, dim, 0).to(device)
        calls = {f"ordinate, {name}": call for name, call in _ways(NestedIndex(database, dims), queries).items()}
        if find_spec("faiss"):
            flat, graph = (NestedIndex(database, dims, backend=f"faiss-{kind}") for kind in ("flat", "hnsw"))
            calls["faiss, full"] = _ways(flat, queries)["full"]
            calls[f"faiss' graph, {SHORT}, then full"] = _ways(graph, queries)[f"{SHORT}, then full"]
            if count * dim <= _MOST_LINKED * 2048:
                calls["faiss' graph, full"] = _ways(graph, queries)["full"]
            else:
                remarks.append(f"faiss' graph of {count:,} rows at the full width is left out: it takes many minutes to build")
        exact = calls["ordinate, full"]().ids
        shares = {}
        for name, call in calls.items():
            watch(f"{name}, {count} rows: its index is built")
            shares[name] = float((call().ids[:, :, None] == exact[:, None, :]).any(dim=2).double().mean())
        watch(f"{len(calls)} ways to search {count} rows, in turns")
        for name, seconds in _in_turns(calls, 3, device).items():
            rows.append(Timing(name, count, seconds, extra={"queries a second": asked / seconds, "found": shares[name]}))
    if not find_spec("faiss"):
        remarks.append("faiss is not installed, and not raced: pip install 'ordinate[retrieval]'")
    return BenchResult(rows, peer="ordinate, full", size_name="rows", remarks=remarks)


def _rerank_at_once(index: NestedIndex, queries: Tensor, ids: Tensor, dim: int) -> Tensor:
    return ids.gather(1, index.distances(queries, ids, dim).argsort(dim=1))


def _rerank(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    count, asked = (5_000, 100) if quick else (50_000, 1000)
    rows: list[Timing] = []
    for dim in sizes or ((256,) if quick else BENCHES["nested-rerank"].sizes):
        database, queries = nested_vectors(count, dim, 0), nested_vectors(asked, dim, 1)
        index = NestedIndex(database.to(device), [min(SHORT, dim), dim] if dim > SHORT else [dim])
        ids = index.search(queries, SHORTLIST, min(SHORT, dim)).ids
        calls: dict[str, Callable[[], Any]] = {
            "ordinate": partial(_rerank_at_once, index, queries, ids, dim),
            "a loop over queries": partial(rerank_by_loop, database.numpy(), queries.numpy(), ids.cpu().numpy(), dim),
        }
        watch(f"reranks at {dim} dimensions")
        for name, seconds in _in_turns(calls, 5, device).items():
            rows.append(Timing(name, dim, seconds, extra={"queries a second": asked / seconds}))
    return BenchResult(rows, peer="ordinate", size_name="width", remarks=[f"{asked} shortlists of {SHORTLIST} out of {count:,} rows"])


BENCHES = {
    "nested-heads": Bench("Logits at every nested size, against one linear layer", _heads, (512, 1024, 2048)),
    "nested-search": Bench(
        "Search by shortlist and rerank and through a funnel, against full search and faiss", _search, (20_000, 100_000)
    ),
    "nested-rerank": Bench("Shortlists sorted again at a larger size, against a loop over the queries", _rerank, (256, 2048)),
}
