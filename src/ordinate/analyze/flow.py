r"""Networks of finite width, to first order in 1/n: how the kernel, the tangent kernel and their fluctuations run from layer to layer.

For one input, :math:`\langle \cdot \rangle` at :math:`K^\ell`, :math:`g_1 = g'(K)`, :math:`d = \langle z \sigma' \sigma'' \rangle / K = 2h/C_W`, and equal widths (with unequal ones each term that carries an old
V, G, A, B, D, F, P or Q is multiplied by :math:`n_\ell / n_{\ell-1}`):

- four-point vertex, :math:`\mathbb E[z_i^2 z_j^2] - \mathbb E[z_i^2]\,\mathbb E[z_j^2] = V^\ell / n_{\ell-1}`:
  :math:`V' = C_W^2 [\langle \sigma^4 \rangle - \langle \sigma^2 \rangle^2] + \chi_\parallel^2 V`;
- metric, :math:`\mathbb E[z_i^2] = K + G / n_{\ell-1}`: :math:`G' = \chi_\parallel G + \tfrac18 V C_W \langle \sigma^2 (z^4 - 6Kz^2 + 3K^2) \rangle / K^4`;
- tangent kernel :math:`H_{ij} = \sum_\mu \lambda_\mu\, \partial_\mu z_i\, \partial_\mu z_j` with mean :math:`\Theta`: :math:`D/n` is :math:`\mathrm{cov}(H_{ii}, z_j^2)`, :math:`F/n` is :math:`\mathbb E[H_{ij} z_i z_j]`,
  :math:`B/n` is :math:`\mathbb E[H_{ij}^2]` and :math:`A/n` is :math:`\mathrm{cov}(H_{ii}, H_{jj})`, all for :math:`i \ne j`;
- its differential :math:`dH_{i_0 i_1 i_2}`: :math:`\mathbb E[dH_{ijj} z_i] = P/n` and :math:`\mathbb E[dH_{iij} z_j] = Q/n`. At infinite width both vanish, and with them all learning of representations.

Integrals over :math:`\sigma''` are taken by parts, so that kinks are counted: :math:`\langle \sigma \sigma'' \rangle = \langle z \sigma \sigma' \rangle / K - \langle \sigma'^2 \rangle`,
:math:`\langle \sigma \sigma'' \sigma'^2 \rangle = \tfrac13 (\langle z \sigma \sigma'^3 \rangle / K - \langle \sigma'^4 \rangle)`.

With a residual connection of weight :math:`\gamma`, :math:`\chi_\parallel = C_W g_1 + \gamma^2` and :math:`\chi_\perp = C_W \langle \sigma'^2 \rangle + \gamma^2`; neurons then have third moments,
:math:`\mathbb E[z_i^2 z_j] = T/n` with :math:`T' = \gamma C_W \langle z \sigma^2 \rangle + \gamma \chi_\parallel T`, and

.. math:: V' = C_W^2 [\langle \sigma^4 \rangle - \langle \sigma^2 \rangle^2] + 2 \gamma^2 C_W [\langle \sigma^2 z^2 \rangle - \langle \sigma^2 \rangle K] + \chi_\parallel^2 V
   + 2 C_W \chi_\parallel \frac{\langle z \sigma^2 \rangle}{K} T.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), chapters 4, 8 and 11 and appendix B; T, which vanishes for odd and even activations, is derived here.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.gaussian import check_covariance, gauss_avg, gauss_nodes, pair_nodes
from ordinate.analyze.kernels import check_variances
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation

__all__ = ["QUANTITIES", "RGFlow", "check_aspect", "four_point_flow", "rg_flow"]

QUANTITIES = ("K", "G1", "V", "Theta", "A", "B", "D", "F", "P", "Q")
_DEEPEST = 0.5


def check_aspect(depth: int, width: int) -> None:
    """Warn where a network is too deep for its width for an expansion in depth over width.

    Raises:
        InputError: a depth below 1, or a width below 2.
    """
    if depth < 1 or width < 2:
        raise InputError(f"a network has at least one layer and two neurons a layer, not depth={depth}, width={width}")
    if depth / width > _DEEPEST:
        warnings.warn(
            f"depth / width = {depth}/{width} = {depth / width:.2g} is above {_DEEPEST}: corrections of first order in it say little there",
            stacklevel=3,
        )


@dataclass(frozen=True)
class RGFlow:
    """What runs with depth, at the layers 1..L; every field is (L,) float64, and those from `G1` to `Q` (but `Theta`) are to be divided by the width of the layer before.

    Attributes:
        K: variance of preactivations at infinite width.
        G1: its correction.
        V: four-point vertex.
        Theta: neural tangent kernel at infinite width.
        A, B, D, F: its fluctuations; NaN with a residual connection.
        P, Q: of its differential; NaN with a residual connection.
        chi_par, chi_perp: susceptibilities from each layer to the next.
    """

    K: Float[Tensor, " layers"]
    G1: Float[Tensor, " layers"]
    V: Float[Tensor, " layers"]
    Theta: Float[Tensor, " layers"]
    A: Float[Tensor, " layers"]
    B: Float[Tensor, " layers"]
    D: Float[Tensor, " layers"]
    F: Float[Tensor, " layers"]
    P: Float[Tensor, " layers"]
    Q: Float[Tensor, " layers"]
    chi_par: Float[Tensor, " layers"]
    chi_perp: Float[Tensor, " layers"]

    def to_dict(self) -> dict[str, Float[Tensor, " layers"]]:
        """Name -> (L,)."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def at_width(self, width: int) -> tuple[Float[Tensor, " layers"], Float[Tensor, " layers"]]:
        """The mean over n neurons of z² in one network of equal widths n: its expectation, and its standard deviation from one network to the next, (L,) each.

        The expectation is K + G1/n. The mean of n neurons varies by (2 K² + (n - 1) V/n) / n: their own spread, and what they have in common. Warns where depth over width is above 0.5.

        Raises:
            InputError: a width below 2.
        """
        check_aspect(len(self.K), width)
        return self.K + self.G1 / width, ((2 * self.K.square() + (width - 1) / width * self.V) / width).sqrt()


