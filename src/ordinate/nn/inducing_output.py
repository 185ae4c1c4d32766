r"""The output layer of a sparse deep kernel machine: Gaussian values at the inducing points, from which the values everywhere follow.

For each output c the values at the P inducing points are :math:`q(f_i^c) = \mathcal N(\mu_c, A)`, with A shared, and those at a test point, given the kernel K of the last layer,

.. math:: \bar f_t = K_{ti} K_{ii}^{-1} \mu, \qquad v_t = K_{tt} - K_{ti} K_{ii}^{-1} K_{it} + K_{ti} K_{ii}^{-1} A K_{ii}^{-1} K_{it} .

It costs :math:`\tfrac12 \sum_c [\operatorname{tr}(K^{-1} A) - \log\det(K^{-1} A) - P + \mu_c^\top K^{-1} \mu_c]`. With :math:`K = C C^\top`, :math:`\mu = C m`, :math:`A = C S S^\top C^\top` and :math:`U = C^{-1} K_{it}` all of it
is :math:`\bar f = U^\top m`, :math:`v = K_{tt} - \|U\|^2 + \|S^\top U\|^2`, and :math:`\tfrac12 \sum_c [\|S\|_F^2 - \log\det S S^\top - P + \|m_c\|^2]`.

Under Gaussian noise of variance :math:`\sigma^2` the best m and S are known, :math:`B = I + U U^\top / \sigma^2`, :math:`m = B^{-1} U Y / \sigma^2`, :math:`S S^\top = B^{-1}`, and so is the bound that they give (Titsias, 2009):

.. math:: \sum_c \log \mathcal N(y_c; 0, U^\top U + \sigma^2 I) - \frac{C}{2 \sigma^2} \operatorname{tr}(K_{tt} - U^\top U) .

Sources: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023); Titsias, Variational learning of inducing variables in sparse Gaussian processes (2009).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.nn.cholesky import factor
from ordinate.nn.gaussian_divergence import whitened_kl
from ordinate.nn.gram import Gram
from ordinate.nn.gram_forms import FORMS

__all__ = ["NAME", "InducingOutput", "Values"]

NAME = "the kernel of the output layer"


@dataclass(frozen=True)
class Values:
    """The outputs at test points.

    Attributes:
        mean: (..., T, C).
        variance: (..., T), or the covariance (..., T, T) where the whole test block was carried; shared by the outputs.
        divergence: of the values at the inducing points from their prior, summed over the outputs, (...), in nats.
    """

    mean: Float[Tensor, "*batch tests outputs"]
    variance: Float[Tensor, "*test_block"]
    divergence: Float[Tensor, "*batch"]


class InducingOutput(nn.Module):
    """Holds the mean and the shared covariance of C outputs at P inducing points; `output(kernel)` -> Values."""

    def __init__(
        self, points: int, out_features: int, *, form: str = "whitened", batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float64
    ) -> None:
        """
        Args:
            points: P.
            out_features: C.
            form: how A is parametrised, a name of `ordinate.nn.gram_forms.FORMS`; where that is relative to the kernel, so is the mean.
            batch: of independent problems.
            dtype: of the parameters.

        Raises:
            InputError: no points or outputs, or an unknown form.
        """
        super().__init__()
        if points < 1 or out_features < 1:
            raise InputError(f"points and out_features must be at least 1, not {points} and {out_features}")
        self.points, self.out_features = points, out_features
        self.covariance = FORMS[choose("form", form, FORMS)](points, batch=batch, dtype=dtype)
        self.mean = nn.Parameter(torch.zeros(*batch, points, out_features, dtype=dtype))

    @torch.no_grad()
    def start(self, kernel: Float[Tensor, "*batch points points"], values: Float[Tensor, "*batch points outputs"]) -> None:
        """Set the mean at the inducing points to `values`, and A to `kernel`."""
        root = factor(kernel, NAME)
        self.covariance.start(root)
        self.mean.copy_(torch.linalg.solve_triangular(root, values, upper=False) if self.covariance.relative else values)

    def forward(self, kernel: Gram, root: Float[Tensor, "*batch points points"] | None = None) -> Values:
        """The outputs at the test points of `kernel`.

        Args:
            kernel: K of the last layer.
            root: the Cholesky factor of its inducing block, where it is at hand.

        Raises:
            InputError: the kernel is not positive definite, or of another number of points.
        """
        root, solved = self._solved(kernel, root)
        spread, log_determinant = self.covariance(root)
        mean = self.mean if self.covariance.relative else torch.linalg.solve_triangular(root, self.mean, upper=False)
        seen = spread.mT @ solved
        if kernel.full:
            variance = kernel.tt - solved.mT @ solved + seen.mT @ seen
        else:
            variance = (kernel.tt - solved.square().sum(dim=-2)).clamp(min=0.0) + seen.square().sum(dim=-2)
        divergence = self.out_features * whitened_kl(spread, log_determinant) + 0.5 * mean.square().sum(dim=(-2, -1))
        return Values(solved.mT @ mean, variance, divergence)

    def collapsed_bound(
        self, kernel: Gram, targets: Float[Tensor, "*batch tests outputs"], noise: Float[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch"]:
        """The bound on log P(targets) with the best mean and covariance, in nats; what is held here is not read.

        Args:
            kernel: of the inducing points and all data.
            targets: (..., T, C).
            noise: the variance of the Gaussian noise, (...).
        """
        _, solved = self._solved(kernel)
        scaled = solved / noise.sqrt()[..., None, None]
        inner = factor(_plus_identity(scaled @ scaled.mT), NAME)
        weighed = torch.linalg.solve_triangular(inner, scaled @ targets, upper=False)
        tests = targets.shape[-2]
        quadratic = (targets.square().sum(dim=(-2, -1)) - weighed.square().sum(dim=(-2, -1))) / noise
        determinant = 2 * inner.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1) + tests * (noise.log() + math.log(2 * math.pi))
        left_open = (kernel.t.sum(dim=-1) - solved.square().sum(dim=(-2, -1))).clamp(min=0.0) / noise
        return -0.5 * (quadratic + self.out_features * (determinant + left_open))

    @torch.no_grad()
    def collapse(self, kernel: Gram, targets: Float[Tensor, "*batch tests outputs"], noise: Float[Tensor, "*batch"]) -> None:
        """Set the mean and the covariance to the best ones under Gaussian noise; arguments as of `collapsed_bound`."""
        root, solved = self._solved(kernel)
        precision = noise.reciprocal()[..., None, None]
        inner = factor(_plus_identity(precision * solved @ solved.mT), NAME)
        mean = torch.cholesky_solve(precision * solved @ targets, inner)
        self.covariance.set(root, root @ torch.cholesky_inverse(inner) @ root.mT)
        self.mean.copy_(mean if self.covariance.relative else root @ mean)

    def _solved(self, kernel: Gram, root: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if kernel.ii.shape[-1] != self.points:
            raise InputError(f"{NAME} is of {kernel.ii.shape[-1]} inducing points, and the layer holds values at {self.points}")
        root = factor(kernel.ii, NAME) if root is None else root
        return root, torch.linalg.solve_triangular(root, kernel.ti.mT, upper=False)


def _plus_identity(matrix: Tensor) -> Tensor:
    return matrix + torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
