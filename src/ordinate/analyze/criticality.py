r"""Criticality: at which initialisation an activation neither inflates nor squashes signals and their differences.

A network is critical where its kernel has a fixed point :math:`K^\star = C_b + C_W\, g(K^\star)` with :math:`\chi_\parallel(K^\star) = \chi_\perp(K^\star) = 1`; anywhere else something grows or decays exponentially with depth.
There are four kinds of activation:

- ``"scale_invariant"``: :math:`\sigma = a_\pm z` on either side of 0. With :math:`A_2 = (a_+^2 + a_-^2)/2`, critical at :math:`C_b = 0, C_W = 1/A_2`, with any :math:`K^\star`.
- ``"zero"``: :math:`\sigma(0) = 0` and the kernel falls to :math:`K^\star = 0` as a power of depth, at :math:`C_b = 0, C_W = 1/\sigma'(0)^2`. For :math:`\sigma = s_1 z + s_2 z^2/2 + s_3 z^3/6` the next order is
  :math:`a_1 = s_3/s_1 + \tfrac34 (s_2/s_1)^2`, which must be negative: :math:`K^\ell \to 1/(-a_1 \ell)`; differences of inputs decay as :math:`\ell^{-p_\perp}` with :math:`p_\perp = b_1/a_1`,
  :math:`b_1 = s_3/s_1 + (s_2/s_1)^2`. Where :math:`\sigma'` or :math:`\sigma''` jumps at 0 the next order is :math:`K^{3/2}`, with :math:`C_W = 1/A_2`, :math:`K^\ell \to (2 / (m \ell))^2` for
  :math:`m = \sqrt{2/\pi}\,(a_- s_{2-} - a_+ s_{2+})/A_2 > 0`, and :math:`p_\perp = 2`.
- ``"half_stable"``: a root :math:`K^\star > 0` of :math:`R(K) = \langle z \sigma \sigma' \rangle_K / K - \langle \sigma'^2 \rangle_K` with :math:`C_W = 1/\langle \sigma'^2 \rangle`, :math:`C_b = K^\star - C_W g(K^\star) \ge 0`.
  Then :math:`K' - K^\star = (K - K^\star) + c\,(K - K^\star)^2`: a negative c attracts from above only, a positive one from below only.
- ``"none"``: neither. What is given is a compromise, :math:`\chi_\perp = 1` at K = 1.

Fluctuations between neurons and between networks grow as :math:`V^\ell / K^2 \to \nu\,\ell`: :math:`\nu = 3 A_4/A_2^2 - 1` where scale-invariant, a third of that (2/3 for a smooth activation) at :math:`K^\star = 0`.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), sections 3.3, 5.2 to 5.4; the case of a kink at 0 and the signs of c are computed here.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from ordinate.analyze.gaussian import gauss_nodes
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation

__all__ = ["CriticalityReport", "Kind", "find_criticality", "mismatch"]

Kind = Literal["scale_invariant", "zero", "half_stable", "none"]
_GRID = torch.logspace(-4, 3, 141, dtype=torch.float64)
_BIAS_SLACK = 1e-12


@dataclass(frozen=True)
class CriticalityReport:
    """Whether and how an activation can be made critical.

    Attributes:
        activation: its name.
        kind: see the module.
        C_b: variance of the biases.
        C_W: variance of the weights times the number of their inputs.
        K_star: the variance of preactivations at the fixed point; None where any will do (scale-invariant) or none is fixed.
        a1, b1: next orders of the kernel and of χ_perp at K* = 0, for a smooth activation.
        p_perp: the power with which perpendicular differences of inputs decay at K* = 0, as ℓ^-p_perp.
        decay: the power with which the kernel itself falls to K* = 0, as ℓ^-decay.
        A2, A4: mean square and mean fourth power of the two slopes at 0; None unless σ(0) = 0.
        c: curvature of the kernel map at a half-stable fixed point.
        nu: the rate at which the four-point vertex grows, V/K² -> ν ℓ; None where there is no fixed point.
        skew: <z σ²> / K^{3/2} at the fixed point, 0 for odd and even activations; None where there is none.
        remark: what to know before using it.
    """

    activation: str
    kind: Kind
    C_b: float
    C_W: float
    K_star: float | None = None
    a1: float | None = None
    b1: float | None = None
    p_perp: float | None = None
    decay: float | None = None
    A2: float | None = None
    A4: float | None = None
    c: float | None = None
    nu: float | None = None
    skew: float | None = None
    remark: str = ""

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON values."""
        return asdict(self)

    def with_residual(self, residual: float, *, skewed: bool = True) -> "CriticalityReport":
        r"""What is critical when a residual connection of weight :math:`\gamma` goes around every layer: :math:`z^{\ell+1} = b + W \sigma(z^\ell) + \gamma z^\ell`.

        The connection brings :math:`\gamma^2` to both susceptibilities, so that :math:`C_b` and :math:`C_W` keep :math:`1 - \gamma^2` of what they were and :math:`K^\star` stays. With
        :math:`\nu_0` the rate without it (three times that at :math:`K^\star = 0`, and a third of the result),

        .. math:: \nu(\gamma) = (1 - \gamma^2)\,[(1 - \gamma^2)\,\nu_0 + 4 \gamma^2] + 2\,(1 - \gamma^2)^2 C_W^2 s^2 \frac{\gamma}{1 - \gamma}, \qquad s = \frac{\langle z \sigma^2 \rangle}{K^{3/2}}.

        The first term is the book's. The second, which is not in it, comes from :math:`\mathbb E[z_i^2 z_j] = T/n` with :math:`T' = \gamma\, C_W \langle z \sigma^2 \rangle + \gamma\, \chi_\parallel T`: with a connection, a neuron keeps its
        sign from layer to layer, and the size of the others remembers it. It is absent for odd and even activations; for ReLU it is the larger part at :math:`\gamma > 0.6`.

        Args:
            residual: γ in [0, 1).
            skewed: False leaves the second term out.

        Raises:
            InputError: γ outside [0, 1), or an activation that cannot be made critical.
        """
        if not 0 <= residual < 1:
            raise InputError(f"the weight of a residual connection lies in [0, 1), not {residual}")
        if self.kind == "none" or self.nu is None or self.skew is None:
            raise InputError(f"{self.activation} {self.remark}: a residual connection does not change that")
        share, third = 1 - residual**2, 3.0 if self.kind == "zero" else 1.0
        nu = share * (share * third * self.nu + 4 * residual**2)
        if skewed:
            nu += 2 * (share * self.C_W * self.skew) ** 2 * residual / (1 - residual)
        return replace(self, C_b=self.C_b * share, C_W=self.C_W * share, nu=nu / third)


