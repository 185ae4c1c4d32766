r"""Tables of numbers by offset: one a head and offset j - i, or one a head and bucket of offsets.

- ``unique``: an entry for every offset up to the longest sequence, 2 L - 1 of them.
- ``t5``: near offsets have buckets of their own, farther ones share buckets that widen logarithmically up to a greatest distance; half of the buckets for either side (all of them looking back, where nothing is ahead).
- ``bucketed``: the variant of the URPE code: with h = buckets / 2 and e = h / 2, :math:`|r| < e` keeps its number, others have :math:`e + \lfloor \log(|r| / e) / \log(D / e)\,(h - e) \rfloor`, at most h - 1, with the sign
  of r; those from 0 on are raised by 2, and all are counted from the smallest.

Sources: Raffel et al. (T5, 2020), section 2.1; Luo et al. (URPE, NeurIPS 2022) and its code.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose

__all__ = ["MODES", "OffsetTable", "official_buckets", "t5_buckets"]

MODES = ("unique", "bucketed", "t5")
_INIT = 0.02


def t5_buckets(offsets: Int[Tensor, "*shape"], buckets: int, max_distance: int, causal: bool) -> Int[Tensor, "*shape"]:
    """The bucket of every offset j - i, from 0 to `buckets` - 1."""
    half = buckets if causal else buckets // 2
    base = torch.zeros_like(offsets) if causal else torch.where(offsets > 0, half, 0)
    distance = (-offsets).clamp(min=0) if causal else offsets.abs()
    near = half // 2
    far = near + (torch.log(distance.clamp(min=1).float() / near) / math.log(max_distance / near) * (half - near)).long()
    return base + torch.where(distance < near, distance, far.clamp(max=half - 1))


def official_buckets(offsets: Int[Tensor, "*shape"], buckets: int, max_distance: int, longest: int) -> Int[Tensor, "*shape"]:
    """The bucket of every offset j - i by the URPE code, counted from the smallest of sequences of `longest`."""

    def signed(r: Tensor) -> Tensor:
        half, distance = buckets // 2, r.abs()
        exact = half // 2
        far = exact + (torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact) * (half - exact)).long()
        value = torch.where(distance < exact, distance, far.clamp(max=half - 1)) * r.sign()
        return torch.where(value >= 0, value + 2, value)

    return signed(offsets) - int(signed(torch.arange(1 - longest, longest)).min())


class OffsetTable(nn.Module):
    """A learned number a head and (bucket of an) offset, with the manners of `ordinate.nn.positions.RelativeBias`."""

    def __init__(
        self,
        heads: int,
        max_length: int,
        *,
        mode: str = "unique",
        buckets: int = 64,
        max_distance: int = 128,
        start: float | None = None,
        causal: bool = False,
        clamp: bool = True,
    ) -> None:
        """
        Args:
            heads: H.
            max_length: the longest sequence with an entry of its own for every offset (``unique``), or that buckets are counted for (``bucketed``).
            mode: one of `MODES`.
            buckets: how many; even.
            max_distance: beyond it all offsets share the last bucket.
            start: of all entries; None draws them from N(0, 0.02).
            causal: offsets ahead are not used.
            clamp: offsets beyond the table take its outermost entry; otherwise they are refused (``unique``).

        Raises:
            InputError: an unknown mode, or a number out of range.
        """
        super().__init__()
        self.mode = choose("mode of an offset table", mode, MODES)
        if min(heads, max_length) < 1 or buckets < 4 or buckets % 2 or max_distance <= buckets // 4:
            raise InputError(
                f"a table of offsets needs heads and max_length of at least 1, an even number of buckets from 4 on and a max_distance beyond a quarter of it,"
                f" not {heads}, {max_length}, {buckets} and {max_distance}"
            )
        self.heads, self.max_length, self.buckets, self.max_distance = heads, max_length, buckets, max_distance
        self.causal, self.clamp = causal, clamp
        entries = {"unique": max_length if causal else 2 * max_length - 1, "bucketed": buckets + 1, "t5": buckets}[mode]
        self.table = nn.Parameter(torch.randn(heads, entries) * _INIT if start is None else torch.full((heads, entries), float(start)))
        self.table.decayed = False  # type: ignore[attr-defined]  # a factor of 1 is not to be pulled to 0

    def places(self, offsets: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """Which entry an offset j - i has.

        Raises:
            InputError: an offset beyond the table, without `clamp`.
        """
        if self.mode == "t5":
            return t5_buckets(offsets, self.buckets, self.max_distance, self.causal)
        if self.mode == "bucketed":
            return official_buckets(offsets, self.buckets, self.max_distance, self.max_length).clamp(max=self.buckets)
        reach = self.max_length - 1
        if not self.clamp and offsets.numel() and not torch.compiler.is_compiling() and int(offsets.abs().max()) > reach:
            raise InputError(
                f"offset {int(offsets.abs().max())} is beyond this table of max_length={self.max_length}: raise it, or let it clamp"
            )
        return offsets.clamp(-reach, 0 if self.causal else reach) + reach

    def at(self, offsets: Int[Tensor, "n"]) -> Float[Tensor, "heads n"]:
        """The entries of the given offsets, (H, n)."""
        return self.table[:, self.places(offsets)]

    def forward(self, rows: int, columns: int | None = None) -> Float[Tensor, "heads offsets"]:
        """The diagonals (H, R + C - 1) of the matrix of `rows` by `columns` (as many by default)."""
        return self.at(torch.arange(1 - rows, rows if columns is None else columns, device=self.table.device))
