import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ordinate.adapt.concat import Concat, check_distinct, concat_classifier, logit_ensemble, merge_heads
from ordinate.ground.errors import InputError
from ordinate.models.mlp import MLP


def _member(width: int = 3) -> MLP:
    return MLP(num_classes=2, image_size=4, hidden=[5], num_features=width)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 3))
def test_features_stand_side_by_side_in_the_order_of_the_members(widths: list[int], batch: int) -> None:
    members, x = [_member(width) for width in widths], torch.randn(batch, 1, 4, 4)
    concat = Concat(members)
    z = concat(x)
    assert concat.dims == tuple(widths) and concat.num_features == z.shape[1] == sum(widths)
    for member, where in zip(members, concat.slices, strict=True):
        assert torch.equal(z[:, where], member.embed(x))


def test_one_member_is_itself() -> None:
    member, x = _member(), torch.randn(2, 1, 4, 4)
    assert torch.equal(Concat([member])(x), member.embed(x))


def test_frozen_members_stay_in_evaluation_mode_and_get_no_gradient() -> None:
    concat = Concat([nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))]).train()
    before = copy.deepcopy(concat.state_dict())
    concat(torch.randn(8, 3))
    assert concat.training and not concat.members[0].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in concat.state_dict().items())
    assert not any(parameter.requires_grad for parameter in concat.parameters())
    free = Concat([nn.BatchNorm1d(2)], freeze=False).train()
    assert free.members[0].training and all(parameter.requires_grad for parameter in free.parameters())


def test_members_of_other_kinds_say_their_width_once_called() -> None:
    concat = Concat([nn.Linear(3, 2), nn.Linear(3, 4)])
    with pytest.raises(InputError, match="call the concatenation once"):
        _ = concat.dims
    concat(torch.randn(2, 3))
    assert concat.dims == (2, 4) and concat.slices[1] == slice(2, 6)


def test_the_same_network_twice_is_refused_unless_it_is_meant() -> None:
    member = _member()
    with pytest.raises(InputError, match="members 0 and 2 have the same weights"):
        Concat([member, _member(), copy.deepcopy(member)])
    assert Concat([member, member], copies=True)(torch.randn(1, 1, 4, 4)).shape == (1, 6)
    check_distinct([_member(3), _member(4), nn.ReLU(), nn.ReLU()])


def test_an_empty_concatenation_and_maps_for_features_are_refused() -> None:
    with pytest.raises(InputError, match="at least one member"):
        Concat([])
    with pytest.raises(InputError, match="one vector an input"):
        Concat([nn.Conv2d(1, 2, 3)])(torch.randn(2, 1, 4, 4))


def test_members_that_give_other_numbers_of_vectors_are_refused() -> None:
    with pytest.raises(InputError, match="one vector an input"):
        Concat([nn.Linear(3, 2), nn.Unflatten(0, (1, 4)), nn.Flatten(0, 1)])(torch.randn(4, 3))
    with pytest.raises(InputError, match="one vector an input"):
        Concat([nn.Flatten(0, 1)])(torch.randn(4, 3, 2))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 4), st.booleans())
def test_a_merged_head_gives_the_mean_of_the_logits(widths: list[int], classes: int, bias: bool) -> None:
    heads = [nn.Linear(width, classes, bias=bias) for width in widths]
    parts = [torch.randn(3, width) for width in widths]
    merged = merge_heads(heads)
    mean = logit_ensemble([head(part) for head, part in zip(heads, parts, strict=True)])
    torch.testing.assert_close(merged(torch.cat(parts, dim=1)), mean, atol=1e-6, rtol=1e-5)
    assert (merged.bias is not None) == bias


def test_heads_that_do_not_fit_are_refused() -> None:
    for heads, match in (
        ([], "no heads"),
        ([nn.Linear(2, 3), nn.Linear(2, 4)], "3, 4"),
        ([nn.Linear(2, 3), nn.Linear(2, 3, bias=False)], "1 of 2 heads have a bias"),
    ):
        with pytest.raises(InputError, match=match):
            merge_heads(heads)
    with pytest.raises(InputError, match="one shape"):
        logit_ensemble([torch.zeros(2, 3), torch.zeros(2, 4)])
    with pytest.raises(InputError, match="one shape"):
        logit_ensemble([])


def test_a_classifier_begins_as_the_ensemble_of_its_members() -> None:
    members, x = [_member(3), _member(4)], torch.randn(5, 1, 4, 4)
    classifier = concat_classifier(members, [member.head for member in members])
    torch.testing.assert_close(classifier(x), logit_ensemble([member(x) for member in members]), atol=1e-6, rtol=1e-5)
    with pytest.raises(InputError, match="2 members and 1 heads"):
        concat_classifier(members, [members[0].head])


def test_training_it_end_to_end_is_warned_of() -> None:
    members = [_member(), _member()]
    with pytest.warns(UserWarning, match="two_stage"):
        concat_classifier(members, [member.head for member in members], freeze=False)
