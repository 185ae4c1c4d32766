r"""Vectors and their names in files: written as they come, memory-mapped when they are read, so that neither needs as much memory as there are vectors.

``vectors.npy`` is the (N, d) float32 matrix, ``names.arrow`` a table with a row a vector: `id` and, where there is one, `label`. Scores are exact: cosines of prefixes, or with ``"l2"`` minus the squared distance between them, so
that the highest is the best in either case. For cosines the vectors are kept at unit length: at the whole width a score is then one dot product.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.retrieve.embeddings import Part, checked_parts

__all__ = ["METRICS", "VectorFiles", "prepared"]

METRICS = ("cosine", "l2")
VECTORS, NAMES = "vectors.npy", "names.arrow"
_BLOCK = 1 << 15
_TINY = 1e-30  # prefixes of zeros have no direction, and stay zeros


def prepared(vectors: Float[Tensor, "rows width"], dim: int, metric: str) -> Float[Tensor, "rows dim"]:
    """Prefixes (N, dim) as they are compared: scaled to unit length for ``"cosine"``, where zeros stay zeros; contiguous, float32."""
    prefixes = vectors[:, :dim].float()
    if metric == "cosine":
        return prefixes / torch.linalg.vector_norm(prefixes, dim=1, keepdim=True).clamp_min(_TINY)
    return prefixes.contiguous()


class VectorFiles:
    """The two files of a folder, opened.

    Attributes:
        vectors: (N, d) float32, memory-mapped; not to be written to.
        metric: ``"cosine"`` or ``"l2"``.
        labelled: whether rows have labels.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        """
        Args:
            folder: what `write` filled.
            metric: as it was written.

        Raises:
            InputError: the files are damaged, or do not belong together.
        """
        try:
            # Copy on write: nothing is ever written, and torch has no tensors that cannot be.
            self.vectors = torch.from_numpy(np.load(folder / VECTORS, mmap_mode="c", allow_pickle=False))
            self._names = pa.ipc.open_file(pa.memory_map(str(folder / NAMES))).read_all()
        except (ValueError, EOFError, pa.ArrowInvalid) as error:
            raise InputError(
                f"the index in {folder.parent} is damaged ({str(error).splitlines()[0]}): make it again with ordinate index"
            ) from None
        if self.vectors.ndim != 2 or len(self._names) != len(self.vectors):
            raise InputError(
                f"the index in {folder.parent} is damaged ({len(self.vectors)} vectors, {len(self._names)} names): make it again with ordinate index"
            )
        self.metric = metric
        self.labelled = "label" in self._names.column_names

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def write(cls, folder: Path, parts: Iterable[Part], metric: str) -> "VectorFiles":
        """Write parts into a folder as they come.

        Args:
            folder: an empty one.
            parts: at least one row, all of one width, all with labels or all without.
            metric: ``"cosine"`` or ``"l2"``.

        Raises:
            InputError: no rows, rows of different widths, an embedding that is not finite, or an id that is there twice.
        """
        coming = checked_parts(parts, distinct=True)
        first = next(coming, None)
        if first is None:
            raise InputError("there is nothing to index: the embeddings have no rows")
        width, labelled, rows = first.vectors.shape[1], first.labels is not None, 0
        schema = pa.schema([("id", pa.string()), *([("label", pa.string())] if labelled else [])])
        with (folder / VECTORS).open("wb") as file, pa.ipc.new_file(str(folder / NAMES), schema) as names:
            file.write(_header((0, width)))
            for part in chain([first], coming):
                file.write(prepared(part.vectors, width, metric).numpy().astype("<f4", copy=False).data)
                columns = [pa.array(list(part.ids), pa.string())]
                if labelled:
                    columns.append(pa.array(list(part.labels or ()), pa.string()))
                names.write_batch(pa.record_batch(columns, schema=schema))
                rows += len(part.ids)
            file.seek(0)
            file.write(_header((rows, width)))
        return cls(folder, metric)

    def prefixes(self, start: int, stop: int, dim: int) -> Float[Tensor, "rows dim"]:
        """Prefixes of some neighbouring rows, as they are compared."""
        some = self.vectors[start:stop]
        return some if dim == some.shape[1] else prepared(some, dim, self.metric)

    def scores(self, queries: Float[Tensor, "queries dim"], rows: Int[Tensor, "queries k"]) -> Float[Tensor, "queries k"]:
        """Scores of each prepared query (Q, m) with rows (Q, K) of its own, at the size m of the queries."""
        found = torch.empty(rows.shape)
        view = self.vectors[:, : queries.shape[1]]
        whole = view.shape == self.vectors.shape
        for number, query in enumerate(
            queries
        ):  # a query at a time: its rows stay in the cache between being gathered and being multiplied
            some = view.index_select(0, rows[number])
            if self.metric == "l2":
                found[number] = -(some - query).square_().sum(dim=1)
                continue
            torch.mv(some, query, out=found[number])
            if not whole:
                found[number] /= torch.linalg.vector_norm(some, dim=1).clamp_min_(_TINY)
        return found

    def scan(self, queries: Float[Tensor, "queries dim"], k: int) -> tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]:
        """The k best rows of every prepared query (Q, m) at its size m, exactly: scores (Q, k), descending, and rows (Q, k). Every row is looked at."""
        best, rows = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
        for start in range(0, len(self), _BLOCK):
            block = self.prefixes(start, start + _BLOCK, queries.shape[1])
            scores = queries @ block.t()
            if self.metric == "l2":
                scores = 2.0 * scores - block.square().sum(dim=1) - queries.square().sum(dim=1, keepdim=True)
            top = scores.topk(min(k, len(block)), dim=1)
            best, rows = torch.cat([best, top.values], dim=1), torch.cat([rows, top.indices + start], dim=1)
            best, order = best.topk(min(k, best.shape[1]), dim=1)
            rows = rows.gather(1, order)
        return best, rows

    def ids(self, rows: Sequence[int]) -> list[str]:
        """The ids of some rows."""
        return self._named("id", rows)

    def labels(self, rows: Sequence[int]) -> list[str] | None:
        """The labels of some rows, or None where there are none."""
        return self._named("label", rows) if self.labelled else None

    def _named(self, column: str, rows: Sequence[int]) -> list[str]:
        found: list[str] = self._names[column].take(pa.array(list(rows), pa.int64())).to_pylist()
        return found

    def row_of(self, name: str) -> int | None:
        """The row with an id, or None."""
        row = int(pc.index(self._names["id"], pa.scalar(name, pa.string())).as_py())
        return None if row < 0 else row


def _header(shape: tuple[int, int]) -> bytes:
    # Padded to one size, since the number of rows is known only at the end.
    body = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode("latin1")
