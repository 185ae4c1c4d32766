"""Representations as matrices: a row an example, a column a unit.

What a layer gives has often more dimensions, positions of a sequence or places of an image, and measures of representations are defined for two. Which unit counts (one position, their mean, all of them) is a choice that changes the
answer, so it is made by name: `pooling`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ordinate.ground.errors import InputError, choose

__all__ = ["POOLINGS", "check_representation", "edit_units", "pooling"]

POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "positions": lambda a: a.flatten(1, -2).mean(dim=1) if a.ndim > 2 else a,
    "space": lambda a: a.flatten(2).mean(dim=2) if a.ndim > 2 else a,
    "first": lambda a: a.flatten(1, -2)[:, 0] if a.ndim > 2 else a,
    "last": lambda a: a.flatten(1, -2)[:, -1] if a.ndim > 2 else a,
    "flatten": lambda a: a.flatten(1),
}


def pooling(name: str) -> Callable[[Tensor], Tensor]:
    """A function from an activation (B, ...) to a representation (B, d); an activation (B, d) stays as it is.

    Args:
        name: ``"positions"`` is the mean over everything between the first dimension and the last, as for (B, L, D); ``"space"`` the mean over everything after the second, as for (B, C, H, W); ``"first"`` and ``"last"``
            are one position of (B, L, D); ``"flatten"`` keeps all.

    Raises:
        InputError: no such pooling.
    """
    return POOLINGS[choose("pooling", name, POOLINGS)]


def check_representation(
    phi: Float[Tensor, "rows *units"], *, name: str = "the representation", least: int = 2
) -> Float64[Tensor, "rows units"]:
    """The representation in float64 on the CPU, if it is one.

    Args:
        phi: (n, d).
        name: how a message calls it.
        least: rows that are needed.

    Raises:
        InputError: not two dimensions, fewer rows than needed, no units, or a value that is not finite.
    """
    if phi.ndim != 2:
        raise InputError(
            f"{name} has shape {tuple(phi.shape)}, and (examples, units) is needed: pool it first, by one of {', '.join(sorted(POOLINGS))}"
        )
    if len(phi) < least or not phi.shape[1]:
        raise InputError(f"{name} has {len(phi)} rows of {phi.shape[1]} units: at least {least} rows and one unit are needed")
    if not bool(torch.isfinite(phi).all()):
        bad = int((~torch.isfinite(phi)).any(dim=1).sum())
        raise InputError(f"{name} is not finite in {bad} of {len(phi)} rows")
    return phi.detach().cpu().double()


def edit_units(activation: Float[Tensor, "batch ..."], name: str, change: Callable[[Tensor], Tensor]) -> Float[Tensor, "batch ..."]:
    """Change an activation in the units that a pooling reads, so that the pooled representation changes likewise.

    Args:
        activation: (B, ...) as the layer gave it.
        name: of the pooling, see `pooling`.
        change: from (B, places, d) to the same shape: the places that are averaged, the one that is taken, or the whole as one.

    Raises:
        InputError: no such pooling.
    """
    choose("pooling", name, POOLINGS)
    if activation.ndim == 2:
        return change(activation[:, None])[:, 0]
    if name == "flatten":
        return change(activation.flatten(1)[:, None])[:, 0].view_as(activation)
    if name == "space":
        return change(activation.flatten(2).mT).mT.reshape(activation.shape)
    places = activation.flatten(1, -2)
    if name == "positions":
        return change(places).reshape(activation.shape)
    chosen = slice(0, 1) if name == "first" else slice(places.shape[1] - 1, None)
    changed = places.clone()
    changed[:, chosen] = change(places[:, chosen])
    return changed.view_as(activation)
