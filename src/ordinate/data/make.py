"""Datasets made of what is downloaded: the formats of their homes brought to the layouts in which they are read here.

Where a home keeps pickles, they are read by an unpickler that knows arrays, sparse matrices and plain containers, and nothing that could run.
"""

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse
from PIL import Image

from ordinate.ground.errors import InputError
from ordinate.ground.files import atomic_path, write_text

__all__ = ["CIFAR10_CLASSES", "MAKERS", "Maker"]

Maker = Callable[[Path, Path], list[Path]]
"""From the folder of what was downloaded and the dataset's own folder to the files made in it."""

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _mnist(staging: Path, folder: Path) -> list[Path]:
    """IDX files (gzip) to tables of PNGs."""
    made = []
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images = _read_idx(staging / f"{prefix}-images-idx3-ubyte.gz", 3)
        labels = _read_idx(staging / f"{prefix}-labels-idx1-ubyte.gz", 1)
        made.append(_write_images(folder / f"{split}.parquet", "image", images, labels.tolist(), [str(digit) for digit in range(10)]))
    return made


def _read_idx(path: Path, axes: int) -> np.ndarray:
    """An array of bytes in the IDX format: a magic number of 0x0800 + axes, the length of each axis, big-endian, and the values."""
    content = gzip.decompress(path.read_bytes())
    magic, *shape = struct.unpack_from(f">{1 + axes}I", content)
    values = np.frombuffer(content, np.uint8, offset=4 * (1 + axes))
    if magic != 0x0800 + axes or values.size != int(np.prod(shape)):
        raise InputError(f"{path} is not an IDX file of {axes} axes")
    return values.reshape(shape)


def _cifar10(staging: Path, folder: Path) -> list[Path]:
    """The binary version (one byte of label, then 3x32x32 pixels, a record) to tables of PNGs."""
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    with tarfile.open(staging / "cifar-10-binary.tar.gz") as archive:
        names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
        members = {Path(member.name).name: member for member in archive.getmembers() if member.isfile()}
        for name in names:
            if name not in members:
                raise InputError(f"{staging / 'cifar-10-binary.tar.gz'} holds no {name}")
            stream = archive.extractfile(members[name])
            content = stream.read() if stream is not None else b""
            parts["test" if name.startswith("test") else "train"].append(np.frombuffer(content, np.uint8).reshape(-1, 3073))
    made = []
    for split, batches in parts.items():
        records = np.concatenate(batches)
        images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        made.append(_write_images(folder / f"{split}.parquet", "img", images, records[:, 0].tolist(), CIFAR10_CLASSES))
    return made


def _write_images(path: Path, column: str, images: Iterable[np.ndarray], labels: Sequence[int], classes: Sequence[str]) -> Path:
    files = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image)).save(file, "PNG")
        files.append({"bytes": file.getvalue(), "path": None})
    features = {column: {"_type": "Image"}, "label": {"names": list(classes), "_type": "ClassLabel"}}
    table = pa.table(
        {column: pa.array(files, pa.struct({"bytes": pa.binary(), "path": pa.string()})), "label": pa.array(labels, pa.int64())},
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, row_group_size=1000)
    return path


def _tu(staging: Path, folder: Path) -> list[Path]:
    """One text a dataset (for every graph "nodes label", then a line "tag degree neighbours..." a node, numbered from 0 in the graph) to TUDataset's files, numbered from 1 overall."""
    made = []
    for source, name, tagged in (("MUTAG", "MUTAG", True), ("PROTEINS", "PROTEINS", True), ("IMDBBINARY", "IMDB-BINARY", False)):
        edges: list[str] = []
        graph_of: list[int] = []
        labels: list[int] = []
        tags: list[int] = []
        lines = iter((staging / f"{source}.txt").read_text(encoding="utf-8").splitlines())
        for graph in range(1, int(next(lines)) + 1):
            count, label = map(int, next(lines).split())
            first = len(graph_of) + 1
            labels.append(label)
            for node in range(first, first + count):
                tag, degree, *neighbours = map(int, next(lines).split())
                graph_of.append(graph)
                tags.append(tag)
                edges += [f"{node}, {first + neighbour}" for neighbour in neighbours[:degree]]
        columns: dict[str, Sequence[object]] = {"A": edges, "graph_indicator": graph_of, "graph_labels": labels}
        if tagged:
            columns["node_labels"] = tags
        for kind, values in columns.items():
            path = folder / name / "raw" / f"{name}_{kind}.txt"
            write_text(path, "".join(f"{value}\n" for value in values))
            made.append(path)
    return made