def _per_layer(name: str, value: float | Sequence[float], depth: int) -> list[float]:
    values = [float(value)] * depth if isinstance(value, int | float) else [float(each) for each in value]
    if len(values) != depth or any(not 0 <= each < math.inf for each in values):
        raise InputError(f"{name} is a learning rate of 0 or more, or one for each of the {depth} layers")
    return values


def _ratios(widths: Sequence[int] | None, depth: int) -> list[float]:
    """n_l / n_{l-1} for l = 1..L-1; what it is at l = 1 does not matter, as all corrections are 0 there."""
    if widths is None:
        return [1.0] * (depth - 1)
    if len(widths) != depth - 1 or any(width < 2 for width in widths):
        raise InputError(f"widths are those of the {depth - 1} hidden layers, each 2 or more, not {list(widths)}")
    return [1.0] + [after / before for before, after in pairwise(widths)] if depth > 1 else []


def _run_kernel(act: Activation, depth: int, C_b: float, C_W: float, first: float, residual: float) -> Float[Tensor, " layers"]:
    """K at every layer. One layer needs the one before, so this loop is kept short."""
    kernels = [first]
    fixed = all(kink == 0 for kink in act.kinks)
    unit, weights = gauss_nodes(torch.ones((), dtype=torch.float64))
    for _ in range(depth - 1):
        K = kernels[-1]
        if fixed and math.isfinite(K):
            square = float(torch.dot(weights, act(unit * math.sqrt(max(K, 0.0))).square()))
        elif math.isfinite(K):
            square = float(gauss_avg(lambda z: act(z).square(), torch.tensor(K, dtype=torch.float64), act.kinks))
        else:
            square = math.inf
        kernels.append(C_b + C_W * square + residual**2 * K)
    found = torch.tensor(kernels, dtype=torch.float64)
    if not bool(torch.isfinite(found).all()):
        raise InputError(
            f"the kernel of {act.name} grows beyond all bounds by layer {int((~torch.isfinite(found)).nonzero()[0]) + 1} at C_W = {C_W:.4g}"
        )
    return found


