import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import check_estimator

from ordinate.data.latent_models import MixtureProblem
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.gaussian_mixture import GaussianMixturePretrainer
from ordinate.models.latent_heads import VoteHead


def problem(separation: float = 5.0) -> MixtureProblem:
    return MixtureProblem.draw(4, 4, 2, generator("mixture"), separation=separation)


@pytest.mark.parametrize("noise", ["unit", "free"])
def test_it_passes_scikit_learns_own_checks(noise: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(GaussianMixturePretrainer(noise=noise), on_skip=None)


@pytest.mark.parametrize("noise", ["unit", "free"])
def test_the_likelihood_never_falls_and_is_the_density(noise: str) -> None:
    x = problem(2.0).inputs(400, generator(0))
    model = GaussianMixturePretrainer(5, noise=noise, tol=1e-12).fit(x)
    curve = np.array(model.likelihood_curve_)
    assert len(curve) > 5 and (np.diff(curve) > -1e-12).all()
    assert model.score(x) == pytest.approx(curve[-1], abs=1e-9)
    assert curve[-1] == max(model.likelihoods_) and len(model.likelihoods_) == 3
    spread = model.noise_variance_**0.5
    each = torch.distributions.Normal(model.centres_, spread).log_prob(x[:, None]).sum(dim=2)
    torch.testing.assert_close(model.log_prob(x), each.logsumexp(dim=1) - np.log(5))


@given(st.integers(1, 5), st.integers(1, 4), st.floats(0.1, 3))
def test_posteriors_sum_to_one(components: int, d: int, scale: float) -> None:
    centres = scale * torch.randn(components, d, dtype=torch.float64, generator=generator(components, d))
    posterior = GaussianMixturePretrainer.of_centres(centres).posterior(100 * torch.randn(6, d, dtype=torch.float64))
    torch.testing.assert_close(posterior.sum(dim=1), torch.ones(6, dtype=torch.float64))
    assert bool((posterior >= 0).all())


def test_it_finds_well_separated_components_and_aligns_to_them() -> None:
    truth = problem(8.0)
    x, _ = truth.sample(2000, generator(1))
    model = GaussianMixturePretrainer(4).fit(x)
    aligned = model.align_to(GaussianMixturePretrainer.of_centres(truth.centres))
    torch.testing.assert_close(aligned.centres_, truth.centres, atol=0.2, rtol=0)
    assert model.converged_ and (aligned.predict(x) == truth.posterior(x).argmax(dim=1).numpy()).mean() > 0.99
    assert model.n_parameters == 16 and GaussianMixturePretrainer(2, noise="free").fit(x).n_parameters == 9


def test_free_noise_ends_where_scikit_learns_tied_variance_would() -> None:
    x = 3 * problem(6.0).inputs(3000, generator(2))
    model = GaussianMixturePretrainer(4, noise="free").fit(x)
    assert model.noise_variance_ == pytest.approx(9.0, rel=0.05)
    theirs = GaussianMixture(4, covariance_type="spherical", means_init=model.centres_.numpy(), random_state=0).fit(x.numpy())
    np.testing.assert_allclose(theirs.means_, model.centres_.numpy(), atol=0.2)
    assert model.score(x) == pytest.approx(theirs.score(x.numpy()), abs=0.02)


def test_the_order_of_the_components_changes_nothing_downstream() -> None:
    truth = problem()
    x, y = truth.sample(60, generator(3))
    model = GaussianMixturePretrainer(4).fit(x)
    shuffled = GaussianMixturePretrainer.of_centres(model.centres_[[2, 0, 3, 1]])
    tests = truth.inputs(50, generator(4))
    assert shuffled.score(x) == pytest.approx(model.score(x), abs=1e-12)
    one, other = (VoteHead().fit(each.posterior(x), y).predict(each.posterior(tests)) for each in (model, shuffled))
    assert (one == other).all()


def test_blocks_of_rows_and_single_precision_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x = problem().inputs(500, generator(5))
    whole = GaussianMixturePretrainer(4).fit(x)
    monkeypatch.setattr("ordinate.models.gaussian_mixture._ROWS", 37)
    torch.testing.assert_close(GaussianMixturePretrainer(4).fit(x).centres_, whole.centres_)
    single = GaussianMixturePretrainer(4).fit(x.float())
    assert single.centres_.dtype == torch.float32 and single.score(x) == pytest.approx(whole.score(x), abs=1e-3)


def test_it_can_begin_at_given_centres() -> None:
    x = problem().inputs(300, generator(6))
    start = problem().centres.numpy()
    model = GaussianMixturePretrainer(4, start=start).fit(x)
    assert len(model.likelihoods_) == 1
    torch.testing.assert_close(model.centres_, problem().centres, atol=0.5, rtol=0)  # in the order in which they were given


def test_as_many_components_as_rows_and_rows_that_repeat_are_taken() -> None:
    x = torch.randn(3, 2, dtype=torch.float64).repeat(2, 1)
    model = GaussianMixturePretrainer(6).fit(x)
    assert bool(model.centres_.isfinite().all())


def test_what_cannot_be_fitted_is_refused() -> None:
    x = problem().inputs(10, generator(0))
    for model, data, words in (
        (GaussianMixturePretrainer(11), x, "11 components cannot be fitted to n_samples=10"),
        (GaussianMixturePretrainer(0), x, "0 components"),
        (GaussianMixturePretrainer(2, n_init=0), x, "n_init"),
        (GaussianMixturePretrainer(2, noise="pink"), x, "unknown noise"),
        (GaussianMixturePretrainer(2, start=x[:3]), x, "begins at finite centres"),
        (GaussianMixturePretrainer(2), x[:0], "0 sample"),
        (GaussianMixturePretrainer(2), x * float("nan"), "NaN"),
    ):
        with pytest.raises(ValueError, match=words):
            model.fit(data)
    with pytest.raises(InputError, match="one shape"):
        GaussianMixturePretrainer(2).fit(x).align_to(GaussianMixturePretrainer(3).fit(x))
