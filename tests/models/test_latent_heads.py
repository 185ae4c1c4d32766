import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import check_estimator

from ordinate.analyze.excess_risk import truncated_squared
from ordinate.ground.errors import InputError
from ordinate.models.latent_heads import RidgeHead, VoteHead


def test_the_ridge_head_passes_scikit_learns_own_checks() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(RidgeHead(), on_skip=None)
        check_estimator(RidgeHead(alpha=0.1, limit=4.0), on_skip=None)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_without_a_limit_it_is_ridge_regression(alpha: float) -> None:
    z, y = np.random.default_rng(0).standard_normal((20, 3)), np.random.default_rng(1).standard_normal(20)
    theirs = Ridge(alpha=20 * alpha, fit_intercept=False).fit(z, y)
    np.testing.assert_allclose(RidgeHead(alpha).fit(z, y).weight_.numpy(), theirs.coef_, atol=1e-8)


def test_fewer_labels_than_latents_give_the_shortest_weights() -> None:
    z = torch.randn(2, 5, dtype=torch.float64)
    y = torch.randn(2, dtype=torch.float64)
    np.testing.assert_allclose(RidgeHead().fit(z, y).weight_.numpy(), (torch.linalg.pinv(z) @ y).numpy(), atol=1e-10)


@given(st.integers(0, 200))
def test_truncation_never_raises_the_truncated_loss(seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    z = torch.randn(30, 2, dtype=torch.float64, generator=chance)
    y = z @ torch.tensor([1.0, -1.0], dtype=torch.float64) + torch.randn(30, dtype=torch.float64, generator=chance) ** 3
    plain, cut = RidgeHead().fit(z, y), RidgeHead(limit=1.0).fit(z, y)
    loss = truncated_squared(1.0)
    risks = [float(loss(z @ head.weight_, y).mean()) for head in (plain, cut)]
    assert risks[1] <= risks[0] + 1e-12


def test_outliers_beyond_the_limit_do_not_move_the_head() -> None:
    z = torch.randn(100, 2, dtype=torch.float64)
    y = z @ torch.tensor([2.0, -1.0], dtype=torch.float64) + 0.01 * torch.randn(100, dtype=torch.float64)
    y[:5] += 100
    head = RidgeHead(limit=25.0).fit(z, y)
    assert head.kept_ == 95
    torch.testing.assert_close(head.weight_, torch.tensor([2.0, -1.0], dtype=torch.float64), atol=0.02, rtol=0)


def test_votes_are_weighed_by_the_posterior() -> None:
    posterior = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.4, 0.6, 0.0]])
    with pytest.warns(UserWarning, match="1 of 3 components have no labelled row"):
        head = VoteHead().fit(posterior, ["a", "b", "b", "b"])
    assert head.classes_[head.table_].tolist() == ["b", "b", "b"] and head.empty_ == 1  # 0.9 against 0.6 + 0.1 + 0.4
    with pytest.warns(UserWarning):
        head = VoteHead().fit(posterior, ["a", "a", "b", "b"])
    assert head.classes_[head.table_].tolist() == ["a", "b", "a"]
    assert head.predict([[0.2, 0.7, 0.1]]).tolist() == ["b"]
    np.testing.assert_allclose(head.predict_proba([[0.2, 0.7, 0.1]]), [[0.3, 0.7]])


def test_a_component_without_labels_can_ask_its_neighbours() -> None:
    posterior = np.array([[1.0, 0.0, 1e-12], [1.0, 0.0, 1e-13], [0.0, 1.0, 1e-6]])
    with pytest.warns(UserWarning, match="the most frequent class of all"):
        majority = VoteHead().fit(posterior, [0, 0, 1])
    with pytest.warns(UserWarning, match="the class of the rows nearest to them"):
        nearest = VoteHead(empty="nearest").fit(posterior, [0, 0, 1])
    assert majority.table_.tolist() == [0, 1, 0] and nearest.table_.tolist() == [0, 1, 1]


def test_what_cannot_be_fitted_is_refused() -> None:
    z = np.ones((3, 2))
    for head in (RidgeHead(alpha=-1.0), RidgeHead(limit=0.0)):
        with pytest.raises(InputError):
            head.fit(z, [1.0, 2, 3])
    with pytest.raises(InputError, match="one class only"):
        VoteHead().fit(z, [1, 1, 1])
    with pytest.raises(InputError, match="0 or more"):
        VoteHead().fit(-z, [1, 1, 2])
    with pytest.raises(InputError, match="unknown rule"):
        VoteHead(empty="coin").fit(z, [1, 1, 2])
    with pytest.raises(ValueError, match="0 sample"):
        RidgeHead().fit(z[:0], [])
