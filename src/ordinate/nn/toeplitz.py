r"""Toeplitz matrices, and products with them in O(L log L) by the FFT.

A matrix is Toeplitz when its entries depend on the offset alone, :math:`T_{ij} = c_{j-i}`. With R rows and C columns it is given by its R + C - 1 *diagonals*, stored in the order of their offsets:
``diagonals[k]`` is the entry of offset :math:`k - (R - 1)`, so that the first one is the lower left corner and the last one the upper right.

The product :math:`y_i = \sum_j c_{j-i} u_j` is a correlation. With c laid out on a circle of :math:`N \ge R + C - 1` points, offset k at place k mod N, nothing wraps round, and

.. math:: y = \mathcal F^{-1}\bigl(\overline{\mathcal F c} \cdot \mathcal F u\bigr)_{0, \dots, R-1}.

Over a grid of more than one axis (an image) the same holds axis by axis, for matrices that depend on the offset along every axis alone: Toeplitz blocks in a Toeplitz arrangement.
Here a grid is a tuple of lengths, ``(L,)`` for a sequence and ``(H, W)`` for an image, and positions are counted in row order.

The FFT rounds relative to the *largest* term of a product: an output much smaller than others loses its digits. `ordinate.nn.kernel_attention` shows how to guard a quotient against that.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ordinate.ground.errors import InputError, choose

__all__ = [
    "corner",
    "fft_lengths",
    "offset_places",
    "offsets_ahead",
    "smooth_length",
    "toeplitz_matmul",
    "toeplitz_matrix",
    "toeplitz_spectrum",
]


def smooth_length(least: int) -> int:
    """The smallest even number that is at least `least` and has no prime factor beyond 5: a length at which the FFT is fast."""
    best = 2
    while best < least:
        best *= 2
    fives = 1
    while fives < 2 * best:
        threes = fives
        while threes < 2 * best:
            candidate = 2 * threes
            while candidate < least:
                candidate *= 2
            best = min(best, candidate)
            threes *= 3
        fives *= 5
    return best


def fft_lengths(rows: Sequence[int], columns: Sequence[int]) -> tuple[int, ...]:
    """The lengths of the circle along every axis, on which no product of `rows` by `columns` wraps round."""
    return tuple(smooth_length(r + c - 1) for r, c in zip(rows, columns, strict=True))


def toeplitz_matrix(diagonals: Float[Tensor, "*batch offsets"], rows: int) -> Float[Tensor, "*batch rows columns"]:
    """The matrix itself, (..., R, C), from its (..., R + C - 1) diagonals.

    Raises:
        InputError: `rows` is not between 1 and the number of diagonals.
    """
    if not 1 <= rows <= diagonals.shape[-1]:
        raise InputError(f"{diagonals.shape[-1]} diagonals are those of a matrix of 1 to {diagonals.shape[-1]} rows, not {rows}")
    return diagonals.unfold(-1, diagonals.shape[-1] - rows + 1, 1).flip(-2)


def offset_places(rows: Sequence[int], columns: Sequence[int], start: int, stop: int, device: torch.device | str | None = None) -> Tensor:
    """Where rows `start` to `stop` of the matrix of a grid find their entries in the flattened diagonals.

    Args:
        rows: the grid of the rows, ``(R,)`` or ``(H, W)``.
        columns: the grid of the columns.
        start: the first row, counted in row order.
        stop: one past the last.
        device: of the result.

    Returns:
        (stop - start, C) int64: places in ``diagonals.flatten()``, the diagonals having R + C - 1 entries along every axis.
    """
    row, column = torch.arange(start, stop, device=device), torch.arange(math.prod(columns), device=device)
    places = torch.zeros((), dtype=torch.int64, device=device)
    for axis in range(len(rows)):
        here = row // math.prod(rows[axis + 1 :]) % rows[axis]
        there = column // math.prod(columns[axis + 1 :]) % columns[axis]
        places = places * (rows[axis] + columns[axis] - 1) + (there[None, :] - here[:, None] + rows[axis] - 1)
    return places


def offsets_ahead(rows: Sequence[int], columns: Sequence[int], device: torch.device | str | None = None) -> Tensor:
    """Which of the diagonals (*offsets) of a grid lie above the main one in row order: the first axis along which the offset is not zero has it positive."""
    ahead = torch.zeros((), dtype=torch.bool, device=device)
    level = torch.ones((), dtype=torch.bool, device=device)
    for axis in range(len(rows)):
        offset = torch.arange(1 - rows[axis], columns[axis], device=device)
        offset = offset.reshape(*[1] * axis, -1, *[1] * (len(rows) - axis - 1))
        ahead = ahead | (level & (offset > 0))
        level = level & (offset == 0)
    return ahead


def corner(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """A view of the first `lengths` along the last axes of x."""
    for axis, length in enumerate(lengths, start=x.ndim - len(lengths)):
        x = x.narrow(axis, 0, length)
    return x


def toeplitz_spectrum(diagonals: Float[Tensor, "..."], rows: Sequence[int], columns: Sequence[int]) -> Complex[Tensor, "..."]:
    """The conjugate spectrum of the diagonals, by which the spectrum of u is multiplied.

    Args:
        diagonals: (..., *offsets), R + C - 1 entries along every axis of the grid; float32 or float64.
        rows: the grid of the rows.
        columns: the grid of the columns.

    Returns:
        (..., *N) complex, the last axis halved as `torch.fft.rfft` does.

    Raises:
        InputError: the diagonals are not those of such a matrix.
    """
    axes = len(rows)
    if tuple(diagonals.shape[-axes:]) != tuple(r + c - 1 for r, c in zip(rows, columns, strict=True)):
        raise InputError(f"a matrix of {tuple(rows)} by {tuple(columns)} has no diagonals of shape {tuple(diagonals.shape[-axes:])}")
    lengths = fft_lengths(rows, columns)
    circle = diagonals.new_zeros(*diagonals.shape[:-axes], *lengths)
    corner(circle, diagonals.shape[-axes:]).copy_(diagonals)
    circle = circle.roll([1 - r for r in rows], list(range(-axes, 0)))
    return torch.fft.rfftn(circle, dim=list(range(-axes, 0))).conj().resolve_conj()


def toeplitz_matmul(
    diagonals: Float[Tensor, "..."],
    u: Float[Tensor, "... columns channels"],
    *,
    rows: Sequence[int] | int | None = None,
    columns: Sequence[int] | int | None = None,
    causal: bool = False,
    method: str = "fft",
    block: int | None = None,
) -> Float[Tensor, "... rows channels"]:
    """The product of Toeplitz matrices with channels of vectors, differentiable in both.

    Args:
        diagonals: (..., *offsets), R + C - 1 along every axis of the grid; leading axes broadcast against those of u, and are one matrix each: (heads, 2 L - 1) with u (batch, heads, L, channels).
        u: (..., C, channels), the positions of a grid in row order; float32 or float64.
        rows: the grid of the rows; as many as columns by default.
        columns: the grid of the columns; the sequence (C,) by default.
        causal: entries above the diagonal (j > i, in row order) count as zero, whatever they are.
        method: ``"fft"``, or ``"direct"`` for the matrix product that it stands for, in O(R C).
        block: channels transformed at once; all by default. Fewer take less memory.

    Returns:
        (..., R, channels).

    Raises:
        InputError: the shapes do not fit, u is not float32 or float64, or a block below 1.
    """
    choose("method", method, ("fft", "direct"))
    if u.dtype not in (torch.float32, torch.float64):
        raise InputError(f"Toeplitz products are taken in float32 or float64, not {u.dtype}: convert first")
    if block is not None and block < 1:
        raise InputError(f"block must be at least 1 channel, not {block}")
    across = (u.shape[-2],) if columns is None else (columns,) if isinstance(columns, int) else tuple(columns)
    down = across if rows is None else (rows,) if isinstance(rows, int) else tuple(rows)
    if math.prod(across) != u.shape[-2] or len(across) != len(down):
        raise InputError(f"u has {u.shape[-2]} positions and the grids are {down} by {across}")
    axes = len(across)
    if diagonals.ndim < axes or tuple(diagonals.shape[-axes:]) != tuple(r + c - 1 for r, c in zip(down, across, strict=True)):
        raise InputError(f"a matrix of {down} by {across} has no diagonals of shape {tuple(diagonals.shape)}")
    if causal:
        diagonals = diagonals.masked_fill(offsets_ahead(down, across, diagonals.device), 0)
    if method == "direct" or u.numel() == 0:
        flat = diagonals.flatten(-axes)
        return flat[..., offset_places(down, across, 0, math.prod(down), flat.device)] @ u
    spectrum = toeplitz_spectrum(diagonals, down, across).unsqueeze(-axes - 1)
    lengths, dims = fft_lengths(down, across), list(range(-axes, 0))
    pieces = []
    for part in u.transpose(-1, -2).split(block or max(1, u.shape[-1]), dim=-2):
        waves = torch.fft.rfftn(part.unflatten(-1, across), s=list(lengths), dim=dims)
        product = torch.fft.irfftn(waves * spectrum, s=list(lengths), dim=dims)
        pieces.append(corner(product, down).flatten(-axes).transpose(-1, -2))
    return torch.cat(pieces, dim=-1)
