"""Images in a parquet table, as hubs keep them: a column of encoded files and a column of labels.

The encoded bytes are read row group by row group from the memory-mapped file. Where the pixels of all rows together are small, they are decoded once into a memory-mapped array in
the cache folder, named by what it was made from; where that folder cannot be written, they are decoded in memory.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from ordinate.data.batches import Batch, Source
from ordinate.data.decode import Unreadable, decode, read_header
from ordinate.data.home import cache_folder
from ordinate.ground.errors import InputError
from ordinate.ground.files import atomic_path

__all__ = ["DECODED_LIMIT", "DecodedPictures", "ParquetPictures", "parquet_pictures"]

DECODED_LIMIT = 1 << 29
"""Bytes of pixels up to which a table is decoded once and for all."""
_DECODER = 1  # raised when decoding changes, so that what an older version left in the cache is not taken for this one's


class ParquetPictures(Source):
    """Rows of a parquet table of encoded images: ``"image"`` uint8 (B, C, H, W) and ``"label"`` int64 (B,).

    Args:
        path: the table: one column of binary, or of {bytes, path}, and one of integers called ``label`` (or the only one of integers).
        image_size: side to which images are resized and cropped; None where all have one size already.

    Attributes:
        classes: the labels' names where the table's metadata give them, else their numbers.
        shape: (C, H, W).

    Raises:
        InputError: it is not such a table, or has no rows.
    """

    def __init__(self, path: Path, image_size: int | None = None) -> None:
        self.path = Path(path)
        self.image_size = image_size
        with _parquet(self.path) as table:
            schema = table.schema_arrow
            self._column, label = _columns(self.path, schema)
            sizes = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
            labels = table.read(columns=[label])[label]
        if not sum(sizes):
            raise InputError(f"{self.path} has no rows")
        self._starts = torch.tensor([0, *sizes]).cumsum(0)
        self.labels = torch.tensor(labels.to_pylist(), dtype=torch.int64)
        if self.labels.min() < 0:
            raise InputError(f"{self.path} has rows without a label (a number below 0)")
        self.classes = _class_names(schema, label) or [str(number) for number in range(int(self.labels.max()) + 1)]
        self._opened()
        probes = torch.linspace(0, len(self) - 1, min(len(self), 32)).long().tolist()
        headers = [self._named(row, read_header) for row in probes]
        self.grey = all(header.grey for header in headers)
        channels = 1 if self.grey else 3
        self.shape = (channels, image_size, image_size) if image_size else (channels, headers[0].height, headers[0].width)

    def _opened(self) -> None:
        self._lock = threading.Lock()
        self._table: pq.ParquetFile | None = None
        self._groups: dict[int, pa.Array] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def encoded(self, row: int) -> bytes:
        """The bytes of the image file in `row`."""
        group = int(torch.searchsorted(self._starts, row, right=True)) - 1
        with self._lock:
            if group not in self._groups:
                self._table = self._table or _parquet(self.path)
                column = self._table.read_row_group(group, columns=[self._column])[self._column].combine_chunks()
                # the last few groups stay in memory: neighbouring rows are asked for together
                self._groups = {**dict(list(self._groups.items())[-3:]), group: column}
            value = self._groups[group][row - int(self._starts[group])].as_py()
        return (value["bytes"] if isinstance(value, dict) else value) or b""

    def decoded(self, row: int) -> UInt8[Tensor, "channels height width"]:
        """The pixels of `row`.

        Raises:
            InputError: they cannot be decoded, or have another size than the first row's.
        """
        image: Tensor = self._named(row, lambda file: decode(file, grey=self.grey, image_size=self.image_size))
        if image.shape != self.shape:
            height, width = image.shape[1:]
            raise InputError(
                f"{self.path} row {row} is {height}x{width} pixels, row 0 is {self.shape[1]}x{self.shape[2]}: choose one, as in {self.path.parent}@{min(self.shape[1:])}"
            )
        return image

    def _named(self, row: int, read: Callable[[bytes], Any]) -> Any:
        try:
            return read(self.encoded(row))
        except Unreadable as error:
            raise InputError(
                f"the image in row {row} of {self.path} cannot be read ({error}): the file is damaged, or not such a table"
            ) from None

    def take(self, indices: Int64[Tensor, " batch"]) -> Batch:
        return {"image": torch.stack([self.decoded(row) for row in indices.tolist()]), "label": self.labels[indices]}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in {"_lock", "_table", "_groups"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._opened()


class DecodedPictures(Source):
    """Decoded pixels, memory-mapped: ``"image"`` uint8 (B, C, H, W) and ``"label"`` int64 (B,).

    Args:
        pixels: the .npy file of uint8 (rows, C, H, W), or such an array.
        labels: (rows,) int64.
    """

    def __init__(self, pixels: Path | np.ndarray, labels: Int64[Tensor, " rows"]) -> None:
        self.pixels = pixels
        self.labels = labels
        self._array = np.load(pixels, mmap_mode="r") if isinstance(pixels, Path) else pixels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Int64[Tensor, " batch"]) -> Batch:
        return {"image": torch.from_numpy(self._array[indices.numpy()]), "label": self.labels[indices]}

    def __getstate__(self) -> dict[str, Any]:
        # another process maps the file again instead of being sent its content
        return {**self.__dict__, "_array": None if isinstance(self.pixels, Path) else self._array}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["pixels"], state["labels"])  # type: ignore[misc]


def parquet_pictures(path: Path, image_size: int | None = None) -> tuple[Source, ParquetPictures]:
    """The images of a parquet table, decoded once where that takes at most :data:`DECODED_LIMIT` bytes, else whenever they are taken; and the table itself, which knows shape and classes."""
    table = ParquetPictures(path, image_size)
    if len(table) * int(torch.tensor(table.shape).prod()) > DECODED_LIMIT:
        return table, table
    about = path.resolve().stat()
    made_from = repr((str(path.resolve()), about.st_size, about.st_mtime_ns, table.shape, _DECODER))
    file = cache_folder() / "decoded" / f"{hashlib.blake2b(made_from.encode(), digest_size=16).hexdigest()}.npy"
    shape = (len(table), *table.shape)
    if not _is_whole(file, shape):
        try:
            with atomic_path(file) as temporary:
                array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
                _decode_into(array, table)
                array.flush()
        except OSError:  # the cache cannot be written: a read-only home, a full disk
            pixels = np.empty(shape, np.uint8)
            _decode_into(pixels, table)
            return DecodedPictures(pixels, table.labels), table
    return DecodedPictures(file, table.labels), table


def _decode_into(array: np.ndarray, table: ParquetPictures) -> None:
    for row in range(len(table)):
        array[row] = table.decoded(row).numpy()


def _is_whole(file: Path, shape: tuple[int, ...]) -> bool:
    try:
        held = np.load(file, mmap_mode="r")
    except (OSError, ValueError):
        return False
    return bool(held.shape == shape and held.dtype == np.uint8)


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)
    except (pa.ArrowInvalid, pa.ArrowException) as error:
        raise InputError(f"{path} is not a parquet table ({str(error).splitlines()[0][:80]})") from None


def _columns(path: Path, schema: pa.Schema) -> tuple[str, str]:
    """The names of the columns of images and of labels."""
    images = [field.name for field in schema if _is_encoded(field.type)]
    integers = [field.name for field in schema if pa.types.is_integer(field.type)]
    labels = ["label"] if "label" in integers else integers
    if len(images) != 1 or len(labels) != 1:
        raise InputError(
            f"{path} is not a table of images: it must have one column of image files ({', '.join(images) or 'none'} found) and an integer column"
            f" called label ({', '.join(integers) or 'none'} found)"
        )
    return images[0], labels[0]


def _is_encoded(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_encoded(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(schema: pa.Schema, label: str) -> list[str] | None:
    """As the `datasets` library writes them into a table's metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, TypeError, ValueError):
        return None