def _averages(act: Activation, kernel: Tensor) -> dict[str, Tensor]:
    """The averages that criticality is made of, at each K; NaN where an average is not to be had by quadrature."""
    z, weights = gauss_nodes(kernel, act.kinks)
    value, slope = act(z), act.derivative(z)
    density = weights * (value.square() + slope.square())
    tail = torch.where(z.abs() > 8.5 * kernel.sqrt()[..., None], density, 0.0).sum(dim=-1)
    usable = torch.isfinite(density).all(dim=-1) & (tail <= 1e-9 * density.sum(dim=-1))
    scaled = {
        "square": value.square(),
        "fourth": value.square().square(),
        "skew": z * value.square(),
        "parallel": z * value * slope / kernel[..., None],
        "perpendicular": slope.square(),
        "curvature": value.square() * (z.square().square() - 6 * kernel[..., None] * z.square() + 3 * kernel[..., None].square()),
    }
    return {name: torch.where(usable, (weights * integrand).sum(dim=-1), torch.nan) for name, integrand in scaled.items()}


def mismatch(act: Activation, kernel: Tensor) -> Tensor:
    """R(K) = <zσσ'>/K - <σ'²>, any shape, float64: both susceptibilities can be 1 only at a root. NaN where the averages do not exist."""
    found = _averages(act, kernel)
    return found["parallel"] - found["perpendicular"]


def find_criticality(activation: str | Activation | nn.Module | Callable[[Tensor], Tensor]) -> CriticalityReport:
    """The critical initialisation of an activation, and of which kind it is.

    Args:
        activation: a name, an `Activation`, a module or a function of a tensor.

    Raises:
        InputError: it is no usable activation; see :meth:`ordinate.nn.activations.Activation.of`.
    """
    return _find(Activation.of(activation))


@lru_cache(maxsize=64)
def _find(act: Activation) -> CriticalityReport:
    zero = torch.zeros(1, dtype=torch.float64)
    through_zero = abs(float(act(zero))) < 1e-12
    above, below = (_at_zero(act, side) for side in (1.0, -1.0))
    slopes_square = (above[0] ** 2 + below[0] ** 2) / 2
    if through_zero and slopes_square > 1e-12:
        fourth = (above[0] ** 4 + below[0] ** 4) / 2
        excess = 3 * fourth / slopes_square**2 - 1
        skew = (above[0] ** 2 - below[0] ** 2) / math.sqrt(2 * math.pi) * 2
        if _is_piecewise_linear(act, above[0], below[0]):
            return CriticalityReport(act.name, "scale_invariant", 0.0, 1 / slopes_square, A2=slopes_square, A4=fourth, nu=excess, skew=skew)
        found = _zero_kind(act, above, below, slopes_square)
        if found is not None:
            return CriticalityReport(
                act.name, "zero", 0.0, 1 / slopes_square, 0.0, A2=slopes_square, A4=fourth, nu=excess / 3, skew=skew, **found
            )
    half = _half_stable(act)
    if half is not None:
        return half
    return _compromise(act)


