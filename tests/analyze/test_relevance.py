import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor

from ordinate.analyze.relevance import outside, relevance, relevance_lasso
from ordinate.ground.errors import InputError


def heads(K: int, T: int, seed: int) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(K, T, dtype=torch.float64, generator=chance), torch.randn(K, dtype=torch.float64, generator=chance)


def by_interior_points(W: Tensor, w: Tensor, weights: Tensor) -> float:
    """The smallest weighted 1-norm by another method, with |nu| <= b as the constraint that holds it."""
    K, T = W.shape
    eye = np.eye(T)
    found = linprog(
        np.concatenate([np.zeros(T), weights.numpy()]),
        A_ub=np.block([[eye, -eye], [-eye, -eye]]),
        b_ub=np.zeros(2 * T),
        A_eq=np.concatenate([W.numpy(), np.zeros((K, T))], axis=1),
        b_eq=w.numpy(),
        bounds=[(None, None)] * T + [(0, None)] * T,
        method="highs-ipm",
    )
    return float(found.fun)


@given(st.integers(1, 5), st.integers(0, 25), st.integers(0, 999), st.booleans())
@settings(max_examples=50)
def test_the_linear_program_is_solved_at_a_vertex(K: int, more: int, seed: int, priced: bool) -> None:
    W, w = heads(K, K + more, seed)
    costs = torch.rand(K + more, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.1 if priced else None
    nu = relevance(W, w, costs=costs)
    assert float((W @ nu - w).abs().max()) < 1e-8
    assert int((nu != 0).sum()) <= K
    weights = torch.ones(K + more, dtype=torch.float64) if costs is None else costs.sqrt()
    assert float((weights * nu.abs()).sum()) == pytest.approx(by_interior_points(W, w, weights), abs=1e-6, rel=1e-7)


@given(st.integers(1, 5), st.integers(0, 25), st.integers(0, 999))
@settings(max_examples=50)
def test_each_norm_is_smallest_by_its_own_measure(K: int, more: int, seed: int) -> None:
    W, w = heads(K, K + more, seed)
    one, two = relevance(W, w), relevance(W, w, 2)
    torch.testing.assert_close(two, torch.linalg.pinv(W) @ w, atol=1e-8, rtol=1e-8)
    assert float(one.abs().sum()) <= float(two.abs().sum()) + 1e-9 and float(two.norm()) <= float(one.norm()) + 1e-9
    if more == 0:
        torch.testing.assert_close(one, two, atol=1e-7, rtol=1e-7)


@given(st.integers(2, 5), st.integers(1, 20), st.integers(0, 999))
@settings(max_examples=40)
def test_a_change_of_basis_changes_nothing(K: int, more: int, seed: int) -> None:
    W, w = heads(K, K + more, seed)
    A = torch.randn(K, K, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 2 * torch.eye(K, dtype=torch.float64)
    for norm in (1, 2):
        torch.testing.assert_close(relevance(A @ W, A @ w, norm), relevance(W, w, norm), atol=1e-6, rtol=1e-6)


def test_repeated_heads_share_their_weight() -> None:
    W, w = heads(3, 7, 1)
    nu, twice = relevance(W, w), relevance(torch.cat([W, W], dim=1), w)
    torch.testing.assert_close(twice[:7] + twice[7:], nu, atol=1e-8, rtol=1e-8)


def test_the_lasso_goes_to_the_linear_program() -> None:
    W, w = heads(4, 15, 2)
    nu = relevance(W, w)
    distances = [float((relevance_lasso(W, w, penalty) - nu).abs().max()) for penalty in (1e-1, 1e-3, 1e-6)]
    assert distances[0] > distances[1] > distances[2] and distances[2] < 1e-4
    many = relevance_lasso(W, torch.stack([w, -w], dim=1), 0.1)
    torch.testing.assert_close(many[:, 0], -many[:, 1])


def test_prices_move_the_relevance_to_what_is_cheap() -> None:
    W, w = torch.eye(2, 3, dtype=torch.float64), torch.tensor([1.0, 1.0], dtype=torch.float64)
    W[:, 2] = 0.4
    assert relevance(W, w).tolist() == pytest.approx([1, 1, 0], abs=1e-9)
    assert relevance(W, w, costs=torch.tensor([4.0, 4.0, 1.0])).tolist() == pytest.approx([0, 0, 2.5], abs=1e-9)
    assert relevance_lasso(W, w, 1e-6, costs=torch.tensor([4.0, 4.0, 1.0]))[2] == pytest.approx(2.5, abs=1e-4)


def test_a_target_outside_is_refused_and_projected_on_request() -> None:
    W, w = torch.zeros(3, 5, dtype=torch.float64), torch.tensor([3.0, 0.0, 4.0], dtype=torch.float64)
    W[:2] = torch.randn(2, 5).double()
    assert outside(W, w) == pytest.approx(0.8)
    with pytest.raises(InputError, match=r"80.00% of its length lies outside; ask for project=True"):
        relevance(W, w)
    for norm in (1, 2):
        torch.testing.assert_close(
            W @ relevance(W, w, norm, project=True), torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64), atol=1e-9, rtol=0
        )
    assert outside(W, torch.zeros(3)) == 0.0 and not relevance(W, torch.zeros(3)).any()


@pytest.mark.parametrize(
    ("W", "w", "options", "words"),
    [
        (torch.zeros(3, 2), torch.zeros(3), {}, "2 tasks cannot share a representation of 3 features"),
        (torch.full((2, 3), torch.nan), torch.zeros(2), {}, "NaN"),
        (torch.ones(2, 3), torch.full((2,), torch.inf), {}, "must be finite"),
        (torch.ones(2, 3), torch.zeros(3), {}, r"heads are \(K, T\)"),
        (torch.zeros(2, 3), torch.ones(2), {"project": True}, "all zero"),
        (torch.eye(2, 3), torch.ones(2), {"norm": 3}, "the norm is 1, or 2 without costs"),
        (torch.eye(2, 3), torch.ones(2), {"norm": 2, "costs": torch.ones(3)}, "the norm is 1, or 2 without costs"),
        (torch.eye(2, 3), torch.ones(2), {"costs": torch.tensor([1.0, -1.0, 1.0])}, "3 positive numbers"),
        (torch.eye(2, 3), torch.ones(2), {"costs": torch.ones(2)}, "3 positive numbers"),
    ],
)
def test_bad_input_is_refused(W: Tensor, w: Tensor, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        relevance(W, w, **options)
