"""Prototypes on a regular simplex: their angles, the logits without a table, and tables that were turned."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.nn.simplex import prefix_prototypes, simplex_logits, simplex_prototypes, turned_prototypes


@pytest.mark.parametrize("classes", [2, 3, 10, 64, 1024])
def test_prototypes_have_unit_length_equal_angles_and_no_sum(classes: int) -> None:
    table = simplex_prototypes(classes)
    assert table.shape == (classes, classes - 1) and table.dtype == torch.float32
    gram = (1 + 1 / (classes - 1)) * torch.eye(classes) - 1 / (classes - 1)
    torch.testing.assert_close(table @ table.t(), gram, atol=1e-6, rtol=0)
    assert float(table.sum(dim=0).abs().max()) < 1e-5


def test_it_is_the_construction_of_the_paper() -> None:
    classes = 16
    c = (1 - math.sqrt(classes)) / (classes - 1)
    table = torch.cat([torch.eye(classes - 1, dtype=torch.float64), torch.full((1, classes - 1), c, dtype=torch.float64)])
    table = table - table.mean(dim=0)
    torch.testing.assert_close(simplex_prototypes(classes, torch.float64), table / table.norm(dim=1, keepdim=True), atol=1e-14, rtol=0)


def test_two_classes_are_plus_and_minus_one_and_three_a_triangle() -> None:
    torch.testing.assert_close(simplex_prototypes(2), torch.tensor([[1.0], [-1.0]]))
    sides = torch.cdist(simplex_prototypes(3), simplex_prototypes(3))
    torch.testing.assert_close(sides[~torch.eye(3, dtype=torch.bool)], torch.full((6,), math.sqrt(3)))


@given(st.integers(2, 40), st.integers(0, 5), st.integers(0, 1000))
def test_logits_without_a_table_are_the_product_with_it(classes: int, batch: int, seed: int) -> None:
    features = torch.randn(batch, classes - 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    dense = features @ simplex_prototypes(classes, torch.float64).t()
    torch.testing.assert_close(simplex_logits(features), dense, atol=1e-12, rtol=0)


def test_logits_without_a_table_have_the_gradient_of_the_product() -> None:
    features = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(simplex_logits, features)
    targets = torch.tensor([0, 3, 6, 2])
    (ours,) = torch.autograd.grad(F.cross_entropy(simplex_logits(features), targets), features)
    (dense,) = torch.autograd.grad(F.cross_entropy(features @ simplex_prototypes(7, torch.float64).t(), targets), features)
    torch.testing.assert_close(ours, dense)


def test_turning_table_and_features_changes_no_logit() -> None:
    table, turned = simplex_prototypes(12, torch.float64), turned_prototypes(12, seed=3)
    torch.testing.assert_close(turned @ turned.t(), table @ table.t())
    turn = torch.linalg.lstsq(table, turned).solution  # the orthogonal map that took one to the other
    torch.testing.assert_close(turn @ turn.t(), torch.eye(11, dtype=torch.float64), atol=1e-10, rtol=0)
    features = torch.randn(5, 11, dtype=torch.float64)
    torch.testing.assert_close((features @ turn) @ turned.t(), simplex_logits(features))
    assert torch.equal(turned, turned_prototypes(12, seed=3)) and not torch.equal(turned, turned_prototypes(12, seed=4))


def test_prefixes_of_a_turned_table_tell_all_classes_apart_and_of_a_plain_one_do_not() -> None:
    short = prefix_prototypes(turned_prototypes(64), 8)
    torch.testing.assert_close(short.norm(dim=1), torch.ones(64, dtype=torch.float64))
    nearest = (short @ short.t() - 2 * torch.eye(64)).max(dim=1).values
    assert float(nearest.max()) < 0.99
    plain = prefix_prototypes(simplex_prototypes(64), 8)
    assert float((plain @ plain.t() - 2 * torch.eye(64)).max()) > 0.9999  # classes beyond the eighth all lie in one direction


@pytest.mark.parametrize("make", [simplex_prototypes, turned_prototypes])
def test_one_class_has_no_simplex(make: object) -> None:
    with pytest.raises(InputError, match="at least two classes"):
        make(1)  # type: ignore[operator]


def test_a_prefix_that_is_none_is_one_line() -> None:
    with pytest.raises(InputError, match="no prefix of 9"):
        prefix_prototypes(simplex_prototypes(9), 9)
    with pytest.raises(InputError, match="no direction"):
        prefix_prototypes(torch.eye(3), 1)
