r"""Averages over Gaussians, :math:`\langle f \rangle_K = \mathbb E_{z \sim \mathcal N(0, K)} f(z)`, by quadrature in double precision.

For one variable :math:`z = \sqrt K u` the line is cut into panels that narrow towards 0, so that one set serves every variance from :math:`10^{-4}` to :math:`10^3`, and at the kinks of f; every panel gets a
Gauss-Legendre rule, and :math:`|u| \le 12` is all there is in double precision. Gauss-Hermite nodes, which converge like 1/nodes at a kink, are used only for three variables or more.

For two, :math:`z_a = \sqrt{K_{aa}}\,u` and :math:`z_b = \sqrt{K_{bb}}\,(\rho u + \sqrt{1 - \rho^2}\,v)`; the inner panels are cut where :math:`z_b` crosses a kink.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["check_covariance", "gauss_avg", "gauss_nodes", "joint_avg", "pair_nodes"]

_REACH = 12.0
_EDGES = (0.02, 0.06, 0.15, 0.35, 0.75, 1.5, 2.5, 4.0, 6.0, 8.5, _REACH)
_POINTS = 12
_HERMITE_POINTS = {3: 48, 4: 24}


@cache
def _panels(points: int) -> tuple[Tensor, Tensor, Tensor]:
    """The edges of the panels in units of the standard deviation, and the nodes and weights of a panel from -1 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    edges = torch.tensor([*(-edge for edge in reversed(_EDGES)), 0.0, *_EDGES], dtype=torch.float64)
    return edges, torch.from_numpy(nodes), torch.from_numpy(weights)


def _unit_nodes(
    cuts: Float[Tensor, "*batch cuts"] | None, points: int = _POINTS
) -> tuple[Float[Tensor, "*nodes"], Float[Tensor, "*nodes"]]:
    """Nodes and weights (with the density in them) of a standard Gaussian, with further cuts at the places given."""
    edges, places, weights = _panels(points)
    if cuts is not None and cuts.shape[-1]:
        cuts = cuts.nan_to_num(nan=0.0).clamp(-_REACH, _REACH)
        edges = torch.cat([edges.expand(*cuts.shape[:-1], -1), cuts], dim=-1).sort(dim=-1).values
    half = (edges[..., 1:] - edges[..., :-1])[..., None] / 2
    u = (edges[..., :-1, None] + half + half * places).flatten(-2)
    return u, (half * weights).flatten(-2) * torch.exp(-u.square() / 2) / math.sqrt(2 * math.pi)


def gauss_nodes(
    variance: Float[Tensor, "*batch"], kinks: Sequence[float] = (), points: int = _POINTS
) -> tuple[Float[Tensor, "*batch nodes"], Float[Tensor, "*batch nodes"]]:
    """Where to evaluate functions of z ~ N(0, K), and the weights that sum to 1: <f> = (w · f(z)) summed over the nodes.

    Args:
        variance: K, any shape, float64, 0 or more.
        kinks: of the functions, besides 0.
        points: nodes in each of the 22 panels.

    Returns:
        z and w, each (..., nodes) float64.

    Raises:
        InputError: a variance that is negative or not finite.
    """
    if not bool((torch.isfinite(variance) & (variance >= 0)).all()):
        raise InputError(f"variances must be finite and 0 or more, not {variance.min().item():.4g} to {variance.max().item():.4g}")
    deviation = variance.sqrt()[..., None]
    away = [kink for kink in kinks if kink != 0]
    u, weights = _unit_nodes(torch.tensor(away, dtype=torch.float64) / deviation if away else None, points)
    z = deviation * u
    return z, weights.expand(z.shape)