def _at_zero(act: Activation, side: float) -> tuple[float, float]:
    """The slope and the second derivative at 0, or on one side of it where it is a kink."""
    if 0.0 not in act.kinks:
        zero = torch.zeros(1, dtype=torch.float64)
        return float(act.derivative(zero)), float(act.second_derivative(zero))
    step = torch.tensor([1e-6, 2e-6], dtype=torch.float64) * side
    slope, bend = act.derivative(step), act.second_derivative(step)
    return tuple(float(2 * part[0] - part[1]) for part in (slope, bend))  # type: ignore[return-value]


def _is_piecewise_linear(act: Activation, above: float, below: float) -> bool:
    z = torch.logspace(-4, 3, 200, dtype=torch.float64)
    scale = 1e-9 * max(abs(above), abs(below))
    return bool(((act(z) / z - above).abs() < scale).all()) and bool(((act(-z) / -z - below).abs() < scale).all())


def _zero_kind(act: Activation, above: tuple[float, float], below: tuple[float, float], slopes_square: float) -> dict[str, Any] | None:
    """How the kernel falls to 0, or None where it does not."""
    jump = max(abs(above[0] - below[0]), abs(above[1] - below[1])) / math.sqrt(slopes_square)
    if jump > 1e-5:
        bend = math.sqrt(2 / math.pi) * (below[0] * below[1] - above[0] * above[1]) / slopes_square
        if abs(bend) > 1e-8:
            falls = {"p_perp": 2.0, "decay": 2.0, "remark": f"bent at 0: the kernel falls as (2 / ({bend:.4g} l))^2"}
            return falls if bend > 0 else None
    else:
        zero = torch.zeros(1, dtype=torch.float64)
        s1, s2, s3 = (float(part(zero)) for part in (act.derivative, act.second_derivative, act.third_derivative))
        a1, b1 = s3 / s1 + 0.75 * (s2 / s1) ** 2, s3 / s1 + (s2 / s1) ** 2
        if abs(a1) > 1e-8:
            return {"a1": a1, "b1": b1, "p_perp": b1 / a1, "decay": 1.0} if a1 < 0 else None
    ratio = _averages(act, _GRID)["square"] / (_GRID * slopes_square) - 1
    moved = ratio[ratio.abs() > 1e-9]
    if len(moved) and float(moved[0]) < 0:
        return {
            "p_perp": 0.0,
            "decay": 0.0,
            "remark": "as good as linear around 0: the kernel falls to 0 more slowly than any power of depth",
        }
    return None


def _half_stable(act: Activation) -> CriticalityReport | None:
    values = mismatch(act, _GRID)
    noise = 1e-10 * (_averages(act, _GRID)["perpendicular"] + 1e-300)
    for index in range(len(_GRID) - 1):
        left, right = float(values[index]), float(values[index + 1])
        if not (left * right < 0 and min(abs(left), abs(right)) > float(noise[index])):
            continue

        def at(log: float) -> float:
            return float(mismatch(act, torch.tensor([math.exp(log)], dtype=torch.float64)))

        K = math.exp(brentq(at, math.log(float(_GRID[index])), math.log(float(_GRID[index + 1])), xtol=1e-15, rtol=1e-14))
        found = {name: float(value) for name, value in _averages(act, torch.tensor([K], dtype=torch.float64)).items()}
        C_W = 1 / found["perpendicular"]
        C_b = K - C_W * found["square"]
        if C_b < -_BIAS_SLACK * K:
            continue
        c = C_W * found["curvature"] / (8 * K**4)
        return CriticalityReport(
            act.name,
            "half_stable",
            max(0.0, C_b),
            C_W,
            K,
            c=c,
            nu=C_W**2 * (found["fourth"] - found["square"] ** 2) / K**2,
            skew=found["skew"] / K**1.5,
            remark=f"scale the first layer so that its preactivations have variance K* = {K:.6g}: the fixed point attracts from {'above' if c < 0 else 'below'} only",
        )
    return None


def _compromise(act: Activation) -> CriticalityReport:
    found = {name: float(value) for name, value in _averages(act, torch.ones(1, dtype=torch.float64)).items()}
    C_W = 1 / found["perpendicular"]
    C_b = 1 - C_W * found["square"]
    fixed = "" if C_b >= 0 else ", and even that moves the kernel, since it would take biases of negative variance to hold it"
    return CriticalityReport(
        act.name,
        "none",
        max(0.0, C_b),
        C_W,
        remark=f"cannot be made critical: differences of inputs keep their size at K = 1 (chi_perp = 1) while sizes change by chi_par = {C_W * found['parallel']:.4g} a layer{fixed}",
    )
