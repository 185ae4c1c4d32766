r"""Whether stated uncertainty is the error that is met.

- Expected calibration error: predictions are put into bins by their confidence, the largest probability, and :math:`\sum_b \frac{n_b}{n} |\mathrm{accuracy}_b - \mathrm{confidence}_b|` is 0 where confidence is
  the chance of being right (Guo et al., On calibration of modern neural networks, 2017).
- Coverage: how often a target lies in the central interval of a Gaussian prediction that should hold it with a given chance.
- Both kinds of prediction have a mean negative log-likelihood in nats.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["classification_nll", "coverage", "expected_calibration_error", "gaussian_nll"]

LEAST = 1e-15  # a probability below this counts as this much


def expected_calibration_error(probabilities: Float[Tensor, "rows classes"], labels: Int64[Tensor, "rows"], *, bins: int = 15) -> float:
    """The error, in [0, 1].

    Args:
        probabilities: (N, C), each row summing to 1.
        labels: (N,).
        bins: of equal width.

    Raises:
        InputError: no rows, or no bins.
    """
    if bins < 1 or not len(labels):
        raise InputError(f"calibration needs rows and bins, not {len(labels)} and {bins}")
    confidence, predicted = probabilities.double().max(dim=1)
    right = (predicted == labels).double()
    number = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, number, right - confidence)
    return float(gaps.abs().sum() / len(labels))


def classification_nll(probabilities: Float[Tensor, "rows classes"], labels: Int64[Tensor, "rows"]) -> float:
    """The mean of -log p(label), in nats; (N, C) and (N,)."""
    chosen = probabilities.double().gather(1, labels[:, None]).squeeze(1)
    return float(-chosen.clamp(min=LEAST).log().mean())


def gaussian_nll(mean: Float[Tensor, "rows"], deviation: Float[Tensor, "rows"], targets: Float[Tensor, "rows"]) -> float:
    """The mean of -log N(target; mean, deviation^2), in nats.

    Raises:
        InputError: a deviation that is not positive.
    """
    if not bool((deviation > 0).all()):
        raise InputError("a Gaussian prediction needs positive standard deviations")
    scaled = ((targets - mean) / deviation).double()
    return float((0.5 * scaled.square() + deviation.double().log()).mean() + 0.5 * math.log(2 * math.pi))


def coverage(
    mean: Float[Tensor, "rows"], deviation: Float[Tensor, "rows"], targets: Float[Tensor, "rows"], *, chance: float = 0.9
) -> float:
    """The fraction of targets inside the central interval of that chance.

    Raises:
        InputError: a chance outside (0, 1).
    """
    if not 0 < chance < 1:
        raise InputError(f"chance lies inside (0, 1), not {chance}")
    half = math.sqrt(2) * float(torch.erfinv(torch.tensor(chance, dtype=torch.float64)))
    return float(((targets - mean).abs() <= half * deviation).double().mean())
