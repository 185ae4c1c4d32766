import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso
from torch import Tensor

from ordinate.analyze import lasso as module
from ordinate.analyze.lasso import lasso, lasso_residual
from ordinate.ground.errors import InputError


def problem(K: int, T: int, M: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    W, targets = (torch.randn(K, columns, dtype=torch.float64, generator=chance) for columns in (T, M))
    return W, targets, (W.mT @ targets).abs().amax(dim=0)


@given(st.integers(1, 6), st.integers(0, 20), st.integers(1, 5), st.sampled_from([0.9, 0.3, 0.05, 1e-3, 1e-6]), st.integers(0, 999))
@settings(max_examples=60)
def test_the_conditions_of_an_optimum_are_met(K: int, more: int, M: int, share: float, seed: int) -> None:
    W, targets, largest = problem(K, K + more, M, seed)
    nu = lasso(W, targets, share * largest)
    assert bool((lasso_residual(W, targets, nu, share * largest) <= 1e-7 * largest).all())
    assert bool(((nu != 0).sum(dim=0) <= K).all())


@pytest.mark.parametrize("blocks", [4, 0], ids=["proximal", "interior"])
def test_it_is_scikit_learns(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCKS", blocks)
    W, targets, largest = problem(5, 20, 3, 1)
    nu = lasso(W, targets, 0.2 * largest)
    for column in range(3):
        model = Lasso(alpha=0.2 * float(largest[column]) / 5, fit_intercept=False, tol=1e-12, max_iter=100_000)
        torch.testing.assert_close(
            nu[:, column], torch.from_numpy(model.fit(W.numpy(), targets[:, column].numpy()).coef_), atol=1e-6, rtol=1e-6
        )


def test_weights_are_penalties_of_their_own() -> None:
    W, targets, _ = problem(4, 9, 2, 2)
    weights = torch.linspace(0.5, 2, 9).double()
    nu = lasso(W, targets, 0.3, weights=weights)
    slope = W.mT @ (targets - W @ nu)
    used = nu != 0
    assert bool(used.any())
    torch.testing.assert_close(slope[used], (0.3 * weights[:, None] * nu.sign())[used])
    assert bool((slope.abs() <= 0.3 * weights[:, None] + 1e-9).all())


def test_repeated_heads_share_a_weight() -> None:
    W, targets, largest = problem(4, 6, 3, 3)
    nu, twice = lasso(W, targets, 0.1 * largest), lasso(torch.cat([W, W], dim=1), targets, 0.1 * largest)
    torch.testing.assert_close(twice[:6] + twice[6:], nu, atol=1e-6, rtol=1e-6)


def test_a_large_penalty_leaves_nothing_and_a_target_of_zero_is_zero() -> None:
    W, targets, largest = problem(3, 5, 2, 4)
    assert not lasso(W, targets, largest * 1.01).any()
    assert not lasso(W, torch.zeros(3, 2), 0.1).any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"penalty": 0.0}, "positive"),
        ({"penalty": -1.0}, "positive"),
        ({"weights": torch.zeros(5)}, "positive"),
        ({"weights": torch.ones(4)}, "one a task"),
        ({"targets": torch.zeros(4, 2)}, "as many features"),
        ({"W": torch.full((3, 5), torch.nan)}, "must be finite"),
    ],
)
def test_bad_input_is_refused(change: dict, words: str) -> None:
    W, targets, _ = problem(3, 5, 2, 4)
    with pytest.raises(InputError, match=words):
        lasso(**{"W": W, "targets": targets, "penalty": 0.1, **change})
