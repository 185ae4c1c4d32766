from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ordinate.adapt.task_vector import TaskBank, TaskVector
from ordinate.ground.errors import InputError
from tests.adapt.small import bank_of, network


def test_a_vector_leads_from_one_checkpoint_to_the_other_by_name() -> None:
    first, second = network(), network()
    vector = TaskVector.from_checkpoints(first.state_dict(), dict(reversed(second.state_dict().items())))
    assert list(vector) == list(first.state_dict())
    for name, entry in vector.apply_to(first.state_dict()).items():
        torch.testing.assert_close(entry, second.state_dict()[name], atol=1e-6, rtol=1e-6)
    half = vector.apply_to(first.state_dict(), 0.5)["0.weight"]
    torch.testing.assert_close(half, (first.state_dict()["0.weight"] + second.state_dict()["0.weight"]) / 2)


def test_counters_are_no_weights_and_running_statistics_are_entries() -> None:
    vector = TaskVector.from_checkpoints(nn.BatchNorm1d(3).state_dict(), nn.BatchNorm1d(3).state_dict())
    assert set(vector) == {"weight", "bias", "running_mean", "running_var"}


def test_half_precision_is_a_choice_and_the_difference_is_taken_before_it() -> None:
    first = {"w": torch.full((3,), 1000.0, dtype=torch.float16)}
    vector = TaskVector.from_checkpoints(first, {"w": torch.full((3,), 1000.25)}, dtype=torch.float16)
    assert vector["w"].dtype == torch.float16
    torch.testing.assert_close(vector["w"].float(), torch.full((3,), 0.25))
    assert vector.apply_to(first)["w"].dtype == torch.float16


@given(alpha=st.floats(-3, 3), seed=st.integers(0, 20))
def test_the_arithmetic_is_that_of_a_vector_space(alpha: float, seed: int) -> None:
    torch.manual_seed(seed)
    a, b, _ = bank_of(network()).values()
    assert (a + b).dot(a) == pytest.approx(a.dot(a) + a.dot(b), rel=1e-4, abs=1e-4)
    assert (alpha * a).norm() == pytest.approx(abs(alpha) * a.norm(), rel=1e-4, abs=1e-6)
    assert (a - a).norm() == 0 and (-a).dot(b) == pytest.approx(-a.dot(b))
    torch.testing.assert_close((a**2)["0.weight"], a["0.weight"].square())


def test_a_dot_product_is_over_what_both_have() -> None:
    first, second = TaskVector({"a": torch.ones(2), "b": torch.ones(3)}), TaskVector({"b": torch.full((3,), 2.0), "c": torch.ones(1)})
    assert first.dot(second) == 6
    with pytest.raises(InputError, match="share no entry"):
        first.dot(TaskVector({"c": torch.ones(1)}))


def test_the_similarity_of_a_bank_is_of_cosines() -> None:
    bank = TaskBank(
        {
            "x": TaskVector({"w": torch.tensor([1.0, 0.0])}),
            "y": TaskVector({"w": torch.tensor([1.0, 1.0])}),
            "0": TaskVector({"w": torch.zeros(2)}),
        }
    )
    expected = torch.tensor([[1, 0.5**0.5, 0], [0.5**0.5, 1, 0], [0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(bank.similarity(), expected)
    torch.testing.assert_close(bank.total()["w"], torch.tensor([2.0, 1.0]))
    assert list(bank.without("y")) == ["x", "0"]


def test_a_vector_survives_its_file(tmp_path: Path) -> None:
    vector = bank_of(network())["task 0"]
    vector.save(tmp_path / "vector.safetensors")
    again = TaskVector.load(tmp_path / "vector.safetensors")
    assert all(torch.equal(again[name], entry) for name, entry in vector.items()) and len(again) == len(vector)
    (tmp_path / "vector.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match="not a whole safetensors file"):
        TaskVector.load(tmp_path / "vector.safetensors")
    with pytest.raises(InputError, match="no such file"):
        TaskVector.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"w": torch.ones(3)}, "missing: b"),
        ({"w": torch.ones(3), "b": torch.ones(1), "z": torch.ones(1)}, "unknown: z"),
        ({"w": torch.ones(2), "b": torch.ones(1)}, r"of another shape: w \(2,\) for \(3,\)"),
        ({"w": torch.full((3,), torch.inf), "b": torch.ones(1)}, "w of the task vector is not finite"),
    ],
)
def test_what_is_no_fine_tuned_state_is_named(second: dict[str, torch.Tensor], words: str) -> None:
    with pytest.raises(InputError, match=words):
        TaskVector.from_checkpoints({"w": torch.zeros(3), "b": torch.zeros(1)}, second)


def test_vectors_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="at least one entry"):
        TaskVector({})
    with pytest.raises(InputError, match="floating-point entries"):
        TaskVector({"w": torch.ones(2, dtype=torch.int64)})
    with pytest.raises(InputError, match="at least one task vector"):
        TaskBank({})
    with pytest.raises(InputError, match="different architectures"):
        TaskBank([TaskVector({"w": torch.ones(2)}), TaskVector({"v": torch.ones(2)})])
    with pytest.raises(InputError, match="not finite"):
        TaskVector({"w": torch.tensor([1e5])}).to(torch.float16)
    with pytest.raises(InputError, match="unknown: w"):
        TaskVector({"w": torch.ones(2)}).apply_to({"v": torch.ones(2)})
