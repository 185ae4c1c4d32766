r"""The kernel of an infinitely wide network, layer by layer, for one input and for many.

Preactivations of a network with :math:`z^1 = b^1 + W^1 x` and :math:`z^{\ell+1} = b^{\ell+1} + W^{\ell+1} \sigma(z^\ell)`, biases of variance :math:`C_b` and weights of variance
:math:`C_W / n_{\ell-1}`, are Gaussian at infinite width, with the covariance over inputs

.. math:: K^1_{ab} = C_b + C_W \frac{x_a \cdot x_b}{n_0}, \qquad K^{\ell+1}_{ab} = C_b + C_W \langle \sigma_a \sigma_b \rangle_{K^\ell} + \gamma^2 K^\ell_{ab},

:math:`\gamma` the weight of a residual connection around each layer (0 without). How perturbations of it grow is told by the susceptibilities, parallel (of its size) and perpendicular (of the difference of two inputs):

.. math:: \chi_\parallel = \frac{C_W}{K} \langle z \sigma \sigma' \rangle_K = C_W\, g'(K), \qquad \chi_\perp = C_W \langle \sigma'^2 \rangle_K, \qquad
   h = \tfrac12 \frac{d \chi_\perp}{dK} = \frac{C_W}{4 K^2} \langle \sigma'^2 (z^2 - K) \rangle_K, \qquad g(K) = \langle \sigma^2 \rangle_K.

The neural tangent kernel with a learning rate :math:`\lambda_b` for biases and :math:`\lambda_W / n_{\ell-1}` for weights goes along with it:
:math:`\Theta^{\ell+1}_{ab} = \lambda_b + \lambda_W \langle \sigma_a \sigma_b \rangle + (C_W \langle \sigma'_a \sigma'_b \rangle + \gamma^2)\, \Theta^\ell_{ab}`.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), sections 4.1, 5.1, 5.3 and 9.1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.closed_forms import CLOSED_FORMS
from ordinate.analyze.gaussian import check_covariance, gauss_avg, gauss_nodes, pair_nodes
from ordinate.ground.errors import InputError, choose
from ordinate.nn.activations import Activation

__all__ = ["KernelFlow", "NearbyKernel", "cross_averages", "first_kernel", "kernel_flow", "kernel_map", "nearby_map", "susceptibilities"]

_ORDERS = 64
_MOST_QUADRATURES = 64


def check_variances(C_b: float, C_W: float, residual: float = 0.0) -> None:
    """Raise `InputError` unless the variances are 0 or more and the residual weight lies in [0, 1)."""
    if not (0 <= C_b < float("inf") and 0 <= C_W < float("inf")):
        raise InputError(f"variances are finite and 0 or more, not C_b={C_b}, C_W={C_W}")
    if not 0 <= residual < 1:
        raise InputError(f"the weight of a residual connection lies in [0, 1), not {residual}")


def kernel_map(act: Activation, kernel: Float[Tensor, "*batch"], C_b: float, C_W: float, residual: float = 0.0) -> Float[Tensor, "*batch"]:
    """The variance of the next layer's preactivations, K' = C_b + C_W g(K) + γ² K.

    Args:
        act: the activation.
        kernel: variances K of single inputs, any shape, float64.
        C_b: variance of the biases.
        C_W: variance of the weights times the number of their inputs.
        residual: γ.

    Raises:
        InputError: a negative variance, or γ outside [0, 1).
    """
    check_variances(C_b, C_W, residual)
    return C_b + C_W * gauss_avg(lambda z: act(z).square(), kernel, act.kinks) + residual**2 * kernel


def susceptibilities(
    act: Activation, kernel: Float[Tensor, "*batch"], C_W: float
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """χ_par, χ_perp and h at K > 0, any shape, float64.

    Raises:
        InputError: K or C_W that is not positive.
    """
    if not bool((kernel > 0).all()) or C_W < 0:
        raise InputError("susceptibilities are defined for K > 0 and C_W >= 0")
    z, weights = gauss_nodes(kernel, act.kinks)
    value, slope = act(z), act.derivative(z)
    parallel = (weights * z * value * slope).sum(dim=-1) / kernel
    perpendicular = (weights * slope.square()).sum(dim=-1)
    # σ'² minus its value at 0 has the same average against z² - K, and does not lose its digits where K is small.
    curved = slope.square() - act.derivative(torch.zeros_like(z)).square()
    h = (weights * curved * (z.square() - kernel[..., None])).sum(dim=-1) / (4 * kernel.square())
    return C_W * parallel, C_W * perpendicular, C_W * h


@dataclass(frozen=True)
class NearbyKernel:
    """The kernel of two inputs x_0 ± δx/2: K_{++} = k0 + k1 + k2, K_{--} = k0 - k1 + k2, K_{+-} = k0 - k2.

    Attributes:
        k0: of their midpoint, up to second order.
        k1: half the difference of their sizes.
        k2: a quarter of the squared distance of their preactivations, less the midpoint's share.
    """

    k0: float
    k1: float
    k2: float

    @classmethod
    def of(cls, kernel: Float[Tensor, "2 2"]) -> "NearbyKernel":
        """The decomposition of a kernel of two inputs."""
        plus, minus, cross = float(kernel[0, 0]), float(kernel[1, 1]), float(kernel[0, 1])
        return cls((plus + minus + 2 * cross) / 4, (plus - minus) / 2, (plus + minus - 2 * cross) / 4)


def nearby_map(act: Activation, kernel: NearbyKernel, C_b: float, C_W: float) -> NearbyKernel:
    """One layer for two inputs that are close: k0' = C_b + C_W g(k0), k1' = χ_par k1, k2' = χ_perp k2 + h k1², to second order in their distance.

    Raises:
        InputError: a negative variance, or k0 that is not positive.
    """
    at = torch.tensor(kernel.k0, dtype=torch.float64)
    parallel, perpendicular, h = (float(value) for value in susceptibilities(act, at, C_W))
    return NearbyKernel(float(kernel_map(act, at, C_b, C_W)), parallel * kernel.k1, perpendicular * kernel.k2 + h * kernel.k1**2)


def cross_averages(
    act: Activation, kernel: Float[Tensor, "inputs inputs"], method: str = "auto"
) -> tuple[Float[Tensor, "inputs inputs"], Float[Tensor, "inputs inputs"]]:
    r"""<σ_a σ_b> and <σ'_a σ'_b> for all pairs of D inputs.

    Args:
        act: the activation.
        kernel: K, (D, D) float64.
        method: ``"closed"`` forms, where the activation has them; ``"quadrature"`` for every pair; ``"hermite"``, the expansion :math:`\sum_k c_k(K_{aa}) c_k(K_{bb}) \rho^k` of both functions in Hermite
            polynomials to order 64, with what is left (even and odd part) put on the next two orders, so that equal and opposite inputs are exact: O(D²), good to about 1e-7 for smooth functions and to
            about 1e-3 for kinked ones. ``"auto"`` takes the first that is exact and fast enough: closed forms, quadrature up to 10 inputs, the expansion beyond.

    Raises:
        InputError: no covariance, an unknown method, or no closed form.
    """
    choose("method", method, ("auto", "closed", "quadrature", "hermite"))
    check_covariance(kernel)
    kernel = kernel.double()
    closed = CLOSED_FORMS.get(act.name)
    if method == "closed" and closed is None:
        raise InputError(f"{act.name} has no closed form here: use quadrature or hermite")
    if closed is not None and method in ("auto", "closed"):
        sizes = kernel.diagonal()
        return closed(sizes[:, None], sizes[None, :], kernel)
    if method == "quadrature" or (method == "auto" and len(kernel) * (len(kernel) + 1) / 2 <= _MOST_QUADRATURES):
        return _by_quadrature(act, kernel)
    return _by_expansion(act, act, kernel), _by_expansion(Activation(act.name, act.derivative, kinks=act.kinks), act, kernel)


def _by_quadrature(act: Activation, kernel: Tensor) -> tuple[Tensor, Tensor]:
    values, slopes = torch.zeros_like(kernel), torch.zeros_like(kernel)
    z, weights = gauss_nodes(kernel.diagonal().clamp(min=0), act.kinks)
    values.diagonal().copy_((weights * act(z).square()).sum(dim=-1))
    slopes.diagonal().copy_((weights * act.derivative(z).square()).sum(dim=-1))
    for a in range(len(kernel)):
        for b in range(a):
            z_a, z_b, weights = pair_nodes(kernel[[a, b]][:, [a, b]], act.kinks)
            values[a, b] = values[b, a] = (weights * act(z_a) * act(z_b)).sum()
            slopes[a, b] = slopes[b, a] = (weights * act.derivative(z_a) * act.derivative(z_b)).sum()
    return values, slopes


def _by_expansion(function: Activation, act: Activation, kernel: Tensor) -> Tensor:
    sizes = kernel.diagonal().clamp(min=0)
    z, weights = gauss_nodes(sizes, act.kinks, points=24)
    deviations = sizes.sqrt()[:, None]
    u = torch.where(deviations > 0, z / deviations.clamp(min=1e-300), 0.0)
    value = function(z)
    weighted = weights * value
    before, at = torch.zeros_like(u), torch.ones_like(u)
    coefficients = []
    for order in range(_ORDERS):
        coefficients.append((weighted * at).sum(dim=-1))
        before, at = at, (u * at - order**0.5 * before) / (order + 1) ** 0.5
    found = torch.stack(coefficients)
    mirrored = (weighted * function(-z)).sum(dim=-1)
    same = (weighted * value).sum(dim=-1)
    left = [
        (part - found[parity::2].square().sum(dim=0)).clamp(min=0).sqrt()
        for parity, part in enumerate(((same + mirrored) / 2, (same - mirrored) / 2))
    ]
    size = (sizes[:, None] * sizes[None, :]).sqrt()
    cosine = torch.where(size > 0, kernel / size.clamp(min=1e-300), 0.0).clamp(-1, 1)
    power, total = torch.ones_like(kernel), torch.zeros_like(kernel)
    for coefficient in (*found, *left):
        total.addcmul_(power, coefficient[:, None] * coefficient[None, :])
        power = power * cosine
    return total


def first_kernel(x: Float[Tensor, "inputs features"], C_b: float, C_W: float) -> Float[Tensor, "inputs inputs"]:
    """K^1 of D inputs (D, n_0): C_b + C_W x_a · x_b / n_0, float64.

    Raises:
        InputError: a negative variance, or inputs that are not finite.
    """
    check_variances(C_b, C_W)
    if not bool(torch.isfinite(x).all()):
        raise InputError("the inputs are not all finite")
    return C_b + C_W * (x.double() @ x.double().mT) / x.shape[1]


@dataclass(frozen=True)
class KernelFlow:
    """The kernels of D inputs at the layers 1..L of an infinitely wide network.

    Attributes:
        kernel: K, (L, D, D) float64.
        tangent: Θ, the neural tangent kernel, (L, D, D) float64.
    """

    kernel: Float[Tensor, "layers inputs inputs"]
    tangent: Float[Tensor, "layers inputs inputs"]

    @property
    def cosine(self) -> Float[Tensor, "layers inputs inputs"]:
        """The correlations K_ab / sqrt(K_aa K_bb), (L, D, D)."""
        deviations = self.kernel.diagonal(dim1=-2, dim2=-1).sqrt()
        return self.kernel / (deviations[:, :, None] * deviations[:, None, :])


def kernel_flow(
    act: Activation,
    first: Float[Tensor, "inputs inputs"],
    depth: int,
    C_b: float,
    C_W: float,
    *,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
    residual: float = 0.0,
    method: str = "auto",
) -> KernelFlow:
    """K and Θ of D inputs through the layers.

    Args:
        act: the activation.
        first: K^1, (D, D) float64; see `first_kernel`.
        depth: L, at least 1.
        C_b, C_W: variances, as in `kernel_map`; C_W must be positive, since K^1 tells the first layer's features.
        lambda_b, lambda_W: learning rates of biases, and of weights times the number of their inputs.
        residual: γ.
        method: see `cross_averages`.

    Raises:
        InputError: depth below 1, no covariance, a negative variance, or γ outside [0, 1).
    """
    check_variances(C_b, C_W, residual)
    if depth < 1 or C_W == 0:
        raise InputError(f"a flow has at least one layer and weights that vary, not depth={depth}, C_W={C_W}")
    kernel = first.double()
    tangent = lambda_b + lambda_W * (kernel - C_b) / C_W
    kernels, tangents = [kernel], [tangent]
    for _ in range(depth - 1):
        values, slopes = cross_averages(act, kernel, method)
        tangent = lambda_b + lambda_W * values + (C_W * slopes + residual**2) * tangent
        kernel = C_b + C_W * values + residual**2 * kernel
        kernels.append(kernel)
        tangents.append(tangent)
    return KernelFlow(torch.stack(kernels), torch.stack(tangents))