class _Arrays(pickle.Unpickler):
    """Reads pickled arrays, sparse matrices and plain containers, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PICKLED:
            raise InputError(f"a pickle asks for {module}.{name}: only arrays are read from pickles")
        return _PICKLED[module, name]


_NUMPY = {
    # how arrays and scalars say that they are to be made again, which numpy keeps in a private place
    "_reconstruct": np.empty(0).__reduce__()[0],
    "scalar": np.float64(0).__reduce__()[0],
}
_PICKLED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # each under the name of its module in older and in newer versions
    **{(module, name): made for module in ("numpy.core.multiarray", "numpy._core.multiarray") for name, made in _NUMPY.items()},
    **{(module, "csr_matrix"): scipy.sparse.csr_matrix for module in ("scipy.sparse.csr", "scipy.sparse._csr")},
    **{(module, "csc_matrix"): scipy.sparse.csc_matrix for module in ("scipy.sparse.csc", "scipy.sparse._csc")},
}


def _unpickled(content: bytes) -> Any:
    return _Arrays(io.BytesIO(content)).load()


def _sparse(features: Any) -> dict[str, np.ndarray]:
    matrix = scipy.sparse.csr_matrix(features)
    return {
        "feat_data": matrix.data.astype(np.float32),
        "feat_indices": matrix.indices.astype(np.int32),
        "feat_indptr": matrix.indptr.astype(np.int32),
        "feat_shape": np.array(matrix.shape, np.int64),
    }


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    return path


def _hetero(staging: Path, folder: Path) -> list[Path]:
    """GTN's pickles (four sparse adjacencies; dense features; lists of [node, class] to train, validate and test on) to arrays."""
    made = []
    for name in ("acm", "dblp", "imdb"):
        with zipfile.ZipFile(staging / f"gtn-{name}.zip") as archive:
            edges, labels, features = (_unpickled(archive.read(f"{part}.pkl")) for part in ("edges", "labels", "node_features"))
        arrays = _sparse(features)
        for kind, adjacency in enumerate(edges):
            matrix = adjacency.tocoo()
            arrays[f"edge_{kind}"] = np.stack([matrix.row, matrix.col]).astype(np.int32)
        for split, pairs in zip(("train", "val", "test"), labels, strict=True):
            arrays[f"labels_{split}"] = np.array(pairs, np.int32)
        made.append(_write_arrays(folder / f"{name}.npz", arrays))
    return made


def _hypergraph(staging: Path, folder: Path) -> list[Path]:
    """HyperGCN's pickles (features; a dictionary from hyperedge to its nodes; labels; ten splits) to arrays. Hyperedges are numbered in the dictionary's order, their nodes ascend."""
    made = []
    for name in ("cora", "citeseer"):

        def read(part: str, name: str = name) -> Any:
            return _unpickled((staging / name / f"{part}.pickle").read_bytes())

        members = list(_members(read("hypergraph")))
        arrays = {
            **_sparse(read("features")),
            "hyperedge_index": np.array(members, np.int32).T,
            "labels": np.array(read("labels"), np.int32),
        }
        for number in range(10):
            split = read(f"splits/{number + 1}")
            arrays[f"train_{number}"] = np.array(split["train"], np.int32)
            arrays[f"test_{number}"] = np.array(split["test"], np.int32)
        made.append(_write_arrays(folder / f"cocitation-{name}.npz", arrays))
    return made


def _members(hypergraph: dict[Any, Iterable[Any]]) -> Iterator[tuple[int, int]]:
    for edge, nodes in enumerate(hypergraph.values()):
        for node in sorted(nodes):
            yield int(node), edge


MAKERS: dict[str, Maker] = {"mnist": _mnist, "cifar10": _cifar10, "tu": _tu, "hetero": _hetero, "hypergraph": _hypergraph}
"""By the name that `make` has in the catalogue."""
