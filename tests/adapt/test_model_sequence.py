"""Versions of a model that share one gallery."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from ordinate.adapt.model_sequence import ModelSequence, StationaryModel, cards_differ
from ordinate.ground.errors import InputError
from ordinate.models.mlp import MLP
from ordinate.nn.class_allocator import ClassAllocator
from ordinate.nn.fixed_simplex_head import FixedSimplexHead

IMAGES, LABELS = torch.randn(12, 1, 4, 4), torch.arange(12) % 3


def _version(
    classes: int = 8, places: dict[str | int, int] | None = None, turned: int | None = None, width: int | None = None
) -> StationaryModel:
    allocator = ClassAllocator(classes, places or {"a": 7, "b": 6})
    model = MLP(num_classes=0, image_size=4, hidden=[32], num_features=classes - 1 if width is None else width)
    return StationaryModel(model, FixedSimplexHead(model.num_features, classes, allocator, turned=turned), allocator)


def test_the_gallery_is_embedded_once_whoever_serves_it() -> None:
    first, second = _version(), _version(places={"a": 7, "b": 6, "c": 5})
    sequence = ModelSequence(first, IMAGES, LABELS)
    with torch.no_grad():
        expected = F.normalize(first.model.embed(IMAGES), dim=1)  # type: ignore[operator]
    torch.testing.assert_close(sequence.gallery, expected)
    before = sequence.gallery.clone()
    sequence.replace(second)
    assert torch.equal(sequence.gallery, before) and sequence.versions == ["first", "replacement"] and len(sequence) == 2
    with torch.no_grad():
        queries = F.normalize(second.model.embed(IMAGES), dim=1)  # type: ignore[operator]
    assert torch.equal(sequence.search(IMAGES, 4), (queries @ before.t()).topk(4, dim=1).indices)
    sequence.update(first, IMAGES[:2], LABELS[:2])
    assert len(sequence.gallery) == 14 and torch.equal(sequence.gallery[:12], before) and sequence.versions[-1] == "update"
    assert sequence.labels.tolist() == [*LABELS.tolist(), 0, 1]


def test_a_model_finds_its_own_rows_first_and_their_classes() -> None:
    apart = 100 * torch.eye(16)[:12].reshape(12, 1, 4, 4)  # no pixel in common, and bright enough that biases do not make them alike
    sequence = ModelSequence(_version(width=16), apart, torch.arange(12))
    assert sequence.search(apart, 1)[:, 0].tolist() == list(range(12)) and sequence.identify(apart).tolist() == list(range(12))


def test_the_teacher_is_whoever_serves_with_its_junction() -> None:
    sequence = ModelSequence(_version(width=5), IMAGES, LABELS)
    second = _version(width=4)
    sequence.replace(second)
    with torch.no_grad():
        expected = second.head(second.model.embed(IMAGES)).features  # type: ignore[operator]
    torch.testing.assert_close(sequence.teacher()(IMAGES), expected)
    assert sequence.gallery.shape == (12, 7)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"classes": 9, "places": {"a": 8}}, "tables of 8 and 9 classes"),
        ({"places": {"a": 7, "b": 5}}, "other prototypes for class b"),
        ({"places": {"c": 6}}, "one prototype for the classes b and c"),
        ({"turned": 0}, "turned differently"),
    ],
)
def test_a_model_of_another_table_or_class_map_is_refused_and_nothing_changes(other: dict[str, Any], why: str) -> None:
    sequence = ModelSequence(_version(), IMAGES, LABELS)
    serving, stranger = sequence.current, _version(**other)
    for take in (sequence.replace, sequence.update):
        with pytest.raises(InputError, match=why):
            take(stranger)
    assert sequence.current is serving and sequence.versions == ["first"] and len(sequence.gallery) == 12


def test_what_does_not_fit_is_one_line() -> None:
    sequence = ModelSequence(_version(), IMAGES, LABELS)
    with pytest.raises(InputError, match="both or neither"):
        sequence.update(_version(), IMAGES)
    with pytest.raises(InputError, match="a label each"):
        sequence.add(IMAGES, LABELS[:3])
    for k in (0, 13):
        with pytest.raises(InputError, match="k must be between 1 and the 12"):
            sequence.search(IMAGES, k)
    with pytest.raises(InputError, match="a table of 9"):
        StationaryModel(MLP(), FixedSimplexHead(64, 8), ClassAllocator(9))


def _card(**changes: Any) -> dict[str, Any]:
    agreed = {"classes": 8, "prototypes": "abc", "places": [7, 6], "dims": None} | changes
    return {"objective": "stationary", "agreed": agreed, "input": {"classes": changes.get("names", ["a", "b"])}}


def test_cards_of_runs_are_compared_by_table_rows_and_sizes() -> None:
    assert cards_differ(_card(), _card()) is None
    assert cards_differ(_card(), _card(names=["b", "a"], places=[6, 7])) is None
    assert cards_differ(_card(), _card(names=["a", "b", "c"], places=[7, 6, 5])) is None
    assert "class a, b" in str(cards_differ(_card(), _card(names=["b", "a"])))
    assert "turned" in str(cards_differ(_card(), _card(prototypes="def")))
    assert "nested sizes None and [2, 7]" in str(cards_differ(_card(), _card(dims=[2, 7])))
    assert "tables of 8 and 9" in str(cards_differ(_card(), _card(classes=9)))
    with pytest.raises(InputError, match="the new run was trained on classification"):
        cards_differ(_card(), {"objective": "classification", "input": {"classes": ["a"]}})
