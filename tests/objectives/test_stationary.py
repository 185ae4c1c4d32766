"""Stationary features: the contrastive term against a double loop, the combination, and training."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.models.mlp import MLP
from ordinate.nn.class_allocator import ClassAllocator
from ordinate.nn.fixed_simplex_head import FixedSimplexHead
from ordinate.nn.simplex import prefix_prototypes
from ordinate.objectives.base import create_objective
from ordinate.objectives.stationary import FrozenEmbedding, HOCLoss, Stationary


def _naive(new: Tensor, old: Tensor, labels: Tensor, mu: float, same_class: str) -> Tensor:
    rows = []
    for i in range(len(new)):
        scores = [mu * F.cosine_similarity(old[i], each, dim=0) for each in new]
        if same_class == "exclude":
            among = [scores[j] for j in range(len(new)) if labels[j] != labels[i]]
        else:
            among = [scores[j] if labels[j] != labels[i] else 0 * scores[j] for j in range(len(new))]
        rows.append(torch.stack(among).exp().sum().log() - scores[i])
    return torch.stack(rows).mean()


@pytest.mark.parametrize("same_class", ["zero", "exclude"])
@given(batch=st.integers(2, 7), classes=st.integers(2, 4), seed=st.integers(0, 1000))
def test_the_contrastive_term_is_that_of_a_double_loop(same_class: str, batch: int, classes: int, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    new, old = (torch.randn(batch, 5, dtype=torch.float64, generator=chance) for _ in range(2))
    labels = torch.randint(classes, (batch,), generator=chance)
    if same_class == "exclude":
        labels[:2] = torch.tensor([0, 1])
        if (labels == labels[0]).all():
            return
    expected = _naive(new, old, labels, 4.0, same_class)
    torch.testing.assert_close(HOCLoss(4.0, same_class=same_class)(new, old, labels), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("same_class", ["zero", "exclude"])
def test_its_gradient_is_right(same_class: str) -> None:
    new, old = (torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    labels = torch.tensor([0, 1, 1, 2, 0])
    assert torch.autograd.gradcheck(lambda a, b: HOCLoss(same_class=same_class)(a, b, labels), (new, old))


def test_a_batch_of_one_class_has_nothing_to_contrast() -> None:
    features, labels = torch.randn(3, 4), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(InputError, match="one class"):
        HOCLoss(same_class="exclude")(features, features, labels)
    loss = HOCLoss(10.0)(features, features, labels)  # every similarity counts as 0 there
    assert loss.item() == pytest.approx(math.log(3) - 10.0, abs=1e-5)


def test_bad_scales_and_shapes_are_one_line() -> None:
    with pytest.raises(InputError, match="mu must be positive"):
        HOCLoss(0.0)
    with pytest.raises(InputError, match="treatment"):
        HOCLoss(same_class="drop")
    with pytest.raises(InputError, match="two models' features"):
        HOCLoss()(torch.randn(3, 4), torch.randn(3, 5), torch.zeros(3, dtype=torch.int64))


def _images(classes: int = 3) -> dict[str, Tensor]:
    return {"image": torch.randn(8, 1, 4, 4), "label": torch.arange(8) % classes}


def _model(width: int = 7) -> MLP:
    return MLP(num_classes=3, image_size=4, hidden=[6], num_features=width)


def test_lambda_weighs_the_two_terms() -> None:
    model, previous, batch = _model(), FrozenEmbedding(_model()), _images()
    head = FixedSimplexHead(7, 8)
    cross_entropy = Stationary(head)(model, batch)
    torch.testing.assert_close(cross_entropy, F.cross_entropy(head.logits(model.embed(batch["image"])), 7 - batch["label"]))
    hoc = HOCLoss()(model.embed(batch["image"]), previous(batch["image"]), batch["label"])
    for lambda_ in (0.0, 0.1, 1.0):
        mixed = Stationary(head, previous=previous, lambda_=lambda_)(model, batch)
        torch.testing.assert_close(mixed, lambda_ * cross_entropy + (1 - lambda_) * hoc)


def test_the_previous_model_is_a_frozen_copy_that_is_neither_trained_nor_saved() -> None:
    model, batch = _model(), _images()
    model.body.append(nn.Dropout(0.5))
    objective = Stationary(FixedSimplexHead(7, 8), previous=FrozenEmbedding(model))
    before = objective.previous(batch["image"])  # type: ignore[misc]
    objective(model, batch).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert torch.equal(before, objective.previous(batch["image"])) and not before.requires_grad  # type: ignore[misc]
    assert not list(objective.parameters()) and objective.state_dict().keys() == {"head.places"}


def test_the_junction_stands_in_front_of_both_versions_and_is_trained() -> None:
    head = FixedSimplexHead(5, 8)
    model = _model(5)
    objective = Stationary(head, previous=FrozenEmbedding(model, head))
    objective(model, _images()).backward()
    assert head.junction.weight.grad is not None and objective.represent(torch.randn(2, 5)).shape == (2, 7)
    wide = Stationary(head, previous=FrozenEmbedding(model))
    with pytest.raises(InputError, match="share no space"):
        wide(model, _images())


def test_nested_it_adds_one_loss_a_prefix() -> None:
    model, batch = _model(), _images()
    objective = Stationary(FixedSimplexHead(7, 8, turned=2), dims=[2, 4], previous=FrozenEmbedding(_model()), lambda_=0.3)
    assert objective.dims == (2, 4, 7)
    features, old = model.embed(batch["image"]), objective.previous(batch["image"])  # type: ignore[misc]
    expected = 0.0
    for size in (2, 4, 7):
        logits = features[:, :size] @ prefix_prototypes(objective.head.table, size).t()
        expected = expected + 0.3 * F.cross_entropy(logits, 7 - batch["label"])
        expected = expected + 0.7 * HOCLoss()(features[:, :size], old[:, :size], batch["label"])
    torch.testing.assert_close(objective(model, batch), expected)


def test_for_a_model_the_table_follows_from_the_width_and_the_model_classifies_by_itself() -> None:
    model = _model()
    objective = create_objective("stationary", model)
    assert isinstance(objective, Stationary) and objective.head.classes == 8 and objective.head.places.tolist() == [7, 6, 5]
    assert not model.head.weight.requires_grad and not model.head.bias.any()
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    batch = _images()
    for _ in range(200):
        optimizer.zero_grad()
        objective(model, batch).backward()
        optimizer.step()
    assert (model(batch["image"]).argmax(dim=1) == batch["label"]).all()
    card = objective.card()
    assert card["classes"] == 8 and card["places"] == [7, 6, 5] and card["dims"] is None
    assert create_objective("stationary", _model()).card() == card  # type: ignore[operator]


def test_the_card_tells_other_tables_and_places_apart() -> None:
    card = Stationary.for_model(_model()).card()
    for options in ({"dims": [2, 4]}, {"dims": [2, 4], "turned": 1}):
        assert Stationary.for_model(_model(), **options).card()["prototypes"] != card["prototypes"]
    front = Stationary.for_model(_model(), allocation="front")
    assert front.card()["prototypes"] == card["prototypes"] and front.card()["places"] == [0, 1, 2]
    wider = Stationary.for_model(_model(8))
    assert wider.card()["prototypes"] != card["prototypes"]


def test_a_restored_nested_objective_has_the_saved_table() -> None:
    saved, other = (Stationary.for_model(_model(), matryoshka=[2, 4], turned=seed) for seed in (0, 1))
    model, batch = _model(), _images()
    assert saved(model, batch) != other(model, batch)
    other.load_state_dict(saved.state_dict())
    assert torch.equal(saved(model, batch), other(model, batch))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": 16}, "num_features=15"),
        ({"lambda_": 1.5}, "lambda"),
        ({"allocation": "middle"}, "allocation"),
        ({"dims": [2, 9]}, "the embedding's own width 7"),
        ({"dims": [2], "matryoshka": [2]}, "two names"),
        ({"weights": "8boost"}, "sizes too"),
    ],
)
def test_options_that_do_not_fit_are_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        create_objective("stationary", _model(), **options)


def test_models_and_labels_that_do_not_fit_are_one_line() -> None:
    with pytest.raises(InputError, match="vision encoder"):
        create_objective("stationary", nn.Linear(2, 2))
    with pytest.raises(InputError, match="more than the 8 prototypes"):
        create_objective("stationary", MLP(num_classes=9, image_size=4, num_features=7))
    with pytest.raises(InputError, match="labels must lie between 0 and 2"):
        create_objective("stationary", _model())(_model(), _images(4))
    with pytest.raises(InputError, match="turned"):
        Stationary(FixedSimplexHead(7, 8), dims=[2, 4])
    with pytest.raises(InputError, match="table of 9"):
        FixedSimplexHead(7, 8, ClassAllocator(9))
