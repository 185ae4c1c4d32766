import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.data.batches import TensorSource
from ordinate.data.few_shots import few_shots
from ordinate.data.image_domains import ImageDomain, InDomain, turned
from ordinate.data.task_mix import TaskMix
from ordinate.ground.errors import InputError


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_right_angles_are_exact_and_counter_clockwise(turns: int) -> None:
    images = torch.rand(2, 1, 6, 6)
    torch.testing.assert_close(turned(images, 90.0 * turns), torch.rot90(images, turns, (2, 3)), atol=1e-5, rtol=1e-5)


def test_each_image_may_have_an_angle_of_its_own() -> None:
    images = torch.rand(2, 1, 6, 6)
    both = turned(images, torch.tensor([0.0, 37.0]))
    torch.testing.assert_close(both[:1], images[:1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both[1:], turned(images[1:], 37.0))


def test_a_domain_turns_then_inverts_and_has_a_name() -> None:
    images = torch.rand(2, 1, 6, 6)
    assert torch.equal(ImageDomain()(images), images) and torch.equal(ImageDomain(360)(images), images)
    torch.testing.assert_close(ImageDomain(90, True)(images), 1 - turned(images, 90.0))
    assert (ImageDomain(40).name, ImageDomain(22.5, True).name) == ("40", "-22.5")
    source = InDomain(TensorSource(image=images, label=torch.arange(2)), ImageDomain(0, True))
    assert torch.equal(source.take(torch.tensor([1]))["image"], 1 - images[1:]) and len(source) == 2


@given(seed=st.integers(0, 100), shots=st.integers(1, 4))
def test_few_shots_are_as_many_of_each_class_and_nested(seed: int, shots: int) -> None:
    labels = torch.arange(40) % 4
    rows = few_shots(labels, shots, seed)
    assert labels[rows].bincount().tolist() == [shots] * 4 and len(rows.unique()) == 4 * shots
    assert set(few_shots(labels, 1, seed).tolist()) <= set(rows.tolist())


def test_shots_that_there_are_not_are_refused() -> None:
    with pytest.raises(InputError, match="class 1 has 1 rows, and 2"):
        few_shots(torch.tensor([0, 0, 1]), 2)
    with pytest.raises(InputError, match="at least one shot"):
        few_shots(torch.tensor([0]), 0)


def test_a_mix_shares_a_batch_equally_and_numbers_the_tasks() -> None:
    sources = [TensorSource(image=torch.full((rows, 1), float(number))) for number, rows in enumerate((9, 20, 30))]
    mix = TaskMix(sources, 6, 0)
    batch = mix(3)
    assert batch["task"].tolist() == [0, 0, 1, 1, 2, 2] and torch.equal(batch["image"][:, 0].long(), batch["task"])
    assert mix.epoch == 4 and torch.equal(mix(3)["image"], batch["image"])
    assert mix(0, 1, 2)["task"].tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="a batch of 7 cannot be shared equally by 3 tasks"):
        TaskMix(sources, 7, 0)
