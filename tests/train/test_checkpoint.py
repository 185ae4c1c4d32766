import errno
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ordinate.train.checkpoint as checkpoint
from ordinate.train.checkpoint import latest_checkpoint, load_checkpoint, pack, save_checkpoint, unpack

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 9),
    st.floats(allow_nan=False),
    st.text(max_size=3).filter(lambda text: not text.startswith("tensor:")),
)
states = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.text(max_size=3), st.integers(0, 9)), inner, max_size=3)
    ),
)


@given(states)
def test_packing_is_undone(state: object) -> None:
    tensors: dict[str, torch.Tensor] = {}
    assert unpack(pack({"a": state, "b": [torch.arange(3), state]}, tensors), tensors)["a"] == state
    assert len(tensors) == 1


def test_tied_weights_and_every_dtype_survive(tmp_path: Path) -> None:
    shared = torch.randn(4, 4)
    state = {"a": shared, "b": shared, "row": shared[1], "half": torch.ones(2, dtype=torch.bfloat16), "count": torch.tensor(7)}
    save_checkpoint(tmp_path, 3, state, {"seed": 1})
    found = load_checkpoint(tmp_path / "step-00000003")
    assert found.step == 3 and found.card == {"seed": 1}
    assert all(torch.equal(found.state[key], state[key]) and found.state[key].dtype == state[key].dtype for key in state)


def test_the_last_is_kept_and_the_best_beside_it(tmp_path: Path) -> None:
    for step in (5, 10):
        save_checkpoint(tmp_path, step, {}, {})
    save_checkpoint(tmp_path, 5, {}, {}, kind="best")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best-00000005", "step-00000010"]
    assert latest_checkpoint(tmp_path) == tmp_path / "step-00000010"
    assert latest_checkpoint(tmp_path / "none") is None


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, 1, {"x": torch.ones(2)}, {})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError):
        save_checkpoint(tmp_path, 2, {"x": torch.ones(2)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert load_checkpoint(tmp_path / "step-00000001").step == 1


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be written"):
        pack({"f": object()}, {})
