r"""Positions: learned absolute ones, sinusoids, and learned biases that depend on the offset of a pair alone.

A relative bias is a table with one entry a head and offset, added to the logits of attention: :math:`q_i \cdot k_j + b_{j-i}`. As a matrix it is Toeplitz, so that it is handed out as its *diagonals*
(`ordinate.nn.toeplitz`): 2 L - 1 numbers a head in place of L x L. On a grid of H x W the offsets are pairs, :math:`b_{(y_j - y_i,\, x_j - x_i)}`, and a leading class token, which has no place on the grid, has three
numbers of its own: for a patch that looks at it, for itself looking at a patch, and at itself.

Sources: Vaswani et al. (2017), section 3.5, for sinusoids; Shaw et al. (2018) and Raffel et al. (T5, 2020) for biases by offset; Liu et al. (Swin, 2021) for the table over a grid.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.nn.toeplitz import offset_places, offsets_ahead

__all__ = ["AbsolutePositions", "RelativeBias", "RelativeBias2d", "sinusoids"]

_INIT = 0.02


def sinusoids(
    length: int, dim: int, *, offset: int = 0, base: float = 10000.0, device: torch.device | str | None = None
) -> Float[Tensor, "length dim"]:
    """(L, D): for i < D / 2 the sines of position x base^(-2 i / D) in the first half, their cosines in the second.

    Raises:
        InputError: an odd width.
    """
    if dim < 2 or dim % 2:
        raise InputError(f"sinusoids need an even width, not {dim}")
    rates = torch.exp(torch.arange(dim // 2, device=device) * (-2 * math.log(base) / dim))
    angles = torch.arange(offset, offset + length, device=device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class AbsolutePositions(nn.Module):
    """A vector a position, to be added to the embeddings: (L, D)."""

    table: Tensor

    def __init__(self, max_length: int, dim: int, *, kind: str = "learned") -> None:
        """
        Args:
            max_length: how many positions.
            dim: the width.
            kind: ``"learned"`` (N(0, 0.02) at first), or ``"sinusoidal"``, which has no parameters.

        Raises:
            InputError: an unknown kind, a number below 1, or an odd width for sinusoids.
        """
        super().__init__()
        if min(max_length, dim) < 1:
            raise InputError(f"positions need max_length and dim of at least 1, not {max_length} and {dim}")
        self.max_length, self.dim = max_length, dim
        self.kind = choose("kind of positions", kind, ("learned", "sinusoidal"))
        if kind == "sinusoidal":
            self.register_buffer("table", sinusoids(max_length, dim), persistent=False)
        else:
            self.table = nn.Parameter(torch.randn(max_length, dim) * _INIT)

    def forward(self, length: int, *, offset: int = 0) -> Float[Tensor, "length dim"]:
        """The vectors of positions `offset` to `offset + length`.

        Raises:
            InputError: learned positions end before that.
        """
        if offset + length > self.max_length:
            if self.kind == "sinusoidal":
                return sinusoids(length, self.dim, offset=offset, device=self.table.device).to(self.table.dtype)
            raise InputError(
                f"there are {self.max_length} learned positions, and {offset + length} are asked for: raise max_length, or use sinusoidal ones"
            )
        return self.table[offset : offset + length]


class RelativeBias(nn.Module):
    """A learned bias a head and offset of a sequence."""

    def __init__(self, heads: int, max_length: int, *, causal: bool = False, clamp: bool = True) -> None:
        """
        Args:
            heads: H.
            max_length: the longest sequence with an entry of its own for every offset.
            causal: there are no offsets ahead: they are -inf.
            clamp: offsets beyond the table take its outermost entry; otherwise they are refused.

        Raises:
            InputError: a number below 1.
        """
        super().__init__()
        if min(heads, max_length) < 1:
            raise InputError(f"a relative bias needs heads and max_length of at least 1, not {heads} and {max_length}")
        self.heads, self.max_length, self.causal, self.clamp = heads, max_length, causal, clamp
        self.table = nn.Parameter(torch.randn(heads, max_length if causal else 2 * max_length - 1) * _INIT)

    def at(self, offsets: Int[Tensor, "n"]) -> Float[Tensor, "heads n"]:
        """The bias of the given offsets j - i, (H, n).

        Raises:
            InputError: an offset beyond the table, without `clamp`.
        """
        reach = self.max_length - 1
        if not self.clamp and offsets.numel() and not torch.compiler.is_compiling() and int(offsets.abs().max()) > reach:
            raise InputError(
                f"offset {int(offsets.abs().max())} is beyond this bias of max_length={self.max_length}: raise it, or let it clamp"
            )
        found = self.table[:, offsets.clamp(-reach, 0 if self.causal else reach) + reach]
        return found.masked_fill(offsets > 0, -torch.inf) if self.causal else found

    def forward(self, rows: int, columns: int | None = None) -> Float[Tensor, "heads offsets"]:
        """The diagonals (H, R + C - 1) of the bias matrix of `rows` by `columns` (as many by default), from offset -(R - 1) to C - 1.

        Raises:
            InputError: an offset beyond the table, without `clamp`.
        """
        across = rows if columns is None else columns
        return self.at(torch.arange(1 - rows, across, device=self.table.device))


class RelativeBias2d(nn.Module):
    """A learned bias a head and pair of offsets of a grid, with or without a leading class token."""

    def __init__(self, heads: int, height: int, width: int, *, causal: bool = False, class_token: bool = False) -> None:
        """
        Args:
            heads: H.
            height: rows of the grid.
            width: columns of the grid.
            causal: a position sees only those that are not after it in row order; the others are -inf.
            class_token: the sequence begins with a token that has no place on the grid.

        Raises:
            InputError: a number below 1.
        """
        super().__init__()
        if min(heads, height, width) < 1:
            raise InputError(f"a relative bias needs heads, height and width of at least 1, not {heads}, {height} and {width}")
        self.heads, self.grid, self.causal = heads, (height, width), causal
        self.table = nn.Parameter(torch.randn(heads, 2 * height - 1, 2 * width - 1) * _INIT)
        self.class_bias = nn.Parameter(torch.randn(heads, 3) * _INIT) if class_token else None

    def forward(self) -> Float[Tensor, "heads down across"]:
        """The diagonals over the grid, (H, 2 h - 1, 2 w - 1), without the class token's."""
        if not self.causal:
            return self.table
        return self.table.masked_fill(offsets_ahead(self.grid, self.grid, self.table.device), -torch.inf)

    def matrix(self, length: int | None = None) -> Float[Tensor, "heads length length"]:
        """The bias matrix of the first `length` positions (all by default), class token first where there is one.

        Raises:
            InputError: there are not so many positions.
        """
        cells = self.grid[0] * self.grid[1]
        lead = int(self.class_bias is not None)
        wanted = cells + lead if length is None else length
        if not lead <= wanted <= cells + lead:
            raise InputError(f"this grid has {cells + lead} positions, not {length}")
        count = wanted - lead
        body = self().flatten(1)[:, offset_places(self.grid, self.grid, 0, count, self.table.device)[:, :count]]
        if self.class_bias is None:
            return body
        to_class, from_class, own = self.class_bias.unbind(1)
        ahead = torch.full_like(from_class, -torch.inf) if self.causal else from_class
        first = torch.cat([own[:, None], ahead[:, None].expand(-1, count)], dim=1)
        rest = torch.cat([to_class[:, None, None].expand(-1, count, 1), body], dim=2)
        return torch.cat([first[:, None], rest], dim=1)