def gauss_avg(
    f: Callable[[Tensor], Tensor], variance: Float[Tensor, "*batch"] | float, kinks: Sequence[float] = ()
) -> Float[Tensor, "*batch"]:
    """<f> over z ~ N(0, K), float64.

    Args:
        f: elementwise.
        variance: K, a number or any shape.
        kinks: where f or its first derivatives jump, besides 0.

    Raises:
        InputError: a negative variance, or an f that is not finite within 12 standard deviations.
    """
    z, weights = gauss_nodes(torch.as_tensor(variance, dtype=torch.float64), kinks)
    values = f(z)
    if not bool(torch.isfinite(values).all()):
        raise InputError(
            f"the function is not finite at z = {float(z[~torch.isfinite(values)].abs().min()):.4g}: it has no average at this variance"
        )
    return (weights * values).sum(dim=-1)


def check_covariance(covariance: Float[Tensor, "dim dim"]) -> None:
    """Raise `InputError` unless the matrix is symmetric, finite and has no eigenvalue below 0 (to rounding)."""
    if not bool(torch.isfinite(covariance).all()) or not torch.allclose(covariance, covariance.mT, rtol=1e-8, atol=1e-12):
        raise InputError("a covariance is a symmetric matrix of finite numbers")
    lowest = float(torch.linalg.eigvalsh(covariance)[0])
    if lowest < -1e-9 * max(1e-300, float(covariance.diagonal().abs().max())):
        raise InputError(f"a covariance has no negative eigenvalues, and this one has {lowest:.4g}")


def pair_nodes(
    covariance: Float[Tensor, "2 2"], kinks: Sequence[float] = ()
) -> tuple[Float[Tensor, "outer 1"], Float[Tensor, "outer inner"], Float[Tensor, "outer inner"]]:
    """Nodes z_a (U, 1) and z_b (U, V) and weights (U, V) for functions of two Gaussians with this covariance; their products broadcast.

    Raises:
        InputError: no covariance.
    """
    check_covariance(covariance)
    a, b = (float(variance) ** 0.5 for variance in covariance.diagonal().clamp(min=0))
    cosine = max(-1.0, min(1.0, float(covariance[0, 1]) / (a * b))) if a * b > 0 else 0.0
    sine = math.sqrt(1 - cosine * cosine)
    z_a, w_a = gauss_nodes(torch.tensor(a * a, dtype=torch.float64), kinks)
    u = z_a / a if a > 0 else gauss_nodes(torch.ones((), dtype=torch.float64))[0]
    places = torch.tensor([0.0, *(kink for kink in kinks if kink != 0)], dtype=torch.float64)
    cuts = (places / b - cosine * u[:, None]) / sine if b > 0 and sine > 0 else None
    v, w_v = _unit_nodes(cuts)
    z_b = b * (cosine * u[:, None] + sine * v)
    return z_a[:, None], z_b, w_a[:, None] * w_v


def joint_avg(f: Callable[[Tensor], Tensor], covariance: Float[Tensor, "dim dim"], kinks: Sequence[float] = ()) -> Tensor:
    """<f> over z ~ N(0, K) with D variables, float64 ().

    Args:
        f: (D, ...) -> (...), of the D variables along the first dimension.
        covariance: K, (D, D), D at most 4. For D above 2 the rule is Gauss-Hermite's, with kinks good to about 1e-3.
        kinks: where f jumps or bends in any of its variables, besides 0.

    Raises:
        InputError: no covariance, or more than four variables.
    """
    covariance = covariance.double()
    check_covariance(covariance)
    dim = len(covariance)
    if dim == 1:
        return gauss_avg(lambda z: f(z[None]), covariance[0, 0].clamp(min=0), kinks)
    if dim == 2:
        z_a, z_b, weights = pair_nodes(covariance, kinks)
        return (weights * f(torch.stack([z_a.expand_as(z_b), z_b]))).sum()
    if dim not in _HERMITE_POINTS:
        raise InputError(f"averages are taken over at most four Gaussians jointly, not {dim}")
    nodes, weights_1 = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(_HERMITE_POINTS[dim]))
    weights_1 = weights_1 / weights_1.sum()
    grid = torch.stack([axis.flatten() for axis in torch.meshgrid(*[nodes] * dim, indexing="ij")])
    weights = torch.stack([axis.flatten() for axis in torch.meshgrid(*[weights_1] * dim, indexing="ij")]).prod(dim=0)
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt()
    return (weights * f(root @ grid)).sum()
