import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.analyze.excess_risk import class_excess_risk, linear_excess_risk, sampled_excess_risk, truncated_squared, zero_one
from ordinate.data.latent_models import FactorProblem, MixtureProblem
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator


def test_the_closed_form_is_what_a_million_samples_say() -> None:
    problem = FactorProblem.draw(4, (2.0,), generator(0))
    x, y = problem.sample(1_000_000, generator(1))
    off = problem.best + 0.3
    exact = float(linear_excess_risk(off, problem.best, problem.covariance))
    sampled = sampled_excess_risk(lambda a, y: (y - a).square(), x @ off, x @ problem.best, y)
    assert sampled.mean == pytest.approx(exact, rel=0.01)
    assert abs(sampled.mean - exact) < 4 * sampled.error


@given(st.integers(0, 50))
def test_no_predictor_is_better_than_the_best(seed: int) -> None:
    chance = generator("excess", seed)
    problem = FactorProblem.draw(3, (1.0,), chance)
    other = problem.best + 0.1 * torch.randn(3, dtype=torch.float64, generator=chance)
    assert float(linear_excess_risk(other, problem.best, problem.covariance)) >= 0
    x, y = problem.sample(500, chance)
    found = sampled_excess_risk(lambda a, y: (y - a).square(), x @ other, x @ problem.best, y)
    assert found.mean >= -4 * found.error


def test_classes_with_known_probabilities_agree_with_samples() -> None:
    problem = MixtureProblem.draw(3, 3, 3, generator(0), separation=2.0)
    x, y = problem.sample(100_000, generator(1))
    truth = problem.probabilities(x)
    guess = torch.zeros(len(x), dtype=torch.long)
    sampled = sampled_excess_risk(zero_one, guess, truth.argmax(dim=1), y)
    assert class_excess_risk(truth, guess) == pytest.approx(sampled.mean, abs=4 * sampled.error)
    assert class_excess_risk(truth, truth.argmax(dim=1)) == 0.0


def test_many_predictors_at_once() -> None:
    best, covariance = torch.zeros(2, dtype=torch.float64), torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64))
    found = linear_excess_risk(torch.eye(2, dtype=torch.float64), best, covariance)
    assert found.tolist() == [1.0, 4.0]


def test_the_truncated_loss_and_what_is_refused() -> None:
    assert truncated_squared(4.0)(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 9.0])).tolist() == [1.0, 4.0]
    with pytest.raises(InputError):
        truncated_squared(0.0)
    one = torch.zeros(1)
    with pytest.raises(InputError):
        sampled_excess_risk(zero_one, one, one, one)
