"""What is made of a home's own format, with small files in that format."""

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.sparse
import torch

from ordinate.data.decode import decode
from ordinate.data.images import open_images
from ordinate.data.make import MAKERS
from ordinate.ground.errors import InputError


def _noise(seed: int, *shape: int) -> np.ndarray:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8).numpy()


def _write_idx(path: Path, array: np.ndarray) -> None:
    path.write_bytes(gzip.compress(struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()))


def test_mnist_of_idx_files(tmp_path: Path) -> None:
    images = {"train": _noise(0, 30, 28, 28), "t10k": _noise(1, 4, 28, 28)}
    for prefix, pixels in images.items():
        _write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", pixels)
        _write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", np.arange(len(pixels), dtype=np.uint8) % 10)
    made = MAKERS["mnist"](tmp_path, tmp_path / "mnist")
    assert [file.name for file in made] == ["train.parquet", "test.parquet"]
    rows = pq.read_table(made[0]).to_pylist()
    assert [row["label"] for row in rows] == [number % 10 for number in range(30)]
    assert all(
        np.array_equal(decode(row["image"]["bytes"], grey=True)[0].numpy(), pixels)
        for row, pixels in zip(rows, images["train"], strict=True)
    )
    data = open_images("mnist", folder=tmp_path)
    assert data.shape == (1, 28, 28) and len(data.test) == 4


def test_idx_files_cut_short_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(struct.pack(">4I", 0x0803, 2, 28, 28) + bytes(100)))
    with pytest.raises(InputError, match="not an IDX file of 3 axes"):
        MAKERS["mnist"](tmp_path, tmp_path)


def test_cifar10_of_its_binary_version(tmp_path: Path) -> None:
    pixels = _noise(0, 6, 2, 3, 32, 32)
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for number in range(6):
            content = b"".join(bytes([label]) + image.tobytes() for label, image in zip((number, 9), pixels[number], strict=True))
            name = "test_batch.bin" if number == 5 else f"data_batch_{number + 1}.bin"
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    MAKERS["cifar10"](tmp_path, tmp_path / "cifar10")
    rows = pq.read_table(tmp_path / "cifar10" / "train.parquet").to_pylist()
    assert [row["label"] for row in rows] == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    assert np.array_equal(decode(rows[3]["img"]["bytes"], grey=False).numpy(), pixels[1, 1])
    data = open_images("cifar10", folder=tmp_path)
    assert data.shape == (3, 32, 32) and len(data.test) == 2 and data.classes[0] == "airplane"


def test_cifar10_without_a_batch_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz"):
        pass
    with pytest.raises(InputError, match=r"holds no data_batch_1\.bin"):
        MAKERS["cifar10"](tmp_path, tmp_path)


def test_tu_of_one_text_a_dataset(tmp_path: Path) -> None:
    for name in ("MUTAG", "PROTEINS", "IMDBBINARY"):
        (tmp_path / f"{name}.txt").write_text("2\n2 1\n5 1 1\n6 1 0\n1 0\n7 0\n")
    MAKERS["tu"](tmp_path, tmp_path / "tu")
    raw = tmp_path / "tu" / "MUTAG" / "raw"
    assert (raw / "MUTAG_A.txt").read_text() == "1, 2\n2, 1\n"
    assert (raw / "MUTAG_graph_indicator.txt").read_text() == "1\n1\n2\n"
    assert (raw / "MUTAG_graph_labels.txt").read_text() == "1\n0\n"
    assert (raw / "MUTAG_node_labels.txt").read_text() == "5\n6\n7\n"
    assert not (tmp_path / "tu" / "IMDB-BINARY" / "raw" / "IMDB-BINARY_node_labels.txt").exists()


def _old_pickle(thing: object) -> bytes:
    """As numpy 1 and scipy before 1.8 named their classes, which is how these datasets were written."""
    content = pickle.dumps(thing, protocol=3)
    for new, old in ((b"numpy._core.multiarray", b"numpy.core.multiarray"), (b"scipy.sparse._csr", b"scipy.sparse.csr")):
        content = content.replace(new, old)
    return content


def test_hetero_of_pickles(tmp_path: Path) -> None:
    adjacency = scipy.sparse.csr_matrix(np.array([[0, 1], [1, 0]]))
    features = np.array([[0.0, 2.0], [3.0, 0.0]], np.float32)
    for name in ("acm", "dblp", "imdb"):
        with zipfile.ZipFile(tmp_path / f"gtn-{name}.zip", "w") as archive:
            archive.writestr("edges.pkl", _old_pickle([adjacency] * 4))
            archive.writestr("labels.pkl", _old_pickle([[[0, 1]], [[1, 0]], []]))
            archive.writestr("node_features.pkl", _old_pickle(features))
    MAKERS["hetero"](tmp_path, tmp_path / "hetero")
    arrays = np.load(tmp_path / "hetero" / "acm.npz")
    assert arrays["edge_3"].tolist() == [[0, 1], [1, 0]] and arrays["labels_train"].tolist() == [[0, 1]]
    assert arrays["feat_data"].tolist() == [2, 3] and arrays["feat_indices"].tolist() == [1, 0]


def test_hypergraphs_of_pickles(tmp_path: Path) -> None:
    for name in ("cora", "citeseer"):
        (tmp_path / name / "splits").mkdir(parents=True)
        parts = {
            "features": scipy.sparse.csr_matrix(np.eye(3)),
            "hypergraph": {"x": {np.int32(2), np.int32(0)}, "y": {np.int32(1)}},
            "labels": [0, 1, 0],
        }
        parts.update({f"splits/{number}": {"train": [0], "test": [1, 2]} for number in range(1, 11)})
        for part, content in parts.items():
            (tmp_path / name / f"{part}.pickle").write_bytes(pickle.dumps(content))
    MAKERS["hypergraph"](tmp_path, tmp_path / "hypergraph")
    arrays = np.load(tmp_path / "hypergraph" / "cocitation-cora.npz")
    assert arrays["hyperedge_index"].tolist() == [[0, 2, 1], [0, 0, 1]] and arrays["test_9"].tolist() == [1, 2]


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("touch attacked",)

    (tmp_path / "cora").mkdir()
    (tmp_path / "cora" / "hypergraph.pickle").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(InputError, match=r"a pickle asks for posix\.system"):
        MAKERS["hypergraph"](tmp_path, tmp_path)
