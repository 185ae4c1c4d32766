"""A shortlist that looks at every prefix, by blocks of matrix products out of a memory-mapped file. It is exact, and needs nothing but torch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.retrieve.nested_index import TorchBackend
from ordinate.retrieve.shortlist import Shortlist
from ordinate.retrieve.vector_files import VectorFiles

__all__ = ["FlatShortlist"]

FILE = "prefixes.npy"
_BLOCK = 1 << 16


class FlatShortlist(Shortlist):
    """Every prefix, (N, m) float32."""

    @classmethod
    def build(cls, folder: Path, files: VectorFiles, dim: int) -> dict[str, Any]:
        """As in :class:`Shortlist`."""
        rows = len(files)
        written = np.lib.format.open_memmap(folder / FILE, mode="w+", dtype=np.float32, shape=(rows, dim))
        for start in range(0, rows, _BLOCK):
            written[start : start + _BLOCK] = files.prefixes(start, start + _BLOCK, dim).numpy()
        written.flush()
        return {}

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        try:
            prefixes = torch.from_numpy(np.load(folder / FILE, mmap_mode="c", allow_pickle=False))
        except (ValueError, EOFError):
            raise InputError(
                f"the index in {folder.parent} is damaged ({FILE} cannot be read): make it again with ordinate index"
            ) from None
        self.rows, self.dim = prefixes.shape
        self._backend = TorchBackend(prefixes)

    def nearest(self, queries: Float[Tensor, "queries dim"], count: int) -> Int[Tensor, "queries count"]:
        """As in :class:`Shortlist`; every row is found."""
        return self._backend.search(queries, count).ids
