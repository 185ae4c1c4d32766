r"""Rotary positions: each pair of a head's dimensions is turned by an angle that grows with the position, so that scores depend on offsets alone.

With d dimensions a head, pairs :math:`j = 0, \dots, d/2 - 1` and :math:`\theta_j = b^{-2j/d}`, the pair :math:`(x_j, x_{j + d/2})` at position p becomes

.. math:: (x_j \cos p\theta_j - x_{j+d/2} \sin p\theta_j,\; x_{j+d/2} \cos p\theta_j + x_j \sin p\theta_j), \qquad \langle R_p q, R_r k\rangle = \langle R_{p-r}\, q, k\rangle .

Pairs may also lie side by side, :math:`(x_{2j}, x_{2j+1})` (the interleaved layout of the original): the same map after a permutation of the dimensions. Angles are computed in float32 at least, and cast last.

A rule is a subclass that changes the frequencies, the places of the tokens, or the length of the vectors, and is offered by name in its file's constant `ROTARY`. A model asks it once a forward pass for the `Turns` of all its layers. A rule
whose turns depend on the length of the sequence says so in `by_length`, and a cache then keeps keys that are not yet turned.

Source: Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding (2021), section 3.2.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.discovery import offered
from ordinate.ground.errors import InputError, choose

__all__ = ["LAYOUTS", "ROTARY", "Rotary", "Turns", "create_rotary", "interleaved_to_half"]

LAYOUTS = ("half", "interleaved")


class Turns(NamedTuple):
    """How the tokens of one forward pass are turned: (1 or B, L, d/2) each.

    Attributes:
        cos, sin: of the angles.
        stretch: what queries are multiplied by and keys divided by, or None.
    """

    cos: Tensor
    sin: Tensor
    stretch: Tensor | None = None

    def last(self) -> "Turns":
        """Those of the last token."""
        return Turns(self.cos[:, -1:], self.sin[:, -1:], None if self.stretch is None else self.stretch[:, -1:])


def interleaved_to_half(head_dim: int) -> Tensor:
    """The permutation (d,) that brings dimensions whose pairs lie side by side into halves: ``x[..., interleaved_to_half(d)]``."""
    return torch.cat([torch.arange(0, head_dim, 2), torch.arange(1, head_dim, 2)])


class Rotary(nn.Module):
    """Turns queries and keys; has no parameters."""

    by_length = False
    """Whether turns depend on how long the sequence is."""

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

    def places(self, batch: int, length: int, device: torch.device | None = None) -> Tensor:
        """Where the tokens of a sequence stand, (L,) or (B, L): 0, 1, ... here."""
        return torch.arange(length, device=device)

    def stretch(self, positions: Tensor, length: int) -> Tensor | None:
        """What queries at positions (rows, L), float, are multiplied by and keys divided by, (rows, L, d/2); None here."""
        return None

    def turns(self, positions: Tensor, length: int, dtype: torch.dtype = torch.float32) -> Turns:
        """How tokens at `positions` are turned.

        Args:
            positions: (L,) or (B, L), whole or fractional.
            length: of the whole sequence.
            dtype: angles are computed in float64 where this is, in float32 otherwise.

        Raises:
            InputError: positions of another shape.
        """
        if positions.ndim not in (1, 2):
            raise InputError(f"positions are (L,) or (B, L), one a token, not {tuple(positions.shape)}")
        rows = positions.to(torch.float64 if dtype == torch.float64 else torch.float32)
        rows = rows if rows.ndim == 2 else rows[None]
        angles = rows[..., None] * self.frequencies(length, positions.device).to(rows.dtype)
        return Turns(angles.cos(), angles.sin(), self.stretch(rows, length))

    def forward(
        self, x: Float[Tensor, "batch heads length head"], turns: Turns, *, keys: bool = False
    ) -> Float[Tensor, "batch heads length head"]:
        """Queries or keys (B, H, L, d), turned.

        Args:
            x: of as many tokens as `turns` has.
            turns: see :meth:`turns`.
            keys: they are keys.

        Raises:
            InputError: heads of another width, or another number of tokens.
        """
        if x.shape[-1] != self.head_dim:
            raise InputError(f"these rotary positions turn heads of width {self.head_dim}, not {x.shape[-1]}")
        if turns.cos.shape[1] != x.shape[2] or turns.cos.shape[0] not in (1, x.shape[0]):
            raise InputError(f"there are positions for {tuple(turns.cos.shape[:2])} tokens, and {(x.shape[0], x.shape[2])} to be turned")
        cos, sin = turns.cos, turns.sin
        if turns.stretch is not None:
            size = turns.stretch.reciprocal() if keys else turns.stretch
            cos, sin = cos * size, sin * size
        cos, sin = cos[:, None].to(x.dtype), sin[:, None].to(x.dtype)
        if self.layout == "half":
            first, second = x.chunk(2, dim=-1)
            return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
        first, second = x[..., 0::2], x[..., 1::2]
        return torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1).flatten(-2)


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
