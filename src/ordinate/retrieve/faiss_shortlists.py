r"""Shortlists by faiss, approximate and fast.

- `GraphShortlist` walks a navigable graph with 32 links a row; K rows are taken out of max(K, 64) candidates.
- `CellShortlist` sorts the rows into :math:`4\sqrt N` cells by k-means, learnt on a sample, and looks into the cells that are nearest to the query. How many is measured when the index is made: the fewest, of the powers of two,
  in which 95 % of the 200 nearest of 256 rows are found.

Sources: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World graphs", 2018; Jegou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011,
section IV, for the inverted file.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ordinate.ground.errors import InputError, require
from ordinate.ground.seeds import generator
from ordinate.retrieve.shortlist import Shortlist
from ordinate.retrieve.vector_files import VectorFiles, prepared

__all__ = ["CellShortlist", "GraphShortlist"]

FILE = "shortlist.faiss"
LINKS = 32
_BLOCK = 1 << 16
_A_CELL = 64  # rows of the sample a cell; faiss asks for 39
_JUDGES, _JUDGED, _ENOUGH = 256, 200, 0.95


def _write(index: Any, folder: Path, files: VectorFiles, dim: int) -> None:
    for start in range(0, len(files), _BLOCK):
        index.add(files.prefixes(start, start + _BLOCK, dim).numpy())
    require("faiss", "retrieval").write_index(index, str(folder / FILE))


class _FaissShortlist(Shortlist):
    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        faiss = require("faiss", "retrieval")
        try:
            self._index = faiss.read_index(str(folder / FILE))
        except RuntimeError:
            raise InputError(
                f"the index in {folder.parent} is damaged ({FILE} cannot be read): make it again with ordinate index"
            ) from None
        self.rows, self.dim = self._index.ntotal, self._index.d

    def _ask(self, queries: Tensor, count: int, how: Any) -> Tensor:
        return torch.from_numpy(self._index.search(queries.numpy(), count, params=how)[1])


class GraphShortlist(_FaissShortlist):
    """A navigable graph (HNSW)."""

    @classmethod
    def build(cls, folder: Path, files: VectorFiles, dim: int) -> dict[str, Any]:
        """As in :class:`Shortlist`."""
        _write(require("faiss", "retrieval").IndexHNSWFlat(dim, LINKS), folder, files, dim)
        return {}

    def nearest(self, queries: Float[Tensor, "queries dim"], count: int) -> Int[Tensor, "queries count"]:
        """As in :class:`Shortlist`."""
        return self._ask(queries, count, require("faiss", "retrieval").SearchParametersHNSW(efSearch=max(count, 64)))


class CellShortlist(_FaissShortlist):
    """Cells of an inverted file (IVF)."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        super().__init__(folder, facts)
        self.probes = int(facts["probes"])

    @classmethod
    def build(cls, folder: Path, files: VectorFiles, dim: int) -> dict[str, Any]:
        """As in :class:`Shortlist`."""
        faiss, rows = require("faiss", "retrieval"), len(files)
        cells = max(1, min(int(4 * rows**0.5), rows // _A_CELL))
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(dim), dim, cells)
        chosen = torch.randperm(rows, generator=generator("cells"))[: cells * _A_CELL].sort().values
        index.train(torch.cat([prepared(files.vectors[part], dim, files.metric) for part in chosen.split(_BLOCK)]).numpy())
        _write(index, folder, files, dim)
        return {"cells": cells, "probes": _enough_probes(index, files, dim)}

    def nearest(self, queries: Float[Tensor, "queries dim"], count: int) -> Int[Tensor, "queries count"]:
        """As in :class:`Shortlist`."""
        return self._ask(queries, count, require("faiss", "retrieval").SearchParametersIVF(nprobe=self.probes))


def _enough_probes(index: Any, files: VectorFiles, dim: int) -> int:
    faiss = require("faiss", "retrieval")
    chosen = torch.randperm(len(files), generator=generator("judges"))[:_JUDGES]
    judges, k = prepared(files.vectors[chosen], dim, files.metric), min(_JUDGED, len(files))
    exact = files.scan(judges, k)[1]
    probes = 1
    while probes < index.nlist:
        found = torch.from_numpy(index.search(judges.numpy(), k, params=faiss.SearchParametersIVF(nprobe=probes))[1])
        if float((exact[:, :, None] == found[:, None, :]).any(dim=2).float().mean()) >= _ENOUGH:
            break
        probes *= 2
    return min(probes, int(index.nlist))
