r"""Rotary positions: each pair of a head's dimensions is turned by an angle that grows with the position, so that scores depend on offsets alone.

With d dimensions a head, pairs :math:`j = 0, \dots, d/2 - 1` and :math:`\theta_j = b^{-2j/d}`, the pair :math:`(x_j, x_{j + d/2})` at position p becomes

.. math:: (x_j \cos p\theta_j - x_{j+d/2} \sin p\theta_j,\; x_{j+d/2} \cos p\theta_j + x_j \sin p\theta_j), \qquad \langle R_p q, R_r k\rangle = \langle R_{p-r}\, q, k\rangle .

Pairs may also lie side by side, :math:`(x_{2j}, x_{2j+1})` (the interleaved layout of the original): the same map after a permutation of the dimensions. Angles are computed in float32 at least, and cast last.
A rule that stretches the positions is a subclass with `frequencies` of its own, offered by name in its file's constant `ROTARY`; one whose frequencies depend on the length asked for says so in `by_length`, and a cache then keeps keys that are not yet turned.

Source: Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding (2021), section 3.2.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.discovery import offered
from ordinate.ground.errors import InputError, choose

__all__ = ["LAYOUTS", "ROTARY", "Rotary", "create_rotary", "interleaved_to_half", "turn"]

LAYOUTS = ("half", "interleaved")


def turn(
    x: Float[Tensor, "batch heads length head"], cos: Float[Tensor, "rows length half"], sin: Float[Tensor, "rows length half"], layout: str
) -> Float[Tensor, "batch heads length head"]:
    """x with its pairs turned by the angles whose cosines and sines are given, one row for all sequences or one each."""
    cos, sin = cos[:, None].to(x.dtype), sin[:, None].to(x.dtype)
    if layout == "half":
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1).flatten(-2)


def interleaved_to_half(head_dim: int) -> Tensor:
    """The permutation (d,) that brings dimensions whose pairs lie side by side into halves: ``x[..., interleaved_to_half(d)]``."""
    return torch.cat([torch.arange(0, head_dim, 2), torch.arange(1, head_dim, 2)])


class Rotary(nn.Module):
    """Turns queries and keys; has no parameters."""

    by_length = False
    """Whether the frequencies depend on how long the sequence is."""

    def __init__(self, head_dim: int, *, base: float = 10000.0, layout: str = "half") -> None:
        """
        Args:
            head_dim: d, even.
            base: b.
            layout: ``"half"``: pairs are (j, j + d/2); ``"interleaved"``: (2 j, 2 j + 1).

        Raises:
            InputError: an odd width, a base of 1 or less, or an unknown layout.
        """
        super().__init__()
        if head_dim < 2 or head_dim % 2:
            raise InputError(f"rotary positions turn pairs of dimensions: a head's width must be even, not {head_dim}")
        if not base > 1:
            raise InputError(f"the base of rotary positions must be above 1, not {base}")
        self.head_dim, self.base = head_dim, base
        self.layout = choose("layout of rotary positions", layout, LAYOUTS)

    def frequencies(self, length: int, device: torch.device | None = None) -> Float[Tensor, " half"]:
        """The angle a position of every pair, (d/2,) float32, in a sequence of `length`."""
        return self.base ** (-torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=device) / self.head_dim)

    def tables(
        self, positions: Tensor, length: int, dtype: torch.dtype = torch.float32
    ) -> tuple[Float[Tensor, "rows length half"], Float[Tensor, "rows length half"]]:
        """Cosines and sines at positions (L,) or (B, L), whole or fractional: (1 or B, L, d/2), in float64 where `dtype` is."""
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        angles = positions.to(wide)[..., None] * self.frequencies(length, positions.device).to(wide)
        angles = angles if angles.ndim == 3 else angles[None]
        return angles.cos(), angles.sin()

    def forward(
        self, x: Float[Tensor, "batch heads length head"], positions: Tensor, length: int
    ) -> Float[Tensor, "batch heads length head"]:
        """Queries or keys (B, H, L, d), turned.

        Args:
            x: of positions (L,) or (B, L).
            positions: whole or fractional.
            length: of the whole sequence, which rules that stretch by length need.

        Raises:
            InputError: heads of another width, or positions of another shape.
        """
        if x.shape[-1] != self.head_dim:
            raise InputError(f"these rotary positions turn heads of width {self.head_dim}, not {x.shape[-1]}")
        if positions.shape not in (x.shape[2:3], (x.shape[0], x.shape[2])):
            raise InputError(
                f"positions must be ({x.shape[2]},) or ({x.shape[0]}, {x.shape[2]}), one a token, not {tuple(positions.shape)}"
            )
        return turn(x, *self.tables(positions, length, x.dtype), self.layout)


ROTARY: dict[str, Callable[..., Rotary]] = {"plain": Rotary}


@cache
def _rules() -> dict[str, Callable[..., Rotary]]:
    return offered("ordinate.nn", "ROTARY")


def create_rotary(head_dim: int, scaling: str = "plain", **arguments: Any) -> Rotary:
    """Rotary positions by the name of their rule.

    Args:
        head_dim: the width of a head, even.
        scaling: ``"plain"``, or another rule that is offered.
        arguments: `base`, `layout`, and whatever else the rule takes.

    Raises:
        InputError: an unknown rule, or an argument that it does not have.
    """
    rule = _rules()[choose("rule of rotary positions", scaling, _rules())]
    try:
        return rule(head_dim, **arguments)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise InputError(f"rotary positions {scaling!r}: {str(error).split('()')[-1].strip()}") from None
