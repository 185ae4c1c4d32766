r"""A layer of a deep kernel machine: its parameter is the Gram matrix of the layer's features at the inducing points.

Beside the kernel K of the layer below, the learned :math:`G_{ii}` costs :math:`\nu\,\mathrm{KL}(\mathcal N(0, G_{ii}) \| \mathcal N(0, K_{ii}))`, and the features at test points follow from those at the inducing
points as a Gaussian process would have it: with :math:`A = K_{ti} K_{ii}^{-1}`,

.. math:: G_{ti} = A\, G_{ii}, \qquad G_{tt} = K_{tt} - A K_{it} + A\, G_{ii} A^\top .

With :math:`\nu = \infty` the layer is :math:`G = K`, which makes the stack the infinitely wide network's Gaussian process (NNGP).
One Cholesky factor :math:`K_{ii} = C C^\top` and one triangular solve :math:`U = C^{-1} K_{it}` serve everything: O(P^3 + P^2 T).

Stochastic kernel regularisation (of the same group's later work) replaces :math:`G_{ii}` in training by a Wishart draw around it, plus a ridge that stays at test time.

Sources: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023); Milsom, Anson, Aitchison, Stochastic kernel regularisation improves generalisation in
deep kernel machines (2024).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.nn.cholesky import factor
from ordinate.nn.gaussian_divergence import taylor_divergence, whitened_kl
from ordinate.nn.gram import Gram
from ordinate.nn.gram_forms import FORMS

__all__ = ["DIVERGENCES", "GramLayer", "LayerFactor", "propagate"]

DIVERGENCES = ("kl", "taylor")
RIDGE = 0.1


@dataclass(frozen=True)
class LayerFactor:
    """A layer beside the kernel below it.

    Attributes:
        root: C, (..., P, P), lower triangular: K = C C^T.
        whitened: M, (..., P, q): G = C M M^T C^T. None stands for the identity.
        gram: G, (..., P, P).
        penalty: nu times the divergence of G from K, (...), in nats.
    """

    root: Float[Tensor, "*batch points points"]
    whitened: Float[Tensor, "*batch points columns"] | None
    gram: Float[Tensor, "*batch points points"]
    penalty: Float[Tensor, "*batch"]


def propagate(factors: LayerFactor, kernel: Gram) -> Gram:
    """The layer's Gram matrix at the inducing and the test points.

    Args:
        factors: of the layer beside the inducing block of `kernel`.
        kernel: K of the layer below; of its inducing block nothing is read.
    """
    if factors.whitened is None:
        return Gram(factors.gram, kernel.ti, kernel.tt)
    solved = torch.linalg.solve_triangular(factors.root, kernel.ti.mT, upper=False)
    seen = factors.whitened.mT @ solved
    ti = seen.mT @ (factors.root @ factors.whitened).mT
    if kernel.full:
        return Gram(factors.gram, ti, kernel.tt - solved.mT @ solved + seen.mT @ seen)
    # What the inducing points leave open is a variance; rounding may put it just below zero.
    rest = (kernel.tt - solved.square().sum(dim=-2)).clamp(min=0.0)
    return Gram(factors.gram, ti, rest + seen.square().sum(dim=-2))


class GramLayer(nn.Module):
    """Holds G at P inducing points; `layer(kernel)` -> (Gram, penalty)."""

    def __init__(
        self,
        points: int,
        *,
        nu: float = 1.0,
        prior: bool = True,
        form: str = "whitened",
        divergence: str = "kl",
        columns: int | None = None,
        name: str = "the kernel",
        batch: tuple[int, ...] = (),
        dtype: torch.dtype = torch.float64,
    ) -> None:
        """
        Args:
            points: P.
            nu: the relative width of the layer, which weighs the divergence; infinity ties G to K.
            prior: whether the divergence counts at all; without it the fit is maximum a posteriori's, and overfits.
            form: how G is parametrised, a name of `ordinate.nn.gram_forms.FORMS`.
            divergence: ``"kl"``, or ``"taylor"`` for its stand-in; see `ordinate.nn.gaussian_divergence`.
            columns: in training, draw G as a Wishart matrix of this many columns around itself, plus a ridge of 0.1 that stays at test time.
            name: what errors call the kernel below.
            batch: of independent problems.
            dtype: of the parameters.

        Raises:
            InputError: nu not positive, unknown names, or no points or columns.
        """
        super().__init__()
        if not nu > 0:
            raise InputError(f"nu must be positive (infinity is the NNGP), not {nu}: for a fit without a prior set prior=False")
        if points < 1 or (columns is not None and columns < 1):
            raise InputError(f"points and columns must be at least 1, not {points} and {columns}")
        self.points, self.nu, self.prior, self.columns, self.name = points, nu, prior, columns, name
        self.divergence = choose("divergence", divergence, DIVERGENCES)
        form_class = FORMS[choose("form", form, FORMS)]
        self.form = None if math.isinf(nu) else form_class(points, batch=batch, dtype=dtype)

    @torch.no_grad()
    def start(self, kernel: Float[Tensor, "*batch points points"]) -> None:
        """Set the parameters so that G = `kernel`: training starts at the NNGP."""
        if self.form is not None:
            self.form.start(factor(kernel, self.name))

    def factor(self, kernel: Float[Tensor, "*batch points points"]) -> LayerFactor:
        """The layer beside the kernel of the inducing points.

        Raises:
            InputError: another number of points, or a kernel that is not positive definite.
        """
        if kernel.shape[-1] != self.points:
            raise InputError(f"{self.name} is of {kernel.shape[-1]} points, and the layer holds a Gram matrix of {self.points}")
        nothing = kernel.new_zeros(kernel.shape[:-2])
        if self.form is None:
            return LayerFactor(kernel, None, kernel, nothing)
        root = factor(kernel, self.name)
        whitened, log_determinant = self.form(root)
        features = root @ whitened
        if not self.prior:
            penalty = nothing
        elif self.divergence == "kl":
            penalty = self.nu * whitened_kl(whitened, log_determinant)
        else:
            penalty = self.nu * taylor_divergence(features @ features.mT, kernel)
        if self.columns is not None:
            whitened = self._ridged(root, self._drawn(whitened, self.columns) if self.training else whitened)
            features = root @ whitened
        return LayerFactor(root, whitened, features @ features.mT, penalty)

    def forward(self, kernel: Gram) -> tuple[Gram, Float[Tensor, "*batch"]]:
        """The layer's Gram matrix at inducing and test points, and the penalty, (...)."""
        factors = self.factor(kernel.ii)
        return propagate(factors, kernel), factors.penalty

    @staticmethod
    def _drawn(whitened: Tensor, columns: int) -> Tensor:
        noise = torch.randn(*whitened.shape[:-1], columns, dtype=whitened.dtype, device=whitened.device)
        return whitened @ noise / math.sqrt(columns)

    @staticmethod
    def _ridged(root: Tensor, whitened: Tensor) -> Tensor:
        # G + r I = (C M)(C M)^T + (C N)(C N)^T with N = sqrt(r) C^-1.
        identity = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device).expand_as(root)
        return torch.cat((whitened, math.sqrt(RIDGE) * torch.linalg.solve_triangular(root, identity, upper=False)), dim=-1)
