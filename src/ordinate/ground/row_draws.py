r"""Random numbers that belong to rows: each is a pure function of (keys, row, place), whichever rows are asked for together.

A generator has to be read in order, so that what row 7 gets depends on who was read before it, or it has to be seeded anew for every row. Here a number is a hash of where it stands. With the finaliser :math:`m` of SplitMix64
and its increment :math:`\gamma`, the bits at place p of row r are :math:`m(m(m(k) + \gamma r) + \gamma (p + 1))`, k derived from the keys; all places of all rows are computed at once, with the same bits on any machine.

Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), Figure 16 with the constants of its variant 13.
"""

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive

__all__ = ["row_normal", "row_uniform"]

_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)


def row_uniform(rows: Int64[Tensor, " rows"], count: int, *keys: int | str) -> Float64[Tensor, "rows count"]:
    """Numbers uniform in (0, 1), `count` for each row.

    Args:
        rows: (R,) their numbers, 0 or more, on the CPU.
        count: 1 or more. The first numbers of a row are the same however many are asked for.
        keys: what they are for.

    Raises:
        InputError: a negative row, or a count below 1.
    """
    if count < 1 or (len(rows) and int(rows.min()) < 0):
        raise InputError(f"rows are counted from 0 and each draws at least 1 number, not {count}")
    start = _mixed(_mixed(torch.tensor(derive(*keys))) + _GAMMA * rows)
    bits = _mixed(start[:, None] + _GAMMA * (torch.arange(count) + 1))
    return (_shifted(bits, 11).double() + 0.5) / 2**53


def row_normal(rows: Int64[Tensor, " rows"], count: int, *keys: int | str) -> Float64[Tensor, "rows count"]:
    """Standard normal numbers, `count` for each row; see :func:`row_uniform`."""
    return torch.special.ndtri(row_uniform(rows, count, *keys))


def _mixed(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)) * _FIRST
    bits = (bits ^ _shifted(bits, 27)) * _SECOND
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    # torch shifts signed integers arithmetically: clear the copies of the sign
    return (bits >> by) & ((1 << (64 - by)) - 1)
