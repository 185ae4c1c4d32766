"""The classifier that is not trained."""

import pytest
import torch
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.nn.class_allocator import ClassAllocator
from ordinate.nn.fixed_simplex_head import FixedSimplexHead
from ordinate.nn.simplex import simplex_prototypes


def test_features_and_logits_have_the_table_s_widths_and_only_the_junction_is_trained() -> None:
    head = FixedSimplexHead(5, 8)
    features, logits = head(torch.randn(3, 5))
    assert features.shape == (3, 7) and logits.shape == (3, 8)
    assert [name for name, _ in head.named_parameters()] == ["junction.weight"]
    torch.testing.assert_close(logits, features @ simplex_prototypes(8).t())
    plain = FixedSimplexHead(7, 8)
    assert not list(plain.parameters()) and torch.equal(plain(features).features, features)


def test_labels_are_written_from_the_end_or_where_the_allocator_says() -> None:
    assert FixedSimplexHead(7, 8).targets(torch.tensor([0, 1, 7])).tolist() == [7, 6, 0]
    places = ClassAllocator(8)
    places.allocate(["a", "b"], "front")
    places.allocate(["c"], "back")
    head = FixedSimplexHead(7, 8, places)
    assert head.targets(torch.tensor([2, 1, 0])).tolist() == [7, 1, 0]
    with pytest.raises(InputError, match="between 0 and 2"):
        head.targets(torch.tensor([3]))
    for label in (-1, 8):
        with pytest.raises(InputError, match="between 0 and 7"):
            FixedSimplexHead(7, 8).targets(torch.tensor([0, label]))


def test_a_turned_head_has_the_angles_of_the_plain_one_and_agrees_with_its_prototypes() -> None:
    head, plain = FixedSimplexHead(7, 8, turned=1), FixedSimplexHead(7, 8)
    torch.testing.assert_close(head.prototypes @ head.prototypes.t(), plain.prototypes @ plain.prototypes.t(), atol=1e-5, rtol=0)
    features = torch.randn(4, 7)
    for each in (head, plain):
        torch.testing.assert_close(each.logits(features), features @ each.prototypes.t(), atol=1e-5, rtol=0)


def test_a_rotation_of_table_and_features_leaves_the_cross_entropy() -> None:
    plain, turned = FixedSimplexHead(7, 8), FixedSimplexHead(7, 8, turned=0)
    turn = torch.linalg.lstsq(simplex_prototypes(8), turned.table).solution
    features, targets = torch.randn(6, 7), torch.randint(0, 8, (6,))
    torch.testing.assert_close(F.cross_entropy(plain.logits(features), targets), F.cross_entropy(turned.logits(features @ turn), targets))


def test_what_does_not_fit_is_one_line() -> None:
    with pytest.raises(InputError, match="7 wide, not 6"):
        FixedSimplexHead(7, 8).logits(torch.randn(2, 6))
    with pytest.raises(InputError, match="table of 9"):
        FixedSimplexHead(7, 8, ClassAllocator(9))
    with pytest.raises(InputError, match="at least one feature"):
        FixedSimplexHead(0, 8)
