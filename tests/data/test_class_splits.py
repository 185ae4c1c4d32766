"""Datasets cut and joined by class."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.data.batches import TensorSource
from ordinate.data.class_splits import (
    Relabelled,
    coarse,
    incremental_classes,
    labels_of,
    long_tail,
    per_class,
    symmetry_classes,
    with_classes,
)
from ordinate.ground.errors import InputError

LABELS = torch.arange(60) % 6
SOURCE = TensorSource(image=torch.arange(60.0)[:, None], label=LABELS)


def test_the_protocols_of_7_and_31_versions() -> None:
    assert [len(group) for group in incremental_classes(100, 10, 15)] == [10] + [15] * 6
    assert [len(group) for group in incremental_classes(100, 10, 3)] == [10] + [3] * 30
    assert incremental_classes(4, 4, 1) == [[0, 1, 2, 3]]


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 4), st.integers(0, 100))
def test_every_class_arrives_once_in_an_order_of_the_seed(first: int, step: int, groups: int, seed: int) -> None:
    classes = first + groups * step
    found = incremental_classes(classes, first, step, seed=seed)
    assert sorted(label for group in found for label in group) == list(range(classes))
    assert found == incremental_classes(classes, first, step, seed=seed) and [len(group) for group in found] == [first] + [step] * groups


def test_rows_of_some_classes_in_their_order() -> None:
    some = with_classes(SOURCE, [4, 1])
    assert labels_of(some).unique().tolist() == [1, 4] and len(some) == 20
    assert some.indices.tolist() == sorted(some.indices.tolist())
    with pytest.raises(InputError, match="class 7"):
        with_classes(SOURCE, [1, 7])
    with pytest.raises(InputError, match="no classes"):
        with_classes(SOURCE, [])


def test_a_few_of_each_class_do_not_depend_on_the_others() -> None:
    rows = per_class(LABELS, 3, seed=5)
    assert torch.bincount(LABELS[rows]).tolist() == [3] * 6 and rows.tolist() == sorted(rows.tolist())
    fewer = per_class(torch.where(LABELS < 3, LABELS, 3), 3, seed=5)
    assert set(rows[LABELS[rows] < 3].tolist()) == set(fewer[LABELS[fewer] < 3].tolist())
    assert len(per_class(LABELS, 100)) == 60 and not torch.equal(rows, per_class(LABELS, 3, seed=6))
    with pytest.raises(InputError, match="at least one row"):
        per_class(LABELS, 0)


def test_coarse_labels_join_classes_and_a_class_without_one_cannot_be_taken() -> None:
    joined = coarse(with_classes(SOURCE, [0, 1, 5]), [[5], [0, 1]])
    batch = joined.take(torch.arange(4))
    assert batch["label"].tolist() == [1, 1, 0, 1] and len(joined) == 30
    with pytest.raises(InputError, match="class 2, 3, 4 have no new label"):
        coarse(SOURCE, [[5], [0, 1]]).take(torch.arange(6))
    with pytest.raises(InputError, match="class 5 have no new label"):
        Relabelled(SOURCE, {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}).take(torch.arange(6))
    with pytest.raises(InputError, match="one group only"):
        coarse(SOURCE, [[0, 1], [1]])
    with pytest.raises(InputError, match="0 or more"):
        Relabelled(SOURCE, {})


def test_a_long_tail_falls_from_the_first_class_to_the_last() -> None:
    counts = torch.bincount(LABELS[long_tail(LABELS, 0.1)]).tolist()
    assert counts == [round(10 * 0.1 ** (c / 5)) for c in range(6)] and counts[0] == 10 and counts[-1] == 1
    assert len(long_tail(LABELS, 1.0)) == 60
    for ratio in (0.0, 1.5):
        with pytest.raises(InputError, match="a part of the first"):
            long_tail(LABELS, ratio)


def test_each_image_is_under_one_symmetry_and_its_label_says_which() -> None:
    images = torch.randn(64, 1, 3, 3)
    turned, labels = symmetry_classes(images, torch.zeros(64, dtype=torch.int64), 1, 8, seed=1)
    assert labels.unique().tolist() == list(range(8))
    for image, found, s in zip(images, turned, labels.tolist(), strict=True):
        assert torch.equal(found, torch.rot90(image if s < 4 else image.flip(2), s % 4, (1, 2)))
    same, unchanged = symmetry_classes(images, LABELS[:64].repeat(2)[:64], 6, 1)
    assert torch.equal(same, images) and int(unchanged.max()) < 6
    with pytest.raises(InputError, match="eight symmetries"):
        symmetry_classes(images, labels, 8, 9)
    with pytest.raises(InputError, match="3x4"):
        symmetry_classes(torch.zeros(64, 1, 3, 4), labels, 8)


def test_groups_that_do_not_add_up_are_one_line() -> None:
    for first, step in ((0, 1), (3, 4), (11, 1), (2, 0)):
        with pytest.raises(InputError, match="cannot be cut"):
            incremental_classes(10, first, step)
