"""NumPy's own files: one array (.npy, memory-mapped) or several by name (.npz), as rows or as tensors. Pickled objects in them are refused."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from ordinate.data.batches import Batch, Source
from ordinate.ground.errors import InputError

__all__ = ["ArraySource", "open_arrays", "read_arrays", "sparse_rows"]


class ArraySource(Source):
    """Rows of arrays by name; those of a .npy file stay on the disk until they are taken.

    Args:
        path: a .npy file, whose array is called ``"array"``, or a .npz file of arrays with the same number of rows.

    Raises:
        InputError: it is not such a file, an array holds objects or text, or the numbers of rows differ.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._arrays = _load(self.path)
        rows = {name: len(array) if array.ndim else 0 for name, array in self._arrays.items()}
        if len(set(rows.values())) != 1 or not next(iter(rows.values())):
            raise InputError(f"the arrays of {self.path} must have the same number of rows, at least one, not {rows}")
        self._rows = next(iter(rows.values()))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of one row of each array."""
        return {name: array.shape[1:] for name, array in self._arrays.items()}

    def __len__(self) -> int:
        return self._rows

    def take(self, indices: Int64[Tensor, " batch"]) -> Batch:
        return {name: torch.from_numpy(array[indices.numpy()]) for name, array in self._arrays.items()}

    def __getstate__(self) -> dict[str, Any]:
        # another process reads the file again instead of being sent its content
        return {"path": self.path, "_rows": self._rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._arrays = _load(self.path)


def open_arrays(path: str | Path) -> ArraySource:
    """Open a .npy or .npz file as rows.

    Raises:
        InputError: there is no such file, or see :class:`ArraySource`.
    """
    return ArraySource(Path(path).expanduser())


def read_arrays(path: Path) -> dict[str, Tensor]:
    """All arrays of a .npy or .npz file as tensors, whatever their shapes.

    Raises:
        InputError: it is not such a file, or an array holds objects or text.
    """
    return {name: torch.from_numpy(np.array(array)) for name, array in _load(path).items()}


def sparse_rows(arrays: dict[str, Tensor], prefix: str = "feat_") -> Float32[Tensor, "rows columns"]:
    """The dense matrix of a compressed one: ``data``, ``indices``, ``indptr`` and ``shape``, each after `prefix`."""
    data, indices, indptr, shape = (arrays[prefix + part] for part in ("data", "indices", "indptr", "shape"))
    rows, columns = shape.tolist()
    dense = torch.zeros(rows, columns)
    dense[torch.arange(rows).repeat_interleave(indptr.long().diff()), indices.long()] = data.float()
    return dense


def _load(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if zipfile.is_zipfile(path):
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        else:
            arrays = {"array": np.load(path, mmap_mode="r", allow_pickle=False)}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a .npy or .npz file of numbers ({' '.join(str(error).split())[:80]})") from None
    strange = [name for name, array in arrays.items() if array.dtype.kind not in "biufc"]
    if strange or not arrays:
        raise InputError(f"{path} holds no numbers{f' in {strange[0]!r} but {arrays[strange[0]].dtype}' if strange else ''}")
    return {name: array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("=")) for name, array in arrays.items()}
