import math

import pytest
import torch
from torch.distributions import Normal

from ordinate.ground.errors import InputError
from ordinate.nn.likelihoods import CategoricalLikelihood, GaussianLikelihood


def test_the_gaussian_expectation_is_that_of_draws_and_the_prediction_that_of_the_marginal() -> None:
    mean, variance, targets = torch.randn(4, 2).double(), torch.rand(4).double(), torch.randn(4, 2).double()
    likelihood = GaussianLikelihood(noise=0.3, learned=False)
    draws = mean + variance.sqrt()[:, None] * torch.randn(200_000, 4, 2, dtype=torch.float64)
    sampled = Normal(draws, math.sqrt(0.3)).log_prob(targets).sum(-1)
    torch.testing.assert_close(likelihood.expected_log_prob(mean, variance, targets), sampled.mean(0), atol=5e-2, rtol=0)
    marginal = Normal(mean, (variance + 0.3).sqrt()[:, None]).log_prob(targets).sum(-1)
    torch.testing.assert_close(likelihood.predictive_log_prob(mean, variance, targets), marginal)


def test_the_categorical_expectation_and_prediction_are_those_of_draws() -> None:
    mean, variance, targets = torch.randn(4, 3).double(), torch.rand(4).double(), torch.tensor([0, 1, 2, 0])
    draws = mean + variance.sqrt()[:, None] * torch.randn(100_000, 4, 3, dtype=torch.float64)
    likelihood = CategoricalLikelihood(samples=20_000)
    sampled = draws.log_softmax(-1)[:, torch.arange(4), targets].mean(0)
    torch.testing.assert_close(likelihood.expected_log_prob(mean, variance, targets), sampled, atol=2e-2, rtol=0)
    probabilities = likelihood.predictive_probabilities(mean, variance)
    torch.testing.assert_close(probabilities, draws.softmax(-1).mean(0), atol=5e-2, rtol=0)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(4).double())
    torch.testing.assert_close(likelihood.predictive_log_prob(mean, variance, targets), probabilities[torch.arange(4), targets].log())


def test_a_rows_prediction_does_not_depend_on_its_company() -> None:
    mean, variance = torch.randn(4, 3).double(), torch.rand(4).double()
    likelihood = CategoricalLikelihood()
    together = likelihood.predictive_probabilities(mean, variance)
    torch.testing.assert_close(likelihood.predictive_probabilities(mean[1:2], variance[1:2]), together[1:2])


def test_bad_targets_and_numbers_are_refused() -> None:
    mean, variance = torch.zeros(2, 3), torch.ones(2)
    for targets, message in (
        (torch.tensor([0, 3]), r"lie in 0 \.\. 2, not in 0 \.\. 3"),
        (torch.tensor([-1, 0]), r"lie in 0 \.\. 2"),
        (torch.tensor([0.0, 1.0]), "int64"),
        (torch.tensor([0]), "shape"),
    ):
        with pytest.raises(InputError, match=message):
            CategoricalLikelihood().expected_log_prob(mean, variance, targets)
    with pytest.raises(InputError, match="real numbers"):
        GaussianLikelihood().expected_log_prob(mean, variance, torch.zeros(2))
    with pytest.raises(InputError, match="must be positive"):
        GaussianLikelihood(noise=0.0)
    with pytest.raises(InputError, match="at least 1"):
        CategoricalLikelihood(samples=0)
