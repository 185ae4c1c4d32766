"""Embeddings in a file: rows with ids, written as they come, so that what is embedded need not fit in memory.

`.parquet` holds the columns `id` (text), `embedding` (a list of float32 of one length) and, where there is one, `label` (text). `.npy` holds the (N, D) float32 matrix alone; its ids lie beside it in
`<name>.ids.txt`, one a line.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.files import atomic_path, write_text

__all__ = ["ENDINGS", "Embedded", "Part", "check_ending", "read_embeddings", "write_embeddings"]

ENDINGS = (".parquet", ".npy")


@dataclass(frozen=True)
class Part:
    """Some rows: ids, embeddings (B, D) float32, and labels or None."""

    ids: Sequence[str]
    vectors: Float[Tensor, "batch dim"]
    labels: Sequence[str] | None = None


@dataclass(frozen=True)
class Embedded:
    """A whole file: ids, embeddings (N, D) float32, and labels or None."""

    ids: list[str]
    vectors: Float[Tensor, "rows dim"]
    labels: list[str] | None


def check_ending(path: Path) -> None:
    """Raise `InputError` unless `path` ends in .parquet or .npy. To be called before the work, not after it."""
    if path.suffix not in ENDINGS:
        raise InputError(f"{path}: embeddings are written to a file that ends in {' or '.join(ENDINGS)}")


def _checked(parts: Iterable[Part]) -> Iterator[tuple[Part, np.ndarray]]:
    width = None
    for part in parts:
        vectors = part.vectors.detach().float().cpu()
        if not bool(torch.isfinite(vectors).all()):
            bad = [name for name, fine in zip(part.ids, torch.isfinite(vectors).all(dim=1).tolist(), strict=True) if not fine]
            raise InputError(f"the embedding of {bad[0]} is not finite{f', nor are {len(bad) - 1} more' if len(bad) > 1 else ''}")
        width = width or vectors.shape[1]
        if vectors.shape[1] != width:
            raise InputError(f"embeddings of one file have one width: {width}, then {vectors.shape[1]}")
        yield part, vectors.contiguous().numpy()


def write_embeddings(path: Path, parts: Iterable[Part]) -> int:
    """Write parts as they come; the file is whole or absent.

    Args:
        path: ends in .parquet or .npy.
        parts: at least one, all with labels or all without.

    Returns:
        The number of rows.

    Raises:
        InputError: another ending, no rows, rows of different widths, or an embedding that is not finite.
    """
    check_ending(path)
    return _write_parquet(path, _checked(parts)) if path.suffix == ".parquet" else _write_npy(path, _checked(parts))


def _write_parquet(path: Path, parts: Iterable[tuple[Part, np.ndarray]]) -> int:
    rows = 0
    with atomic_path(path) as temporary:
        writer: pq.ParquetWriter | None = None
        try:
            for part, vectors in parts:
                columns = {
                    "id": pa.array([str(name) for name in part.ids], pa.string()),
                    "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
                }
                if part.labels is not None:
                    columns["label"] = pa.array([str(label) for label in part.labels], pa.string())
                table = pa.table(columns)
                writer = writer or pq.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
                rows += len(vectors)
        finally:
            if writer is not None:
                writer.close()
        if not rows:
            raise InputError(f"{path}: there is nothing to write")
    return rows


def _write_npy(path: Path, parts: Iterable[tuple[Part, np.ndarray]]) -> int:
    ids: list[str] = []
    with atomic_path(path) as temporary:
        shape: tuple[int, int] | None = None
        with temporary.open("wb") as file:
            for part, vectors in parts:
                if shape is None:
                    file.write(b"\0" * _HEADER)
                shape = (len(ids) + len(vectors), vectors.shape[1])
                file.write(vectors.astype("<f4").tobytes())
                ids.extend(str(name) for name in part.ids)
            if shape is None:
                raise InputError(f"{path}: there is nothing to write")
            file.seek(0)
            file.write(_npy_header(shape))
    write_text(path.with_suffix(".ids.txt"), "".join(f"{name}\n" for name in ids))
    return len(ids)


_HEADER = 128


def _npy_header(shape: tuple[int, int]) -> bytes:
    # The number of rows is known only at the end: the header is padded to a fixed size, which the format allows for, and written last.
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    body = text.ljust(_HEADER - 10 - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + (_HEADER - 10).to_bytes(2, "little") + body.encode("latin1")


def read_embeddings(path: Path) -> Embedded:
    """Read a file of `write_embeddings`, or any .npy matrix or .parquet table of that form.

    Raises:
        InputError: no such file, a damaged one, or one of another form.
    """
    check_ending(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix == ".npy":
            vectors = np.load(path, allow_pickle=False)
            names = path.with_suffix(".ids.txt")
            ids = names.read_text(encoding="utf-8").splitlines() if names.is_file() else [str(row) for row in range(len(vectors))]
            labels = None
        else:
            table = pq.read_table(path)
            ids = table["id"].to_pylist()
            labels = table["label"].to_pylist() if "label" in table.column_names else None
            flat = table["embedding"].combine_chunks()
            vectors = flat.flatten().to_numpy(zero_copy_only=False).reshape(len(ids), -1)
    except (ValueError, KeyError, EOFError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{path} holds no embeddings that can be read ({str(error).splitlines()[0]}): write it again with ordinate embed"
        ) from None
    if vectors.ndim != 2 or len(ids) != len(vectors):
        raise InputError(f"{path} holds {vectors.shape} numbers for {len(ids)} ids: embeddings are (rows, width), one id a row")
    return Embedded(ids, torch.from_numpy(np.array(vectors, dtype=np.float32)), labels)
