import copy

import pytest
import torch
from torch import nn

from ordinate.adapt.concat import logit_ensemble
from ordinate.adapt.two_stage import finetune_members, train_merged_head, two_stage_finetune
from ordinate.data.batches import Shuffled, TensorSource
from ordinate.ground.errors import InputError
from ordinate.models.encoding import Classifier
from ordinate.models.mlp import MLP
from ordinate.objectives.classification import Classification
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe

IMAGES, LABELS = torch.randn(60, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3


def _members(count: int = 3) -> list[MLP]:
    return [MLP(num_classes=2, image_size=4, hidden=[6], num_features=width) for width in range(4, 4 + count)]


def _train(classifier: nn.Module, number: int) -> None:
    fit(
        classifier, Classification(), Shuffled(TensorSource(image=IMAGES, label=LABELS), 20, number), Recipe(steps=10, lr=1e-2), seed=number
    )


def test_the_second_stage_begins_at_the_mean_of_the_first_ones_logits() -> None:
    members = _members()
    tuned = finetune_members(members, 3, _train)
    joined = two_stage_finetune(members, 3, _train, IMAGES, LABELS, head_epochs=0)
    torch.testing.assert_close(joined(IMAGES), logit_ensemble([each(IMAGES) for each in tuned]), atol=1e-5, rtol=1e-5)


def test_the_second_stage_trains_the_head_alone_and_lowers_its_loss() -> None:
    members = _members()
    before, after = (two_stage_finetune(members, 3, _train, IMAGES, LABELS, head_epochs=epochs, head_lr=0.05) for epochs in (0, 20))
    for a, b in zip(before.encoder.parameters(), after.encoder.parameters(), strict=True):
        assert torch.equal(a, b)
    losses = [nn.functional.cross_entropy(each(IMAGES), LABELS) for each in (before, after)]
    assert losses[1] < losses[0]


def test_members_stay_as_they_are() -> None:
    members = _members()
    kept = copy.deepcopy(members)
    two_stage_finetune(members, 3, _train, IMAGES, LABELS)
    for ours, theirs in zip(members, kept, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))


def test_one_member_is_ordinary_fine_tuning_with_its_head_refitted() -> None:
    (member,) = _members(1)
    (tuned,) = finetune_members([member], 3, _train)
    by_hand = copy.deepcopy(tuned)
    train_merged_head(by_hand, IMAGES, LABELS)
    torch.testing.assert_close(two_stage_finetune([member], 3, _train, IMAGES, LABELS)(IMAGES), by_hand(IMAGES))


def test_members_that_do_not_say_their_width_are_asked_for_it() -> None:
    joined = two_stage_finetune([nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Linear(16, 5))], 3, _train, IMAGES, LABELS)
    assert joined.encoder.dims == (16, 5)


def test_members_frozen_before_are_fine_tuned_all_the_same() -> None:
    (member,) = _members(1)
    (tuned,) = finetune_members([member.requires_grad_(False)], 3, _train)
    assert not torch.equal(tuned.encoder.body[0].weight, member.body[0].weight)


def test_what_is_wrong_is_one_line() -> None:
    with pytest.raises(InputError, match="needs members"):
        finetune_members([], 3, _train)
    with pytest.raises(InputError, match="give a width for each"):
        finetune_members([nn.Flatten()], 3, _train)
    with pytest.raises(InputError, match="two or more classes"):
        finetune_members(_members(1), 1, _train)
    classifier = Classifier(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(InputError, match="60 inputs and 4 labels"):
        train_merged_head(classifier, IMAGES, LABELS[:4])
    with pytest.raises(InputError, match="above 0"):
        train_merged_head(classifier, IMAGES, LABELS, lr=0)
