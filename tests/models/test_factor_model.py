import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import check_estimator

from ordinate.data.latent_models import FactorProblem
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.factor_model import FactorModel, maximum_likelihood_loadings
from ordinate.models.latent_heads import RidgeHead
from ordinate.nn.gaussian_hellinger import gaussian_hellinger


def problem(d: int = 6, singular: tuple[float, ...] = (3.0, 2.0)) -> FactorProblem:
    return FactorProblem.draw(d, singular, generator("factors"))


def rows(count: int = 300, seed: int = 0) -> torch.Tensor:
    return problem().inputs(count, generator(seed))


@pytest.mark.parametrize("noise", ["unit", "free"])
def test_it_passes_scikit_learns_own_checks(noise: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(FactorModel(noise=noise), on_skip=None)


def expectation_maximisation(x: torch.Tensor, loadings: torch.Tensor, steps: int) -> torch.Tensor:
    """EM for B with unit noise, by its textbook formulas."""
    moments = x.mT @ x / len(x)
    for _ in range(steps):
        inner = torch.linalg.inv(torch.eye(loadings.shape[1], dtype=x.dtype) + loadings.mT @ loadings)
        maps = inner @ loadings.mT
        loadings = moments @ maps.mT @ torch.linalg.inv(inner + maps @ moments @ maps.mT)
    return loadings


def test_no_other_loadings_are_likelier_and_em_ends_at_the_same_likelihood() -> None:
    x = rows()
    model = FactorModel(2).fit(x)
    best = model.score(x)
    for radius in (1e-3, 1e-1, 1.0):
        for _ in range(35):
            other = FactorModel.of_loadings(model.loadings_ + radius * torch.randn(6, 2, dtype=torch.float64))
            assert other.score(x) <= best + 1e-12
    start = torch.randn(6, 2, dtype=torch.float64)
    assert FactorModel.of_loadings(expectation_maximisation(x, start, 300)).score(x) == pytest.approx(best, abs=1e-6)


def test_free_noise_is_scikit_learns_probabilistic_pca() -> None:
    x = rows()
    ours = FactorModel(2, noise="free", centre=True).fit(x)
    theirs = PCA(2).fit(x.numpy())
    share = len(x) / (len(x) - 1)  # theirs divides by n - 1
    assert ours.noise_variance_ * share == pytest.approx(theirs.noise_variance_, rel=1e-10)
    covariance = ours.loadings_ @ ours.loadings_.mT + ours.noise_variance_ * torch.eye(6, dtype=torch.float64)
    np.testing.assert_allclose(covariance.numpy() * share, theirs.get_covariance(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("variance", [1.0, 0.3])
def test_both_forms_of_the_posterior_mean_and_the_density_agree(variance: float) -> None:
    loadings, x = torch.randn(5, 2, dtype=torch.float64), torch.randn(20, 5, dtype=torch.float64)
    model = FactorModel.of_loadings(loadings, variance)
    covariance = loadings @ loadings.mT + variance * torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(model.posterior(x), x @ torch.linalg.solve(covariance, loadings), atol=1e-10, rtol=0)
    expected = torch.distributions.MultivariateNormal(torch.zeros(5, dtype=torch.float64), covariance).log_prob(x)
    torch.testing.assert_close(model.log_prob(x), expected, atol=1e-10, rtol=0)
    spread = torch.eye(2, dtype=torch.float64) - loadings.mT @ torch.linalg.solve(covariance, loadings)
    torch.testing.assert_close(model.posterior_covariance(), spread)


def test_a_rotation_of_the_factors_changes_nothing_downstream() -> None:
    x, y = problem().sample(50, generator(3))
    model = FactorModel(2).fit(rows())
    turn = torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64)).Q
    turned = FactorModel.of_loadings(model.loadings_ @ turn)
    ones = [RidgeHead().fit(each.posterior(x), y).predict(each.posterior(rows(20, 9))) for each in (model, turned)]
    np.testing.assert_allclose(ones[0], ones[1], atol=1e-8)
    assert turned.score(x) == pytest.approx(model.score(x), abs=1e-10)
    torch.testing.assert_close(turned.align_to(model).loadings_, model.loadings_)


def test_with_as_many_factors_as_coordinates_a_head_is_least_squares_on_all_of_them() -> None:
    x, y = problem().sample(50, generator(3))
    model = FactorModel.of_loadings(torch.randn(6, 6, dtype=torch.float64))
    predicted = RidgeHead().fit(model.posterior(x), y).predict(model.posterior(x))
    np.testing.assert_allclose(predicted, RidgeHead().fit(x, y).predict(x), atol=1e-8)


@pytest.mark.parametrize("options", [{}, {"noise": "free"}, {"noise": "free", "centre": True}], ids=str)
def test_rows_in_pieces_give_the_same_model_as_at_once(options: dict) -> None:
    x = rows() + 0.5
    whole, pieces = FactorModel(2, **options).fit(x), FactorModel(2, **options)
    for part in x.split(70):
        pieces.partial_fit(part)
    assert pieces.rows_ == len(x)
    assert pieces.score(x) == pytest.approx(whole.score(x), abs=1e-9)
    torch.testing.assert_close(pieces.align_to(whole).loadings_, whole.loadings_, atol=1e-7, rtol=0)
    pieces.fit(x[:50]).partial_fit(x)
    assert pieces.rows_ == len(x)  # fit starts afresh


@pytest.mark.parametrize("noise", ["unit", "free"])
def test_fewer_rows_than_coordinates_give_the_model_of_the_big_matrix(noise: str) -> None:
    x = FactorProblem.draw(40, (6.0, 5.0), generator(0)).inputs(15, generator(1))
    few = FactorModel(2, noise=noise).fit(x)
    big = FactorModel(2, noise=noise).partial_fit(x)
    torch.testing.assert_close(few.align_to(big).loadings_, big.loadings_, atol=1e-8, rtol=0)
    assert few.noise_variance_ == pytest.approx(big.noise_variance_)


def test_it_finds_the_factors_with_enough_rows() -> None:
    model = FactorModel(2).fit(rows(20_000))
    truth = problem().covariance
    found = model.loadings_ @ model.loadings_.mT + torch.eye(6, dtype=torch.float64)
    assert float(gaussian_hellinger(found, truth)) < 0.03
    assert model.n_parameters == 6 * 2 - 1 and FactorModel(2, noise="free", centre=True).fit(rows()).n_parameters == 11 + 1 + 6


def test_many_second_moments_at_once_are_as_one_by_one() -> None:
    moments = torch.stack([rows(100, seed).mT @ rows(100, seed) / 100 for seed in range(3)])
    for together, alone in zip(maximum_likelihood_loadings(moments, 2), moments, strict=True):
        single = maximum_likelihood_loadings(alone, 2)
        torch.testing.assert_close(together @ together.mT, single @ single.mT)
    torch.testing.assert_close(
        maximum_likelihood_loadings(torch.eye(3, dtype=torch.float64) * 0.5, 1), torch.zeros(3, 1, dtype=torch.float64)
    )


def test_a_factor_below_the_noise_is_dropped_with_a_warning() -> None:
    x = torch.randn(5000, 6, dtype=torch.float64) * 0.5
    x[:, 0] *= 6
    with pytest.warns(UserWarning, match="2 of 3 factors are below the noise and dropped: ask for 1"):
        model = FactorModel(3).fit(x)
    assert model.loadings_.shape == (6, 1) and model.transform(x).shape == (5000, 1)


def test_what_cannot_be_fitted_is_refused() -> None:
    x = rows()
    for model, data, words in (
        (FactorModel(6), x, "fewer factors than coordinates"),
        (FactorModel(0), x, "fewer factors than coordinates"),
        (FactorModel(2, noise="pink"), x, "unknown noise"),
        (FactorModel(2), x[:0], "0 sample"),
        (FactorModel(2), torch.full((4, 6), float("nan")), "NaN"),
        (FactorModel(2), torch.full((4, 6), float("inf")), "infinity"),
    ):
        with pytest.raises(ValueError, match=words):
            model.fit(data)
        with pytest.raises(ValueError, match=words):
            clone(model).partial_fit(data)
    with pytest.raises(InputError, match="one shape"):
        FactorModel(2).fit(x).align_to(FactorModel(1).fit(x))
    with pytest.raises(InputError, match="positive"):
        FactorModel.of_loadings(torch.zeros(3, 1), 0.0)
