r"""A shortlist by faiss at the smallest size, sorted again at a larger one from memory-mapped vectors.

- ``"flat"`` looks at every row.
- ``"hnsw"`` walks a navigable graph with 32 links a row; a shortlist of K is taken out of max(2K, 64) candidates.
- ``"ivf"`` sorts the rows into :math:`4\sqrt N` cells by k-means, learnt on a sample, and looks into the cells that are nearest to the query. How many is measured when the index is made: the fewest, of the powers of two, in which
  98 % of the 200 nearest of 256 rows are found.

Only the smallest size is kept by faiss, so that a graph of 1M rows at 16 dimensions takes 0.3 GB; sizes between are searched by looking at every prefix.

Sources: Kusupati et al., "Matryoshka Representation Learning", 2022, section 4.3, for the shortlist; Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World graphs",
2018; Jegou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011, section IV, for the inverted file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ordinate.ground.errors import InputError, require
from ordinate.ground.seeds import generator
from ordinate.retrieve.vector_files import VectorFiles, prepared
from ordinate.retrieve.vector_store import Ranked, VectorStore

__all__ = ["FAISS_KINDS", "FaissStore", "build_faiss"]

FAISS_KINDS = ("flat", "hnsw", "ivf")
FILE = "shortlist.faiss"
LINKS = 32
_BLOCK = 1 << 16
_A_CELL = 64  # rows of the sample a cell; faiss asks for 39
_JUDGES, _JUDGED, _ENOUGH = 256, 200, 0.98


def build_faiss(folder: Path, files: VectorFiles, dims: Sequence[int], metric: str, kind: str) -> dict[str, Any]:
    """Write faiss' index of the smallest prefixes beside the vectors.

    Args:
        folder: where `files` lie.
        files: the vectors.
        dims: the nested sizes, ascending.
        metric: ``"cosine"`` or ``"l2"``.
        kind: one of :data:`FAISS_KINDS`.

    Returns:
        What is to be kept for `FaissStore`, as JSON values.

    Raises:
        MissingError: faiss is not installed.
    """
    faiss = require("faiss", "retrieval")
    dim, rows = dims[0], len(files)
    cells = max(1, min(int(4 * rows**0.5), rows // 39))
    if kind == "flat":
        index = faiss.IndexFlatL2(dim)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, LINKS)
    else:
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(dim), dim, cells)
        chosen = torch.randperm(rows, generator=generator("cells"))[: cells * _A_CELL].sort().values
        index.train(torch.cat([prepared(files.vectors[part], dim, metric) for part in chosen.split(_BLOCK)]).numpy())
    for start in range(0, rows, _BLOCK):
        index.add(files.prefixes(start, start + _BLOCK, dim, metric).numpy())
    faiss.write_index(index, str(folder / FILE))
    return {"cells": cells, "probes": _probes(index, files, dim, metric)} if kind == "ivf" else {}


def _probes(index: Any, files: VectorFiles, dim: int, metric: str) -> int:
    faiss = require("faiss", "retrieval")
    chosen = torch.randperm(len(files), generator=generator("judges"))[:_JUDGES]
    judges, k = prepared(files.vectors[chosen], dim, metric), min(_JUDGED, len(files))
    exact = files.scan(judges, k, metric)[1]
    probes = 1
    while probes < index.nlist:
        found = torch.from_numpy(index.search(judges.numpy(), k, params=faiss.SearchParametersIVF(nprobe=probes))[1])
        if float((exact[:, :, None] == found[:, None, :]).any(dim=2).float().mean()) >= _ENOUGH:
            break
        probes *= 2
    return min(probes, index.nlist)


class FaissStore(VectorStore):
    """Vectors in files, and faiss' index of their smallest prefixes."""

    def __init__(self, folder: Path, dims: tuple[int, ...], metric: str, kind: str, facts: dict[str, Any]) -> None:
        """
        Args:
            folder: what `VectorFiles.write` and `build_faiss` filled.
            dims, metric, kind: as they were built.
            facts: what `build_faiss` returned.

        Raises:
            InputError: a file is damaged.
            MissingError: faiss is not installed.
        """
        faiss = require("faiss", "retrieval")
        self.files, self.dims, self.metric, self.kind, self.facts = VectorFiles(folder), dims, metric, kind, facts
        try:
            self._index = faiss.read_index(str(folder / FILE))
        except RuntimeError:
            raise InputError(
                f"the index in {folder.parent} is damaged ({FILE} cannot be read): make it again with ordinate index"
            ) from None
        if (self._index.ntotal, self._index.d) != (len(self.files), dims[0]):
            raise InputError(f"the index in {folder.parent} is damaged ({FILE} is of other vectors): make it again with ordinate index")

    def __len__(self) -> int:
        return len(self.files)

    def search(self, queries: Float[Tensor, "queries dim"], k: int, shortlist_dim: int, rerank_dim: int, shortlist: int) -> Ranked:
        """As in :class:`VectorStore`; any size can be searched."""
        single = shortlist_dim == rerank_dim
        rows = self._nearest(prepared(queries, shortlist_dim, self.metric), k if single else shortlist)
        scores = self.files.scores(prepared(queries, rerank_dim, self.metric), rows, self.metric)
        best, order = scores.topk(k, dim=1)
        return Ranked(best, rows.gather(1, order))

    def _nearest(self, queries: Tensor, count: int) -> Int[Tensor, "queries count"]:
        if queries.shape[1] != self.dims[0]:
            return self.files.scan(queries, count, self.metric)[1]
        rows = self._ask(queries, count, int(self.facts.get("probes", 0)))
        short = (rows < 0).any(dim=1)
        if bool(short.any()):  # cells with too few rows, or a graph that fell apart
            rows[short] = self.files.scan(queries[short], count, self.metric)[1]
        return rows

    def _ask(self, queries: Tensor, count: int, probes: int) -> Tensor:
        faiss = require("faiss", "retrieval")
        if self.kind == "hnsw":
            how = faiss.SearchParametersHNSW(efSearch=max(2 * count, 64))
        else:
            how = faiss.SearchParametersIVF(nprobe=probes) if self.kind == "ivf" else None
        return torch.from_numpy(self._index.search(queries.numpy(), count, params=how)[1])

    def vectors(self, rows: Sequence[int]) -> Float[Tensor, "rows width"]:
        """As in :class:`VectorStore`."""
        return self.files.vectors[torch.tensor(rows, dtype=torch.int64)]

    def ids(self, rows: Sequence[int]) -> list[str]:
        """As in :class:`VectorStore`."""
        return self.files.ids(rows)

    def labels(self, rows: Sequence[int]) -> list[str] | None:
        """As in :class:`VectorStore`."""
        return self.files.labels(rows)

    def row_of(self, name: str) -> int | None:
        """As in :class:`VectorStore`."""
        return self.files.row_of(name)

    def close(self) -> None:
        """As in :class:`VectorStore`."""
        self._index = None
