r"""The Hellinger distance between two zero-mean Gaussians,

.. math:: H^2\bigl(\mathcal N(0, \Sigma_1), \mathcal N(0, \Sigma_2)\bigr) = 1 - \frac{\det(\Sigma_1)^{1/4} \det(\Sigma_2)^{1/4}}{\det\bigl((\Sigma_1 + \Sigma_2)/2\bigr)^{1/2}},

between 0 and 1. The total variation lies between :math:`H^2` and :math:`\sqrt 2 H`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.nn.cholesky import check_symmetric, factor

__all__ = ["gaussian_hellinger"]


def gaussian_hellinger(one: Float[Tensor, "*batch d d"], other: Float[Tensor, "*batch d d"]) -> Float[Tensor, "*batch"]:
    """H between N(0, one) and N(0, other).

    Args:
        one, other: covariances, (..., d, d).

    Raises:
        InputError: other shapes, or a matrix that is not symmetric positive definite.
    """
    if one.shape != other.shape or one.ndim < 2 or one.shape[-1] != one.shape[-2]:
        raise InputError(f"a distance is between square matrices of one shape, not {tuple(one.shape)} and {tuple(other.shape)}")
    check_symmetric(one, "the first covariance")
    check_symmetric(other, "the second covariance")
    logs = [2 * factor(each, "a covariance").diagonal(dim1=-2, dim2=-1).log().sum(dim=-1) for each in (one, other, (one + other) / 2)]
    return (-torch.expm1(logs[0] / 4 + logs[1] / 4 - logs[2] / 2)).clamp(min=0).sqrt()
