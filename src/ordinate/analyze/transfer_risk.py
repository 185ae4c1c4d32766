r"""How far a learnt linear representation and head are from the true ones, in closed form: no test set, no noise.

With inputs of second moment Sigma the excess risk of :math:`\hat B \hat w` over :math:`B w` is :math:`\lVert \hat B \hat w - B w \rVert_\Sigma^2`. The representation's own part is what the best head on it would leave,
:math:`\min_v \lVert \hat B v - B w \rVert_\Sigma^2`, which is :math:`\lVert (I - \hat B \hat B^\top) B w \rVert^2` for white inputs.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["excess_risk", "representation_risk"]


def excess_risk(
    found: Float[Tensor, " inputs"], true: Float[Tensor, " inputs"], covariance: Float[Tensor, "inputs inputs"] | None = None
) -> float:
    """The mean squared difference of two linear functions' values.

    Args:
        found: (d,) the coefficients found, B_hat w_hat.
        true: (d,) the true ones, B w.
        covariance: (d, d) second moment of the inputs; the identity by default.

    Raises:
        InputError: shapes that do not fit.
    """
    if found.shape != true.shape or (covariance is not None and covariance.shape != (len(true), len(true))):
        raise InputError(f"coefficients are (d,) both, and the inputs' moments (d, d), not {tuple(found.shape)} and {tuple(true.shape)}")
    difference = (found - true).double()
    return float(difference @ difference if covariance is None else difference @ covariance.double() @ difference)


def representation_risk(
    B: Float[Tensor, "inputs features"], true: Float[Tensor, " inputs"], covariance: Float[Tensor, "inputs inputs"] | None = None
) -> float:
    """What the best head on a representation leaves of a linear function.

    Args:
        B: (d, K) the representation.
        true: (d,) the coefficients of the function.
        covariance: (d, d) second moment of the inputs; the identity by default.

    Raises:
        InputError: shapes that do not fit.
    """
    if len(B) != len(true):
        raise InputError(f"the representation is (d, K) and the coefficients (d,), not {tuple(B.shape)} and {tuple(true.shape)}")
    root = torch.eye(len(true), dtype=torch.float64) if covariance is None else _root(covariance.double())
    basis, seen = root @ B.double(), root @ true.double()
    return float((seen - basis @ torch.linalg.lstsq(basis, seen[:, None], driver="gelsd").solution[:, 0]).square().sum())


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