def rg_flow(
    act: Activation,
    depth: int,
    C_b: float,
    C_W: float,
    *,
    first: float = 1.0,
    first_tangent: float | None = None,
    lambda_b: float | Sequence[float] = 1.0,
    lambda_W: float | Sequence[float] = 1.0,
    residual: float = 0.0,
    widths: Sequence[int] | None = None,
) -> RGFlow:
    """All quantities of one input at the layers 1..L.

    Args:
        act: the activation.
        depth: L, at least 1.
        C_b, C_W: variances of the biases, and of the weights times the number of their inputs.
        first: K^1 = C_b + C_W x·x/n_0, positive.
        first_tangent: Θ^1; None is λ_b + λ_W x·x/n_0 with what K^1 says of x.
        lambda_b, lambda_W: learning rates of biases, and of weights times the number of their inputs; one number, or one for each layer.
        residual: γ of a connection around each layer, in [0, 1).
        widths: n_1..n_{L-1}, where they differ.

    Raises:
        InputError: numbers out of range, a kernel that has died out (0) or has no bound.
    """
    check_variances(C_b, C_W, residual)
    if depth < 1 or not 0 < first < math.inf or C_W == 0:
        raise InputError(
            f"a flow has at least one layer, a positive first kernel and weights that vary, not depth={depth}, first={first}, C_W={C_W}"
        )
    if residual and widths is not None and len(set(widths)) > 1:
        raise InputError("residual connections join layers of equal width")
    rates_b, rates_W = _per_layer("lambda_b", lambda_b, depth), _per_layer("lambda_W", lambda_W, depth)
    ratios = _ratios(widths, depth)
    K = _run_kernel(act, depth, C_b, C_W, float(first), residual)
    if float(K.min()) <= 0:
        raise InputError(f"the kernel of {act.name} has died out by layer {int((K <= 0).nonzero()[0]) + 1}: nothing is left to fluctuate")
    of = _averages(act, K)
    gain = [residual**2 + C_W * each for each in of["g1"]]  # chi_par
    turn = [residual**2 + C_W * each for each in of["d2"]]  # chi_perp
    third = 0.0  # E[z_i² z_j] · n, which only a residual connection makes
    names = ("G1", "V", "Theta", "A", "B", "D", "F", "P", "Q")
    run: dict[str, list[float]] = {name: [0.0] for name in names}
    run["Theta"] = [rates_b[0] + rates_W[0] * (float(first) - C_b) / C_W if first_tangent is None else float(first_tangent)]
    unknown = math.nan if residual else 1.0
    for at in range(depth - 1):
        G1, V, Theta, A, B, D, F, P, Q = (run[name][-1] for name in names)
        ratio, lb, lW = ratios[at], rates_b[at + 1], rates_W[at + 1]
        spread = of["s4"][at] - of["s2"][at] ** 2
        mixed = of["s2d2"][at] - of["s2"][at] * of["d2"][at]
        g1, d2, d, k = of["g1"][at], of["d2"][at], of["d"][at], float(K[at])
        chi, perp, two_h = gain[at], turn[at], C_W * d
        run["G1"].append(ratio * (chi * G1 + V * C_W * of["quartic"][at] / 8))
        skew = of["skew"][at]
        run["V"].append(C_W**2 * spread + 4 * residual**2 * C_W * g1 * k**2 + ratio * chi**2 * V + 2 * C_W * chi * skew / k * third)
        third = residual * (C_W * skew + chi * third)
        run["Theta"].append(lb + lW * of["s2"][at] + perp * Theta)
        run["A"].append(
            unknown * (lW**2 * spread + 2 * lW * C_W * mixed * Theta + C_W**2 * (of["d4"][at] - d2**2) * Theta**2)
            + ratio
            * (
                lW**2 * g1**2 * V
                + 2 * lW * C_W * (Theta * d * g1 * V + d2 * g1 * D)
                + C_W**2 * (Theta**2 * d**2 * V + 2 * Theta * d * d2 * D + d2**2 * A)
            )
        )
        run["B"].append(unknown * C_W**2 * of["d4"][at] * Theta**2 + ratio * perp**2 * B)
        run["D"].append(
            unknown * (lW * C_W * spread + C_W**2 * mixed * Theta)
            + ratio * (lW * C_W * g1**2 * V + two_h * chi * Theta * V + perp * chi * D)
        )
        run["F"].append(unknown * C_W**2 * of["s2d2"][at] * Theta + ratio * chi**2 * F)
        run["P"].append(unknown * C_W**2 * of["ssdd"][at] * Theta**2 + ratio * (C_W * perp * of["sc"][at] * B + chi * perp * P))
        run["Q"].append(
            unknown * (C_W**2 * of["ssdd"][at] * Theta**2 + lW * C_W * of["s2d2"][at] * Theta)
            + ratio * (two_h * chi * Theta * F + chi * perp * Q + lW * C_W * g1**2 * F)
        )
    return RGFlow(
        K=K,
        **{name: torch.tensor(values, dtype=torch.float64) for name, values in run.items()},
        chi_par=torch.tensor(gain, dtype=torch.float64),
        chi_perp=torch.tensor(turn, dtype=torch.float64),
    )


