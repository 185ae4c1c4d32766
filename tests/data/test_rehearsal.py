"""Batches that rehearse."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.data.batches import TensorSource
from ordinate.data.rehearsal import Rehearsal, exemplars
from ordinate.ground.errors import InputError


def _source(label: int, rows: int) -> TensorSource:
    return TensorSource(image=torch.arange(rows, dtype=torch.float32)[:, None], label=torch.full((rows,), label))


@given(half=st.integers(1, 6), memory=st.integers(1, 10), step=st.integers(0, 20))
def test_half_of_each_batch_is_new_and_half_recalled(half: int, memory: int, step: int) -> None:
    batches = Rehearsal(_source(1, 7), _source(0, memory), 2 * half, seed=3)
    batch = batches(step)
    assert batch["label"].tolist() == [1] * half + [0] * half
    again = Rehearsal(_source(1, 7), _source(0, memory), 2 * half, seed=3)
    again(step + 1)
    assert torch.equal(again(step)["image"], batch["image"])
    if half <= memory:
        assert len(set(batch["image"][half:].flatten().tolist())) == half


def test_processes_share_a_batch() -> None:
    batches = Rehearsal(_source(1, 7), _source(0, 3), 8, seed=0)
    parts = [batches(2, rank, 2)["image"] for rank in range(2)]
    assert torch.equal(torch.cat(parts), batches(2)["image"])
    with pytest.raises(InputError, match="cannot be shared by 3"):
        batches(0, 0, 3)


def test_a_quota_of_each_class_is_kept() -> None:
    labels = torch.tensor([0] * 9 + [1] * 2)
    source = TensorSource(image=torch.zeros(11, 1), label=labels)
    assert torch.bincount(labels[exemplars(source, 4)]).tolist() == [4, 2]
    with pytest.raises(InputError, match="at least one row"):
        exemplars(source, 0)


def test_odd_batches_and_empty_memories_are_one_line() -> None:
    with pytest.raises(InputError, match="must be even"):
        Rehearsal(_source(1, 7), _source(0, 3), 5, seed=0)
    with pytest.raises(InputError, match="memory is empty"):
        Rehearsal(_source(1, 7), TensorSource(image=torch.zeros(0, 1), label=torch.zeros(0, dtype=torch.int64)), 4, seed=0)
