r"""The excess risk of a predictor: its expected loss less that of the best predictor under the true model.

- For the squared error and linear predictors it is :math:`(\hat c - c^\star)^\top \Sigma\, (\hat c - c^\star)` in closed form.
- For the 0-1 error with known probabilities of the classes, the mean over inputs of :math:`\max_y p(y \mid x) - p(\hat y(x) \mid x)`, which labels add no noise to.
- For any loss, from samples with labels: the mean of the losses' paired difference, with its standard error.

Source: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024), algorithm 1: the error that its bounds are about.
"""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float, Float64, Int64, Num
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["Estimate", "class_excess_risk", "linear_excess_risk", "sampled_excess_risk", "truncated_squared", "zero_one"]


class Estimate(NamedTuple):
    """A mean and its standard error."""

    mean: float
    error: float


def linear_excess_risk(
    coefficients: Float[Tensor, "*#batch d"], best: Float[Tensor, "*#batch d"], covariance: Float[Tensor, "*#batch d d"]
) -> Float[Tensor, "..."]:
    """The excess squared error of linear predictors (..., d) on inputs of mean 0 with that covariance (..., d, d); leading dimensions are broadcast."""
    off = coefficients - best
    return (off * (covariance @ off[..., None])[..., 0]).sum(dim=-1)


def class_excess_risk(probabilities: Float[Tensor, "rows classes"], predicted: Int64[Tensor, " rows"]) -> float:
    """The excess 0-1 error of predicted classes, given the true probabilities."""
    return float((probabilities.amax(dim=1) - probabilities.gather(1, predicted[:, None])[:, 0]).mean())


def truncated_squared(limit: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss min((y - a)^2, limit), elementwise.

    Raises:
        InputError: a limit that is not positive.
    """
    if limit <= 0:
        raise InputError(f"a squared error is truncated at a positive limit, not {limit}")
    return lambda predicted, target: (target - predicted).square().clamp(max=limit)


def zero_one(predicted: Tensor, target: Tensor) -> Float64[Tensor, " rows"]:
    """The loss that is 1 where the prediction is wrong."""
    return (predicted != target).double()


def sampled_excess_risk(
    loss: Callable[[Tensor, Tensor], Tensor], predicted: Num[Tensor, " rows"], best: Num[Tensor, " rows"], target: Num[Tensor, " rows"]
) -> Estimate:
    """The excess risk from samples.

    Args:
        loss: of predictions and targets, elementwise.
        predicted: what the predictor says, (n,).
        best: what the best predictor under the true model says, (n,).
        target: the labels, (n,).

    Raises:
        InputError: fewer than two samples.
    """
    if len(target) < 2:
        raise InputError(f"a standard error needs two samples or more, not {len(target)}")
    difference = (loss(predicted, target) - loss(best, target)).double()
    return Estimate(float(difference.mean()), float(difference.std() / len(difference) ** 0.5))