def _averages(act: Activation, K: Float[Tensor, " layers"]) -> dict[str, list[float]]:
    """Every average that the recursions take, at every layer: one contraction of (layers, nodes) for all."""
    z, weights = gauss_nodes(K, act.kinks)
    k = K[:, None]
    value, slope = act(z), act.derivative(z)
    s2, d2, zz = value.square(), slope.square(), z.square()
    zs = z * value * slope
    curved = d2 - act.derivative(torch.zeros((1, 1), dtype=torch.float64)).square()
    found = torch.einsum(
        "ln,fln->fl",
        weights,
        torch.stack(
            [
                s2,
                s2.square(),
                s2 * d2,
                d2,
                d2.square(),
                zs,
                zs * d2,
                curved * (zz - k),
                s2 * (zz.square() - 6 * k * zz + 3 * k.square()),
                s2 * z,
            ]
        ),
    )
    s2, s4, s2d2, d2, d4, zs, zs3, bent, quartic, skew = found
    averages = {
        "s2": s2,
        "s4": s4,
        "s2d2": s2d2,
        "d2": d2,
        "d4": d4,
        "g1": zs / K,
        "d": bent / (2 * K.square()),
        "sc": zs / K - d2,
        "ssdd": (zs3 / K - d4) / 3,
        "quartic": quartic / K.square().square(),
        "skew": skew,
    }
    return {name: average.tolist() for name, average in averages.items()}


def four_point_flow(
    act: Activation, first: Float[Tensor, "2 2"], depth: int, C_b: float, C_W: float, *, widths: Sequence[int] | None = None
) -> Float[Tensor, "layers 2 2 2 2"]:
    r"""The four-point vertex of two inputs: :math:`\mathrm{cov}(z_{i;a} z_{i;b},\, z_{j;c} z_{j;d}) = V_{(ab)(cd)} / n_{\ell-1}` for :math:`i \ne j`, at the layers 1..L.

    With all averages over both inputs and the indices of V raised by :math:`K^{-1}`,

    .. math:: V'_{(ab)(cd)} = C_W^2 [\langle \sigma_a \sigma_b \sigma_c \sigma_d \rangle - \langle \sigma_a \sigma_b \rangle \langle \sigma_c \sigma_d \rangle]
       + \frac{C_W^2}{4} \sum V^{(ef)(gh)} \langle \sigma_a \sigma_b (z_e z_f - K_{ef}) \rangle \langle \sigma_c \sigma_d (z_g z_h - K_{gh}) \rangle.

    Args:
        act: the activation.
        first: K^1, (2, 2) float64.
        depth, C_b, C_W, widths: as in `rg_flow`.

    Raises:
        InputError: numbers out of range, no covariance, or a singular one: inputs that are the same up to a factor have the vertex of one input.
    """
    check_variances(C_b, C_W)
    if depth < 1:
        raise InputError(f"a flow has at least one layer, not depth={depth}")
    check_covariance(first)
    ratios = _ratios(widths, depth)
    K, V = first.double(), torch.zeros(4, 4, dtype=torch.float64)
    found = [V]
    for ratio in ratios:
        lowest, highest = (float(value) for value in torch.linalg.eigvalsh(K))
        if lowest < 1e-10 * highest:
            raise InputError("the kernel of the two inputs is singular: they are the same up to a factor, follow one of them with rg_flow")
        z_a, z_b, weights = pair_nodes(K, act.kinks)
        z = torch.stack([z_a.expand_as(z_b), z_b]).flatten(1)
        w, s = weights.flatten(), act(z)
        products = (s[:, None] * s[None, :]).flatten(0, 1)
        sizes = (z[:, None] * z[None, :]).flatten(0, 1)
        mean = products @ w
        weighted = products * w
        moved = weighted @ (sizes - K.flatten()[:, None]).mT
        inverse = torch.linalg.inv(K)
        raised = torch.kron(inverse, inverse)
        V = C_W**2 * (weighted @ products.mT - mean[:, None] * mean[None, :] + ratio / 4 * moved @ raised @ V @ raised @ moved.mT)
        K = C_b + C_W * mean.reshape(2, 2)
        K = (K + K.mT) / 2
        found.append(V)
    return torch.stack(found).reshape(-1, 2, 2, 2, 2)
