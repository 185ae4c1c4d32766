r"""Kernels of two inputs in closed form: :math:`\langle \sigma_a \sigma_b \rangle_K` and :math:`\langle \sigma'_a \sigma'_b \rangle_K` for a covariance with entries :math:`K_{aa}, K_{bb}, K_{ab}`.

Piecewise linear through 0: the arc-cosine kernels (Cho and Saul, 2009) of order 1 and 0. The error function: the arc-sine kernel (Williams, 1997). Sine: characteristic functions. GELU, z Φ(z): by Stein's lemma
(Tsuchida et al., 2021), and its derivative by Price's theorem, :math:`\langle \sigma'_a \sigma'_b \rangle = \partial \langle \sigma_a \sigma_b \rangle / \partial K_{ab}`.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["CLOSED_FORMS", "PairAverages", "piecewise_linear"]

PairAverages = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(K_aa, K_bb, K_ab), broadcastable float64 -> (<σ_a σ_b>, <σ'_a σ'_b>)."""


def piecewise_linear(above: float, below: float) -> PairAverages:
    """Of σ(z) = above · z for z >= 0 and below · z for z < 0. With σ = p z + m |z|, p and m half the sum and half the difference, <σσ> = p² K_ab + m² <|z_a||z_b>>."""
    plain, bent = (above + below) / 2, (above - below) / 2

    def averages(
        k_aa: Float[Tensor, "*#shape"], k_bb: Float[Tensor, "*#shape"], k_ab: Float[Tensor, "*#shape"]
    ) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
        size = (k_aa * k_bb).clamp(min=0).sqrt()
        cosine = torch.where(size > 0, k_ab / size.clamp(min=1e-300), 0.0).clamp(-1, 1)
        angle = torch.asin(cosine)
        moduli = 2 / math.pi * size * ((1 - cosine.square()).sqrt() + cosine * angle)
        return plain**2 * k_ab + bent**2 * moduli, plain**2 + bent**2 * 2 / math.pi * angle

    return averages


def _erf(
    k_aa: Float[Tensor, "*#shape"], k_bb: Float[Tensor, "*#shape"], k_ab: Float[Tensor, "*#shape"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    square = (1 + 2 * k_aa) * (1 + 2 * k_bb)
    return 2 / math.pi * torch.asin((2 * k_ab / square.sqrt()).clamp(-1, 1)), 4 / math.pi * (square - 4 * k_ab.square()).rsqrt()


def _sin(
    k_aa: Float[Tensor, "*#shape"], k_bb: Float[Tensor, "*#shape"], k_ab: Float[Tensor, "*#shape"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    near, far = torch.exp(k_ab - (k_aa + k_bb) / 2), torch.exp(-k_ab - (k_aa + k_bb) / 2)
    return (near - far) / 2, (near + far) / 2


def _gelu(
    k_aa: Float[Tensor, "*#shape"], k_bb: Float[Tensor, "*#shape"], k_ab: Float[Tensor, "*#shape"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    a, b = 1 + k_aa, 1 + k_bb
    rest = a * b - k_ab.square()
    both = 0.25 + torch.asin(k_ab / (a * b).sqrt()) / (2 * math.pi)  # <Φ_a Φ_b>
    density = 1 / (2 * math.pi * rest.sqrt())  # <φ_a φ_b>
    bracket = k_aa * (k_bb - k_ab.square() / a) + k_ab.square() / b
    slope = both + density * (k_ab + k_ab / rest * bracket - 2 * k_ab * k_aa / a + 2 * k_ab / b)
    return k_ab * both + density * bracket, slope


CLOSED_FORMS: dict[str, PairAverages] = {
    "linear": piecewise_linear(1.0, 1.0),
    "relu": piecewise_linear(1.0, 0.0),
    "leaky-relu": piecewise_linear(1.0, 0.01),
    "abs": piecewise_linear(1.0, -1.0),
    "erf": _erf,
    "sin": _sin,
    "gelu": _gelu,
}
