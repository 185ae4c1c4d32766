import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ordinate.data.arrays import open_arrays, read_arrays, sparse_rows
from ordinate.data.batches import Shuffled
from ordinate.ground.errors import InputError


def test_one_array_stays_on_the_disk(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "x.npy", values)
    source = open_arrays(tmp_path / "x.npy")
    assert len(source) == 4 and source.shapes == {"array": (3,)}
    assert isinstance(source._arrays["array"], np.memmap)
    taken = source.take(torch.tensor([2, 0, 2]))["array"]
    assert taken.tolist() == values[[2, 0, 2]].tolist()
    taken.zero_()
    assert np.array_equal(np.load(tmp_path / "x.npy"), values), "what is taken is the taker's own"
    there = pickle.loads(pickle.dumps(source))
    assert torch.equal(there.take(torch.tensor([1]))["array"], torch.tensor([[3.0, 4.0, 5.0]]))
    assert len(pickle.dumps(source)) < 500


def test_several_arrays_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "xy.npz", x=np.ones((5, 2)), y=np.arange(5, dtype=">i4"))
    batch = Shuffled(open_arrays(str(tmp_path / "xy.npz")), 5, 0)(0)
    assert batch["x"].shape == (5, 2) and batch["x"].dtype == torch.float64
    assert sorted(batch["y"].tolist()) == [0, 1, 2, 3, 4]


def test_tensors_of_any_shape(tmp_path: Path) -> None:
    np.savez(tmp_path / "any.npz", a=np.ones((2, 2)), b=np.array(3))
    arrays = read_arrays(tmp_path / "any.npz")
    assert arrays["a"].shape == (2, 2) and arrays["b"].item() == 3


def test_sparse_rows_are_what_scipy_says(tmp_path: Path) -> None:
    import scipy.sparse

    dense = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 3.0]])
    matrix = scipy.sparse.csr_matrix(dense.numpy())
    parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": np.array(matrix.shape)}
    assert torch.equal(sparse_rows({f"feat_{name}": torch.from_numpy(part) for name, part in parts.items()}), dense)


def test_files_that_hold_no_rows_of_numbers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_arrays(tmp_path / "absent.npy")
    for name, content in (("text.npy", b"not an array"), ("empty.npy", b""), ("half.npz", b"PK\x03\x04half")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"not a \.npy or \.npz file"):
            open_arrays(tmp_path / name)
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"not a \.npy or \.npz file"):
        open_arrays(tmp_path / "objects.npy")
    np.savez(tmp_path / "words.npz", words=np.array(["a", "b"]))
    with pytest.raises(InputError, match="holds no numbers in 'words'"):
        open_arrays(tmp_path / "words.npz")
    np.savez(tmp_path / "nothing.npz")
    with pytest.raises(InputError, match="holds no numbers"):
        open_arrays(tmp_path / "nothing.npz")
    np.savez(tmp_path / "uneven.npz", x=np.ones(3), y=np.ones(4))
    with pytest.raises(InputError, match="same number of rows"):
        open_arrays(tmp_path / "uneven.npz")
    np.save(tmp_path / "none.npy", np.ones((0, 3)))
    with pytest.raises(InputError, match="at least one"):
        open_arrays(tmp_path / "none.npy")
