r"""The divergence between two zero-mean Gaussians, as a distance of Gram matrices.

.. math:: \mathrm{KL}(\mathcal N(0, G) \,\|\, \mathcal N(0, K)) = \tfrac12 \left[\operatorname{tr}(K^{-1} G) - \log\det(K^{-1} G) - P\right]

is 0 only at :math:`G = K` and unchanged by :math:`G, K \to A G A^\top, A K A^\top`. With :math:`K = C C^\top` and any M such that :math:`G = C M M^\top C^\top` it is

.. math:: \tfrac12 \left[\|M\|_F^2 - \log\det(M M^\top) - P\right],

so that a layer that keeps M needs no solve. A more stable stand-in is :math:`\tfrac14 \|G^{-1} K - I\|_F^2`: the expansion to second order around :math:`G = K` where the two commute, and an upper bound of it elsewhere.

Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023); the stand-in: Milsom, Anson, Aitchison, Stochastic kernel regularisation
improves generalisation in deep kernel machines (2024).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.nn.cholesky import check_symmetric, factor

__all__ = ["gaussian_kl", "taylor_divergence", "whitened_kl"]


def _check(gram: Tensor, kernel: Tensor) -> None:
    if gram.shape != kernel.shape or gram.ndim < 2 or gram.shape[-1] != gram.shape[-2]:
        raise InputError(f"a divergence is between square matrices of one shape, not {tuple(gram.shape)} and {tuple(kernel.shape)}")
    check_symmetric(gram, "the Gram matrix G")
    check_symmetric(kernel, "the kernel matrix K")


def whitened_kl(whitened: Float[Tensor, "*batch points columns"], log_determinant: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """The divergence from M, (..., P, q), and log det(M M^T), (...)."""
    return 0.5 * (whitened.square().sum(dim=(-2, -1)) - log_determinant - whitened.shape[-2])


def gaussian_kl(gram: Float[Tensor, "*batch points points"], kernel: Float[Tensor, "*batch points points"]) -> Float[Tensor, "*batch"]:
    """KL(N(0, gram) || N(0, kernel)), in nats.

    Args:
        gram: G, (..., P, P).
        kernel: K, (..., P, P).

    Raises:
        InputError: other shapes, or a matrix that is not symmetric positive definite.
    """
    _check(gram, kernel)
    below, above = factor(kernel, "the kernel matrix K"), factor(gram, "the Gram matrix G")
    whitened = torch.linalg.solve_triangular(below, above, upper=False)
    return whitened_kl(whitened, 2 * whitened.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1))


def taylor_divergence(
    gram: Float[Tensor, "*batch points points"], kernel: Float[Tensor, "*batch points points"]
) -> Float[Tensor, "*batch"]:
    """A quarter of the squared distance of G^-1 K from the identity; arguments and errors as of `gaussian_kl`."""
    _check(gram, kernel)
    ratio = torch.cholesky_solve(kernel, factor(gram, "the Gram matrix G"))
    return 0.25 * (ratio - torch.eye(ratio.shape[-1], dtype=ratio.dtype, device=ratio.device)).square().sum(dim=(-2, -1))
