"""Embeddings in a file: rows with ids, written as they come, so that what is embedded need not fit in memory, and read so as well.

`.parquet` holds the columns `id` (text), `embedding` (a list of float32 of one length) and, where there is one, `label` (text); where the vectors come from stands in the file's metadata. `.npy` holds the (N, D) float32 matrix
alone; beside it lie `<name>.ids.txt` and, where there are labels, `<name>.labels.txt`, one a line, and `<name>.origin.json`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.files import atomic_path, read_json, write_json, write_text
from ordinate.retrieve.fingerprint import Fingerprint

__all__ = [
    "ENDINGS",
    "Embedded",
    "EmbeddingFile",
    "Origin",
    "Part",
    "check_ending",
    "checked_parts",
    "open_embeddings",
    "read_embeddings",
    "write_embeddings",
]

ENDINGS = (".parquet", ".npy")
_METADATA = b"ordinate"


@dataclass(frozen=True)
class Part:
    """Some rows: ids, embeddings (B, D) float32, and labels or None."""

    ids: Sequence[str]
    vectors: Float[Tensor, "batch dim"]
    labels: Sequence[str] | None = None


@dataclass(frozen=True)
class Origin:
    """Where vectors come from.

    Attributes:
        fingerprint: of the model that made them.
        run: its run folder.
        given: what was embedded: a dataset's name, or a path.
        root: the folder that ids are files in, or None.
    """

    fingerprint: Fingerprint
    run: str
    given: str
    root: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"fingerprint": self.fingerprint.to_json(), "run": self.run, "given": self.given, "root": self.root}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Origin":
        """Out of JSON values.

        Raises:
            InputError: something is lacking, or of another type.
        """
        try:
            fields = {name: document[name] for name in ("run", "given", "root")}
            return cls(Fingerprint.from_json(document["fingerprint"]), **fields)
        except (KeyError, TypeError) as error:
            raise InputError(f"where the vectors come from is damaged ({type(error).__name__}: {error}): embed them anew") from None


@dataclass(frozen=True)
class Embedded:
    """A whole file: ids, embeddings (N, D) float32, labels or None, and where they come from, if it is known."""

    ids: list[str]
    vectors: Float[Tensor, "rows dim"]
    labels: list[str] | None = None
    origin: Origin | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def width(self) -> int:
        """Of the vectors."""
        return self.vectors.shape[1]

    def parts(self, rows: int) -> Iterator[Part]:
        """All rows in their order, at most so many at once."""
        for start in range(0, len(self.ids), rows):
            stop = start + rows
            yield Part(self.ids[start:stop], self.vectors[start:stop], self.labels[start:stop] if self.labels is not None else None)


class EmbeddingFile:
    """A file of embeddings that has been looked at, but not read: see :func:`open_embeddings`.

    Attributes:
        path: the file.
        width: of the vectors.
        origin: where they come from, or None where the file does not say.
        labelled: whether rows have labels.
    """

    def __init__(self, path: Path, rows: int, width: int, origin: Origin | None, labelled: bool) -> None:
        self.path, self.width, self.origin, self.labelled = path, width, origin, labelled
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def parts(self, rows: int) -> Iterator[Part]:
        """All rows in their order, at most so many at once.

        Raises:
            InputError: a part of the file is damaged.
        """
        try:
            yield from _parquet_parts(self, rows) if self.path.suffix == ".parquet" else _npy_parts(self, rows)
        except _DAMAGES as error:
            raise _damaged(self.path, error) from None


_DAMAGES = (ValueError, KeyError, EOFError, OSError, pa.ArrowInvalid)


def _damaged(path: Path, error: Exception) -> InputError:
    if isinstance(error, InputError):
        return error
    words = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(f"{path} holds no embeddings that can be read ({words}): write it again with ordinate embed")


def check_ending(path: Path) -> None:
    """Raise `InputError` unless `path` ends in .parquet or .npy. To be called before the work, not after it."""
    if path.suffix not in ENDINGS:
        raise InputError(f"{path}: embeddings are written to a file that ends in {' or '.join(ENDINGS)}")


def checked_parts(parts: Iterable[Part], *, distinct: bool = False) -> Iterator[Part]:
    """The same parts, once each has been found to be sound; vectors come as contiguous float32 on the CPU.

    Args:
        parts: of any number, empty ones left out.
        distinct: whether ids must differ.

    Raises:
        InputError: rows of different widths or without an id, an embedding that is not finite, or an id that is there twice.
    """
    width = None
    known: set[str] = set()
    for part in parts:
        vectors = part.vectors.detach().float().cpu().contiguous()
        if not len(vectors):
            continue
        finite = torch.isfinite(vectors).all(dim=1)
        if not bool(finite.all()):
            bad = [name for name, fine in zip(part.ids, finite.tolist(), strict=True) if not fine]
            raise InputError(f"the embedding of {bad[0]} is not finite{f', nor are {len(bad) - 1} more' if len(bad) > 1 else ''}")
        width = width or vectors.shape[1]
        if vectors.shape[1] != width:
            raise InputError(f"embeddings of one file have one width: {width}, then {vectors.shape[1]}")
        if len(part.ids) != len(vectors):
            raise InputError(f"there are {len(vectors)} embeddings, and {len(part.ids)} ids")
        for name in part.ids if distinct else ():
            if name in known:
                raise InputError(f"ids must differ, and {name} is there twice: write the embeddings with ids of their own")
            known.add(name)
        yield Part(part.ids, vectors, part.labels)


def write_embeddings(path: Path, parts: Iterable[Part], origin: Origin | None = None) -> int:
    """Write parts as they come; the file is whole or absent.

    Args:
        path: ends in .parquet or .npy.
        parts: at least one, all with labels or all without.
        origin: where the vectors come from, if it is known.

    Returns:
        The number of rows.

    Raises:
        InputError: another ending, no rows, rows of different widths, an embedding that is not finite, or (for .npy) an id or label of several lines.
    """
    check_ending(path)
    return (_write_parquet if path.suffix == ".parquet" else _write_npy)(path, checked_parts(parts), origin)


def _write_parquet(path: Path, parts: Iterable[Part], origin: Origin | None) -> int:
    rows = 0
    with atomic_path(path) as temporary:
        writer: pq.ParquetWriter | None = None
        try:
            for part in parts:
                vectors = part.vectors.numpy()
                columns = {
                    "id": pa.array([str(name) for name in part.ids], pa.string()),
                    "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
                }
                if part.labels is not None:
                    columns["label"] = pa.array([str(label) for label in part.labels], pa.string())
                table = pa.table(columns, metadata={_METADATA: json.dumps(origin.to_json())} if origin else None)
                writer = writer or pq.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
                rows += len(vectors)
        finally:
            if writer is not None:
                writer.close()
        if not rows:
            raise InputError(f"{path}: there is nothing to write")
    return rows


def _write_npy(path: Path, parts: Iterable[Part], origin: Origin | None) -> int:
    ids: list[str] = []
    labels: list[str] = []
    with atomic_path(path) as temporary:
        shape: tuple[int, int] | None = None
        with temporary.open("wb") as file:
            for part in parts:
                vectors = part.vectors.numpy()
                if shape is None:
                    file.write(b"\0" * _HEADER)
                shape = (len(ids) + len(vectors), vectors.shape[1])
                file.write(vectors.astype("<f4", copy=False).data)
                ids.extend(map(str, part.ids))
                labels.extend(map(str, part.labels or ()))
            if shape is None:
                raise InputError(f"{path}: there is nothing to write")
            file.seek(0)
            file.write(_npy_header(shape))
        for name in (*ids, *labels):
            if "\n" in name or "\r" in name:
                raise InputError(f"{path}: {name!r} has several lines, and names lie beside a .npy one a line: write to a .parquet file")
        # What lies beside the matrix is written first: a reader that finds the new matrix finds its ids.
        _beside(path, ".ids.txt", ids)
        _beside(path, ".labels.txt", labels)
        if origin is None:
            path.with_suffix(".origin.json").unlink(missing_ok=True)
        else:
            write_json(path.with_suffix(".origin.json"), origin.to_json())
    return len(ids)


def _beside(path: Path, ending: str, lines: Sequence[str]) -> None:
    if lines:
        write_text(path.with_suffix(ending), "".join(f"{line}\n" for line in lines))
    else:
        path.with_suffix(ending).unlink(missing_ok=True)


_HEADER = 128


def _npy_header(shape: tuple[int, int]) -> bytes:
    # The number of rows is known only at the end: the header is padded to a fixed size, which the format allows for, and written last.
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    body = text.ljust(_HEADER - 10 - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + (_HEADER - 10).to_bytes(2, "little") + body.encode("latin1")


def open_embeddings(path: Path) -> EmbeddingFile:
    """Look at a file of `write_embeddings`, or at any .npy matrix or .parquet table of that form; its rows are read by `parts`, some at once.

    Raises:
        InputError: no such file, an empty or damaged one, or one of another form.
    """
    check_ending(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        found = _open_parquet(path) if path.suffix == ".parquet" else _open_npy(path)
    except _DAMAGES as error:
        raise _damaged(path, error) from None
    if not len(found) or not found.width:
        raise InputError(f"{path} is empty: it holds {len(found)} vectors that are {found.width} wide")
    if found.origin is not None and found.origin.fingerprint.width != found.width:
        raise InputError(
            f"{path} holds vectors that are {found.width} wide, and says of itself {found.origin.fingerprint.width}: write it again with ordinate embed"
        )
    return found


def _open_parquet(path: Path) -> EmbeddingFile:
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        lacking = {"id", "embedding"} - set(schema.names)
        if lacking:
            raise InputError(f"{path} has no column {sorted(lacking)[0]!r}: embeddings are a table of id, embedding and, if any, label")
        kind = schema.field("embedding").type
        if not (pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not _is_number(
            kind.value_type
        ):
            raise InputError(f"{path}: the column embedding must hold lists of numbers, not {kind}")
        rows = file.metadata.num_rows
        if pa.types.is_fixed_size_list(kind):
            width = kind.list_size
        else:
            first = next(file.iter_batches(1, columns=["embedding"]), None)
            width = len(first["embedding"][0]) if first is not None and len(first) and first["embedding"][0].is_valid else 0
        text = (schema.metadata or {}).get(_METADATA)
        return EmbeddingFile(path, rows, width, Origin.from_json(json.loads(text)) if text else None, "label" in schema.names)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _parquet_parts(file: EmbeddingFile, rows: int) -> Iterator[Part]:
    columns = ["id", "embedding", "label"] if file.labelled else ["id", "embedding"]
    with pq.ParquetFile(file.path) as table:
        for batch in table.iter_batches(rows, columns=columns):
            column = batch["embedding"]
            flat = column.flatten()
            if column.null_count or flat.null_count or len(flat) != len(batch) * file.width:
                raise InputError(f"{file.path}: every embedding must be a list of {file.width} numbers, and one is not")
            if not pa.types.is_fixed_size_list(column.type) and set(column.value_lengths().to_pylist()) != {file.width}:
                raise InputError(f"{file.path}: every embedding must be a list of {file.width} numbers, and one is not")
            vectors = np.array(flat.to_numpy(zero_copy_only=False), dtype=np.float32).reshape(len(batch), file.width)
            ids = [str(name) for name in batch["id"].to_pylist()]
            labels = [str(label) for label in batch["label"].to_pylist()] if file.labelled else None
            yield Part(ids, torch.from_numpy(vectors), labels)


def _open_npy(path: Path) -> EmbeddingFile:
    shape, _ = _npy_form(path)
    beside = path.with_suffix(".origin.json")
    origin = Origin.from_json(read_json(beside)) if beside.is_file() else None
    return EmbeddingFile(path, shape[0], shape[1], origin, path.with_suffix(".labels.txt").is_file())


def _npy_form(path: Path) -> tuple[tuple[int, int], np.dtype]:
    if not path.stat().st_size:
        raise InputError(f"{path} is empty")
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in "fiu":
        raise InputError(
            f"{path} holds {getattr(found, 'shape', 'no')} of {getattr(found, 'dtype', type(found).__name__)}: embeddings are a matrix of numbers (rows, width)"
        )
    return (found.shape[0], found.shape[1]), found.dtype


def _npy_parts(file: EmbeddingFile, rows: int) -> Iterator[Part]:
    names = file.path.with_suffix(".ids.txt")
    ids = _lines(names) if names.is_file() else [str(row) for row in range(len(file))]
    labels = _lines(file.path.with_suffix(".labels.txt")) if file.labelled else None
    for which, found in (("ids", ids), ("labels", labels)):
        if found is not None and len(found) != len(file):
            raise InputError(
                f"{file.path} holds {len(file)} vectors, and {len(found)} {which} lie beside it: write it again with ordinate embed"
            )
    for start in range(0, len(file), rows):
        # Mapped anew for every part, so that pages that were read do not stay in memory.
        some = np.array(np.load(file.path, mmap_mode="r", allow_pickle=False)[start : start + rows], dtype=np.float32)
        stop = start + len(some)
        yield Part(ids[start:stop], torch.from_numpy(some), labels[start:stop] if labels is not None else None)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # not splitlines: names may hold other separators


def read_embeddings(path: Path) -> Embedded:
    """Read a file of `write_embeddings`, or any .npy matrix or .parquet table of that form.

    Raises:
        InputError: no such file, an empty or damaged one, or one of another form.
    """
    file = open_embeddings(path)
    parts = list(file.parts(1 << 16))
    ids = [name for part in parts for name in part.ids]
    labels = [label for part in parts for label in part.labels or ()] if file.labelled else None
    return Embedded(ids, torch.cat([part.vectors for part in parts]), labels, file.origin)
