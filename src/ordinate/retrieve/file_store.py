"""Vectors in files of one's own: a shortlist at the smallest size, sorted again at a larger one from memory-mapped vectors.

Only the smallest size is kept twice, so that a graph of a million rows at 16 dimensions takes 0.3 GB; a search at another size looks at every row.

Source: Kusupati et al., "Matryoshka Representation Learning", 2022, section 4.3.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.retrieve.embeddings import Part
from ordinate.retrieve.faiss_shortlists import CellShortlist, GraphShortlist
from ordinate.retrieve.flat_shortlist import FlatShortlist
from ordinate.retrieve.shortlist import Shortlist
from ordinate.retrieve.vector_files import VectorFiles, prepared
from ordinate.retrieve.vector_store import Ranked, VectorStore

__all__ = ["SHORTLISTS", "FileStore"]

SHORTLISTS: dict[str, type[Shortlist]] = {"flat": FlatShortlist, "hnsw": GraphShortlist, "ivf": CellShortlist}


class FileStore(VectorStore):
    """Vectors in files, and a shortlist of their smallest prefixes."""

    def __init__(self, folder: Path, dims: tuple[int, ...], metric: str, kind: str, facts: dict[str, Any]) -> None:
        """
        Args:
            folder: what `write` filled.
            dims, metric, kind: as they were written.
            facts: what `write` returned.

        Raises:
            InputError: a file is damaged.
            MissingError: faiss is needed, and not installed.
        """
        self.files, self.dims, self.metric = VectorFiles(folder, metric), dims, metric
        self.shortlist = SHORTLISTS[kind](folder, facts)
        if (self.shortlist.rows, self.shortlist.dim, self.files.vectors.shape[1]) != (len(self.files), dims[0], dims[-1]):
            raise InputError(
                f"the index in {folder.parent} is damaged (its files are of different vectors): make it again with ordinate index"
            )

    @staticmethod
    def write(folder: Path, parts: Iterable[Part], dims: Sequence[int], metric: str, kind: str) -> dict[str, Any]:
        """Fill a folder.

        Args:
            folder: an empty one.
            parts: the rows; see `VectorFiles.write`.
            dims: the nested sizes, ascending.
            metric: ``"cosine"`` or ``"l2"``.
            kind: one of :data:`SHORTLISTS`.

        Returns:
            What is to be kept until it is opened, as JSON values.

        Raises:
            InputError: what `VectorFiles.write` raises.
            MissingError: faiss is needed, and not installed.
        """
        return SHORTLISTS[kind].build(folder, VectorFiles.write(folder, parts, metric), dims[0])

    def __len__(self) -> int:
        return len(self.files)

    def search(self, queries: Float[Tensor, "queries dim"], k: int, shortlist_dim: int, rerank_dim: int, shortlist: int) -> Ranked:
        """As in :class:`VectorStore`; any size can be searched."""
        short = prepared(queries, shortlist_dim, self.metric)
        if shortlist_dim == rerank_dim and shortlist_dim != self.dims[0]:
            return Ranked(*self.files.scan(short, k))
        rows = self._nearest(short, k if shortlist_dim == rerank_dim else shortlist)
        scores = self.files.scores(short if shortlist_dim == rerank_dim else prepared(queries, rerank_dim, self.metric), rows)
        best, order = scores.topk(k, dim=1)
        return Ranked(best, rows.gather(1, order))

    def _nearest(self, queries: Tensor, count: int) -> Int[Tensor, "queries count"]:
        if queries.shape[1] != self.dims[0]:
            return self.files.scan(queries, count)[1]
        rows = self.shortlist.nearest(queries, count)
        lacking = (rows < 0).any(dim=1)
        if bool(lacking.any()):  # cells with too few rows, or a graph that fell apart
            rows[lacking] = self.files.scan(queries[lacking], count)[1]
        return rows

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
        """As in :class:`VectorStore`: the files are let go of with the last tensor that is a view of them."""
        del self.files, self.shortlist
