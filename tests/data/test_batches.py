import pickle
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ordinate.data.augment import Compose, HorizontalFlip, Mixup, PadCrop
from ordinate.data.batches import Generated, Shuffled, Subset, TensorSource
from ordinate.ground.errors import InputError


def _numbers(count: int) -> TensorSource:
    return TensorSource(number=torch.arange(count))


@given(rows=st.integers(1, 30), batch_size=st.integers(1, 40), seed=st.integers(0, 2**40), epochs=st.integers(1, 4))
def test_the_stream_holds_every_row_once_an_epoch(rows: int, batch_size: int, seed: int, epochs: int) -> None:
    batches = Shuffled(_numbers(rows), batch_size, seed)
    steps = -(-epochs * rows // batch_size)
    stream = [row for step in range(steps) for row in batches.rows(step)]
    assert len(stream) == steps * batch_size
    for epoch in range(epochs):
        assert sorted(stream[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


@given(step=st.integers(0, 10**6), seed=st.integers(0, 2**40))
def test_a_batch_depends_on_seed_and_step_alone(step: int, seed: int) -> None:
    batches = Shuffled(_numbers(17), 5, seed)
    rows = batches.rows(step)
    torch.manual_seed(step)
    batches(step + 3)
    assert batches.rows(step) == rows == Shuffled(_numbers(17), 5, seed).rows(step)
    assert batches(step)["number"].tolist() == rows
    assert torch.initial_seed() == step, "the global generator was touched"


def test_seeds_and_epochs_shuffle_differently() -> None:
    batches = Shuffled(_numbers(50), 50, 0)
    assert batches.rows(0) != batches.rows(1) != list(range(50))
    assert batches.rows(0) != Shuffled(_numbers(50), 50, 1).rows(0)


@given(world=st.integers(1, 4), per_process=st.integers(1, 3), step=st.integers(0, 50))
def test_processes_together_see_what_one_would(world: int, per_process: int, step: int) -> None:
    images = torch.rand(23, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    source = TensorSource(image=images, label=torch.arange(23) % 4)
    batches = Shuffled(source, 2 * world * per_process, 3, Compose(PadCrop(2), HorizontalFlip(), Mixup(4)))
    whole = batches(step)
    shares = [batches(step, rank, world) for rank in range(world)]
    for name, tensor in whole.items():
        assert torch.equal(torch.cat([share[name] for share in shares]), tensor)


def _draw(generator: torch.Generator) -> dict[str, Tensor]:
    return {"x": torch.rand(6, 2, generator=generator)}


@given(step=st.integers(0, 10**6), world=st.sampled_from([1, 2, 3, 6]))
def test_generated_batches_depend_on_seed_and_step_alone(step: int, world: int) -> None:
    batches = Generated(_draw, 4)
    whole = batches(step)["x"]
    torch.manual_seed(0)
    assert torch.equal(torch.cat([batches(step, rank, world)["x"] for rank in range(world)]), whole)
    assert not torch.equal(batches(step + 1)["x"], whole)


def test_batches_go_to_another_process_and_stay_the_same() -> None:
    batches = Shuffled(_numbers(9), 4, 0, None)
    before = [batches.rows(step) for step in range(6)]
    there = pickle.loads(pickle.dumps(batches))
    assert [there.rows(step) for step in reversed(range(6))] == before[::-1]


def test_a_batch_may_span_epochs() -> None:
    counts = Counter(Shuffled(_numbers(4), 10, 0).rows(0))
    assert sorted(counts.values()) == [2, 2, 3, 3]


def test_a_subset_keeps_the_order_of_its_rows() -> None:
    subset = Subset(_numbers(10), torch.tensor([7, 2, 5]))
    assert len(subset) == 3
    assert subset.take(torch.tensor([2, 0, 0]))["number"].tolist() == [5, 7, 7]


def test_what_is_taken_is_the_takers_own() -> None:
    source = _numbers(3)
    source.take(torch.tensor([0, 1, 2]))["number"].zero_()
    assert source.take(torch.tensor([0, 1, 2]))["number"].tolist() == [0, 1, 2]


def test_bad_requests_are_refused() -> None:
    with pytest.raises(InputError, match="shared equally by 3 processes"):
        Shuffled(_numbers(9), 4, 0)(0, 0, 3)
    with pytest.raises(InputError, match="no process 2 in a world of 2"):
        Shuffled(_numbers(9), 4, 0)(0, 2, 2)
    with pytest.raises(InputError, match="count from 0"):
        Shuffled(_numbers(9), 4, 0).rows(-1)
    with pytest.raises(InputError, match="count from 0"):
        Generated(_draw, 0)(-1)
    with pytest.raises(InputError, match="shared equally"):
        Generated(_draw, 0)(0, 0, 4)
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        Shuffled(_numbers(9), 0, 0)
    with pytest.raises(InputError, match="no rows"):
        Shuffled(_numbers(0), 1, 0)
    with pytest.raises(InputError, match="same number of rows"):
        TensorSource(a=torch.zeros(2), b=torch.zeros(3))
    with pytest.raises(InputError, match="same number of rows"):
        TensorSource()
