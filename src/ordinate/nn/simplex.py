r"""Class directions that never move: the vertices of a regular simplex.

K classes live in :math:`\mathbb R^{K-1}`. With :math:`c = (1 - \sqrt K)/(K - 1)`, the first K - 1 vertices are the unit vectors and the last is :math:`c\,\mathbf 1`; moved so that they sum to zero and scaled to unit length,
their inner products are :math:`-1/(K-1)`, the smallest that K directions can all have. With :math:`\mu = (1 + c)/K` and :math:`s = \sqrt{(1-\mu)^2 + (K-2)\mu^2}` the prototypes are

.. math:: W_j = (e_j - \mu\mathbf 1)/s \quad (j < K - 1), \qquad W_{K-1} = -\mathbf 1/\sqrt{K-1},

so that the logits of features f with sum S are :math:`(f_j - \mu S)/s` and :math:`-S/\sqrt{K-1}`: they take O(K) time and no table, where a product with W takes O(K^2) time and memory.

A table whose rows are turned by one orthogonal map is as good. Turned by a random one, each of its prefixes holds fixed directions for all classes too, which the table above does not: there the first m features say nothing of
all but m classes. That is what a nested embedding is trained against.

Sources: Pernici, Bruni, Baecchi and Del Bimbo, "Regular Polytope Networks", 2021, equations 5 to 8 (d-Simplex); Biondi et al., "Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model
Replacements", 2024. The logits without a table and the turned table for prefixes are ours.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.nn.fixed_representation import random_orthonormal

__all__ = ["check_classes", "prefix_prototypes", "simplex_logits", "simplex_prototypes", "turned_prototypes"]


def check_classes(classes: int) -> int:
    """Give K back.

    Raises:
        InputError: fewer than two, which have no simplex.
    """
    if classes < 2:
        raise InputError(f"a simplex of class directions needs at least two classes, not {classes}")
    return classes


def _constants(classes: int) -> tuple[float, float]:
    """mu, and s."""
    mu = (1 + (1 - math.sqrt(classes)) / (classes - 1)) / classes
    return mu, math.sqrt((1 - mu) ** 2 + (classes - 2) * mu**2)


def simplex_prototypes(
    classes: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Float[Tensor, "classes features"]:
    """The prototypes W (K, K - 1): unit rows that sum to zero, with inner products of -1/(K - 1).

    Args:
        classes: K.
        dtype: of the table.
        device: where it is made.

    Raises:
        InputError: fewer than two classes.
    """
    mu, s = _constants(check_classes(classes))
    table = torch.full((classes, classes - 1), -mu / s, dtype=torch.float64, device=device)
    table[:-1].diagonal().fill_((1 - mu) / s)
    table[-1] = -1 / math.sqrt(classes - 1)
    return table.to(dtype)


def simplex_logits(features: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch classes"]:
    """Inner products (..., K) of features (..., K - 1) with the K prototypes, without the table.

    Raises:
        InputError: no features.
    """
    width = features.shape[-1]
    mu, s = _constants(check_classes(width + 1))
    total = features.sum(dim=-1, keepdim=True)
    return torch.cat([(features - mu * total) / s, -total / math.sqrt(width)], dim=-1)


def turned_prototypes(classes: int, seed: int = 0) -> Float[Tensor, "classes features"]:
    """The prototypes (K, K - 1), float64, turned by an orthogonal map that is uniformly random for each seed.

    Raises:
        InputError: fewer than two classes.
    """
    turn = random_orthonormal(check_classes(classes) - 1, classes - 1, generator("turned simplex", classes, seed))
    return simplex_prototypes(classes, torch.float64) @ turn


def prefix_prototypes(table: Float[Tensor, "classes features"], size: int) -> Float[Tensor, "classes size"]:
    """The directions (K, m) of the classes in the first m features, scaled to unit length anew.

    Raises:
        InputError: m is not among the features, or a class has no direction there.
    """
    if not 1 <= size <= table.shape[1]:
        raise InputError(f"prototypes of {table.shape[1]} features have no prefix of {size}")
    prefix = table[:, :size]
    if bool((prefix.norm(dim=1) < 1e-6).any()):
        raise InputError(f"a class has no direction in the first {size} features: take a turned table")
    return F.normalize(prefix, dim=1)
