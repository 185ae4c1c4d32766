import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.nn.fixed_representation import FixedRepresentation


@settings(max_examples=25)
@given(d=st.integers(1, 6), D=st.integers(1, 6), layers=st.integers(1, 4), seed=st.integers(0, 5))
def test_representations_have_unit_length_whatever_the_shape(d: int, D: int, layers: int, seed: int) -> None:
    phi = FixedRepresentation(d, D, layers, seed=seed)
    x = torch.randn(3, 5, d, dtype=torch.float64)
    assert phi(x).shape == (3, 5, D)
    torch.testing.assert_close(phi(x).norm(dim=-1), torch.ones(3, 5, dtype=torch.float64), atol=1e-6, rtol=0)


@settings(max_examples=25)
@given(d=st.integers(1, 6), D=st.integers(1, 6))
def test_matrices_have_orthonormal_rows_or_columns(d: int, D: int) -> None:
    first, second = FixedRepresentation(d, D, 2).matrices
    smaller = first @ first.mT if d >= D else first.mT @ first
    torch.testing.assert_close(smaller, torch.eye(min(d, D), dtype=torch.float64))
    torch.testing.assert_close(second @ second.mT, torch.eye(D, dtype=torch.float64))


def test_with_slope_one_and_square_matrices_it_is_a_rotation() -> None:
    phi = FixedRepresentation(4, 4, 2, rho=1.0, normalize=False, square=True)
    x = torch.randn(7, 4, dtype=torch.float64)
    torch.testing.assert_close(phi(x).norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(phi(x) @ phi(x).mT, x @ x.mT)


def test_layers_are_the_formula_and_the_last_is_the_representation_before_scaling() -> None:
    phi = FixedRepresentation(3, 5, 2, rho=0.1)
    x = torch.randn(4, 3)
    first, second = (matrix.float() for matrix in phi.matrices)
    one = torch.maximum(x @ first.mT, 0.1 * x @ first.mT)
    two = torch.maximum(one @ second.mT, 0.1 * one @ second.mT)
    found = phi.layers(x)
    torch.testing.assert_close(found[0], one)
    torch.testing.assert_close(found[1], two)
    torch.testing.assert_close(phi(x), two / two.norm(dim=-1, keepdim=True))


def test_it_is_drawn_by_its_seed_alone_and_has_nothing_to_train() -> None:
    torch.manual_seed(3)
    one, again, other = FixedRepresentation(3, 4, 1), FixedRepresentation(3, 4, 1), FixedRepresentation(3, 4, 1, seed=1)
    assert torch.equal(one.B1, again.B1) and not torch.equal(one.B1, other.B1)
    assert not list(one.parameters()) and set(one.state_dict()) == {"B1"}


def test_the_origin_stays_and_other_activations_are_taken() -> None:
    assert torch.equal(FixedRepresentation(2, 3, 1)(torch.zeros(1, 2)), torch.zeros(1, 3))
    smooth = FixedRepresentation(3, 3, 1, activation="tanh", normalize=False)
    x = torch.randn(2, 3)
    torch.testing.assert_close(smooth(x), torch.tanh(x @ smooth.B1.float().mT))
    assert smooth.rho is None


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="orthonormal rows or columns"):
        FixedRepresentation(3, 4, 1, square=True)
    with pytest.raises(InputError, match="at least 1"):
        FixedRepresentation(3, 4, 0)
    with pytest.raises(InputError, match="width 3, not 4"):
        FixedRepresentation(3, 4, 1)(torch.zeros(2, 4))
    with pytest.raises(InputError, match="unknown activation"):
        FixedRepresentation(3, 4, 1, activation="swoosh")
