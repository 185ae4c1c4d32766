import math

import pytest
import torch
from torch.distributions import Normal

from ordinate.analyze.calibration import classification_nll, coverage, expected_calibration_error, gaussian_nll
from ordinate.ground.errors import InputError


def test_a_classifier_that_is_right_as_often_as_it_says_is_calibrated() -> None:
    confidence = torch.full((1000,), 0.8)
    probabilities = torch.stack((confidence, 1 - confidence), dim=1)
    labels = (torch.arange(1000) % 5 == 0).long()  # class 0 in four rows of five
    assert expected_calibration_error(probabilities, labels) < 1e-6
    assert expected_calibration_error(probabilities, 1 - labels) == pytest.approx(0.6)


def test_the_error_is_weighed_over_the_bins() -> None:
    probabilities = torch.tensor([[1.0, 0.0]] * 3 + [[0.4, 0.6]])
    labels = torch.tensor([0, 0, 1, 1])
    assert expected_calibration_error(probabilities, labels, bins=10) == pytest.approx((3 * abs(2 / 3 - 1) + 0.4) / 4)


def test_negative_log_likelihoods_are_those_of_the_distributions() -> None:
    probabilities = torch.tensor([[0.7, 0.3], [0.1, 0.9]])
    assert classification_nll(probabilities, torch.tensor([0, 0])) == pytest.approx(-(math.log(0.7) + math.log(0.1)) / 2)
    assert math.isfinite(classification_nll(torch.tensor([[1.0, 0.0]]), torch.tensor([1])))
    mean, deviation, targets = torch.randn(5), torch.rand(5) + 0.1, torch.randn(5)
    assert gaussian_nll(mean, deviation, targets) == pytest.approx(-float(Normal(mean, deviation).log_prob(targets).mean()), rel=1e-5)


def test_coverage_counts_what_lies_inside_the_central_interval() -> None:
    targets = torch.linspace(-4, 4, 8001)
    zero, one = torch.zeros_like(targets), torch.ones_like(targets)
    assert coverage(zero, one, targets, chance=0.9) == pytest.approx(2 * 1.6449 / 8, abs=1e-3)
    draws = torch.randn(100_000)
    assert coverage(torch.zeros_like(draws), torch.ones_like(draws), draws, chance=0.5) == pytest.approx(0.5, abs=0.01)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="rows and bins"):
        expected_calibration_error(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(InputError, match="positive standard deviations"):
        gaussian_nll(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    with pytest.raises(InputError, match="inside"):
        coverage(torch.zeros(1), torch.ones(1), torch.zeros(1), chance=1.0)
