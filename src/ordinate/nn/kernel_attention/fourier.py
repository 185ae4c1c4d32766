r"""Kernel attention by the FFT, a few features at a time, with the error of every row bounded.

For feature r the channels :math:`u_r = \phi_r(k) \otimes v` go through one FFT, are multiplied by the spectrum of :math:`c = e^{b - \max b}`, come back, and are added to the output with weight :math:`\phi_r(q)`:
no more than a block of features is ever held, forward or backward, and the backward pass transforms again what it needs. The spectrum is taken once, and is shared over batch and features.

**Error.** Every entry of :math:`\mathcal F^{-1}(\hat c\, \hat u)` carries a rounding error of about :math:`\epsilon \|c\|_2 \|u\|_2`, however small the entry. The denominator of row i,
:math:`Z_i = \sum_r \phi_r(q_i) (T \phi_r(k))_i`, is therefore right to a relative

.. math:: e_i = \epsilon\, \|c\|_2 \sum_r |\phi_r(q_i)|\, \|\phi_r(k)\|_2 \,/\, |Z_i|,

and so is the numerator relative to the largest value. Rows with :math:`e_i` above `ROUNDINGS` :math:`\epsilon` are *unreliable*: the first rows of causal attention when later offsets weigh more than the first ones, or rows whose
near keys are padding. The denominators are found first, since they cost one channel in d + 1. If few rows are unreliable, those are computed by their own matrix rows (`ordinate.nn.kernel_attention.direct`), which cannot go wrong; if many are, everything is
done in float64, where :math:`\epsilon` is 2e-16, and what is unreliable even there goes row by row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ordinate.nn.kernel_attention.direct import attend_rows, attend_rows_backward
from ordinate.nn.precision import without_autocast
from ordinate.nn.toeplitz import corner, fft_lengths, offset_places, toeplitz_spectrum

__all__ = ["ROUNDINGS", "attend_fourier", "fourier", "unreliable_rows"]

ROUNDINGS = 1000.0
_ROWS_AT_ONCE = 256
_FEW = 16  # up to one row in so many is computed on its own rather than everything in float64
_CHANNEL_ELEMENTS = {"cpu": 1 << 20, "other": 1 << 26}  # what a block of channels may hold: a cache's worth, or enough to fill a GPU


@dataclass
class _Problem:
    """Inputs in the layout of the FFT and in its precision: G = B x H matrices, channels before positions."""

    phi_q: Tensor  # (G, m, *rows)
    phi_k: Tensor  # (G, m, *columns), with the keys' scale in it
    spectrum: Tensor  # (H, *F)
    weights: Tensor  # (H, *offsets): c, the largest being 1
    key_factor: Tensor | None  # (B, H, C, 1): what the keys were multiplied by, the largest being 1
    shift: Tensor  # (G,): log of what weights and factors were divided by
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    heads: int


def _lay_out(
    phi_q: Tensor,
    phi_k: Tensor,
    diagonals: Tensor,
    key_scale: Tensor | None,
    rows: Sequence[int],
    columns: Sequence[int],
    dtype: torch.dtype,
) -> _Problem:
    batch, heads = phi_q.shape[:2]
    flat = diagonals.to(dtype).flatten(1)
    top = flat.amax(1)
    weights = (flat - top[:, None]).exp().view(diagonals.shape)
    shift = top.repeat(batch)
    keys, factor = phi_k.to(dtype), None
    if key_scale is not None:
        scale = key_scale.to(dtype)
        most = scale.amax(-1, keepdim=True)
        most = most.masked_fill(most == -torch.inf, 0)
        factor = (scale - most).exp()[..., None]
        keys = keys * factor
        shift = shift + most.flatten()
    return _Problem(
        phi_q=_channels_first(phi_q.to(dtype), rows),
        phi_k=_channels_first(keys, columns),
        spectrum=toeplitz_spectrum(weights, rows, columns),
        weights=weights,
        key_factor=factor,
        shift=shift,
        rows=tuple(rows),
        columns=tuple(columns),
        heads=heads,
    )


def _channels_first(x: Tensor, grid: Sequence[int]) -> Tensor:
    return x.flatten(0, 1).mT.contiguous().unflatten(-1, tuple(grid))


def _channels_last(x: Tensor, heads: int, axes: int) -> Tensor:
    return x.flatten(-axes).mT.unflatten(0, (-1, heads))


class _Circle:
    """Forward and inverse FFTs of blocks of channels on the circle of a problem. The padded input is one buffer, whose zeros are written once."""

    def __init__(self, problem: _Problem, channels: int) -> None:
        self.axes = len(problem.rows)
        self.lengths = fft_lengths(problem.rows, problem.columns)
        self.dims = list(range(-self.axes, 0))
        elements = _CHANNEL_ELEMENTS["cpu" if problem.phi_q.device.type == "cpu" else "other"]
        groups, features = problem.phi_q.shape[:2]
        room = max(1, elements // (max(1, channels) * math.prod(self.lengths)))
        self.features = min(features, room)
        self.groups = min(groups, max(1, room // features))
        self.shape = (self.groups, self.features, channels)
        self.like = problem.phi_q
        self.buffers: dict[tuple[int, ...], Tensor] = {}

    def blocks(self) -> list[tuple[slice, slice]]:
        """The blocks of (matrices, features); more than one matrix only with all features."""
        groups, features = self.like.shape[:2]
        return [
            (slice(g, min(g + self.groups, groups)), slice(r, min(r + self.features, features)))
            for g in range(0, groups, self.groups)
            for r in range(0, features, self.features)
        ]

    def product_to_waves(self, left: Tensor, right: Tensor) -> Tensor:
        """The spectrum of left * right, which broadcast to (g, r, channels, *grid)."""
        shape = torch.broadcast_shapes(left.shape, right.shape)
        if shape not in self.buffers:
            self.buffers[shape] = self.like.new_zeros(*shape[: -self.axes], *self.lengths)
        padded = self.buffers[shape]
        torch.mul(left, right, out=corner(padded, shape[-self.axes :]))
        return torch.fft.rfftn(padded, dim=self.dims)

    def from_waves(self, waves: Tensor, grid: Sequence[int]) -> Tensor:
        """Back to (..., *grid)."""
        return corner(torch.fft.irfftn(waves, s=list(self.lengths), dim=self.dims), grid)


def _spectrum_of(problem: _Problem, groups: slice) -> Tensor:
    """(g, 1, 1, *F), one spectrum a matrix of the block."""
    heads = torch.arange(groups.start, groups.stop, device=problem.spectrum.device) % problem.heads
    return problem.spectrum[heads][:, None, None]


def _sums(problem: _Problem, values: Tensor) -> Tensor:
    """sum_r phi_r(q) T (phi_r(k) values): (G, e, *columns) -> (G, e, *rows)."""
    axes = len(problem.rows)
    total = values.new_zeros(*values.shape[:-axes], *problem.rows)
    circle = _Circle(problem, values.shape[1])
    for groups, features in circle.blocks():
        waves = circle.product_to_waves(problem.phi_k[groups, features, None], values[groups, None])
        waves.mul_(_spectrum_of(problem, groups))
        product = circle.from_waves(waves, problem.rows)
        asked = problem.phi_q[groups, features]
        for r in range(asked.shape[1]):
            total[groups].addcmul_(product[:, r], asked[:, r, None])
    return total


def _masses(problem: _Problem) -> tuple[Tensor, Tensor]:
    """The denominators (G, R) and the bounds of their relative errors, in units of the precision's rounding."""
    axes = len(problem.rows)
    ones = problem.phi_k.new_ones(problem.phi_k.shape[0], 1, *problem.columns)
    masses = _sums(problem, ones).flatten(1)
    sizes = problem.phi_k.flatten(-axes).norm(dim=-1)
    norms = problem.weights.flatten(1).norm(dim=1).repeat(len(sizes) // problem.heads)
    bound = (problem.phi_q.flatten(-axes).abs() * sizes[..., None]).sum(1) * norms[:, None]
    return masses, bound / masses.abs()


def _doubtful(errors: Tensor, counts: Tensor | None, heads: int, limit: float) -> Tensor:
    """(R,) bool: rows that are unreliable in some sequence in which they count, in some head. What is not a number is unreliable."""
    reliable = (errors <= limit).unflatten(0, (-1, heads))
    if counts is not None:
        reliable = reliable | ~counts[:, None]
    return ~reliable.flatten(0, 1).all(0)


def _precisions(phi_q: Tensor) -> list[torch.dtype]:
    return [phi_q.dtype] if phi_q.dtype == torch.float64 or phi_q.device.type == "mps" else [torch.float32, torch.float64]


def _solve(
    phi_q: Tensor,
    phi_k: Tensor,
    diagonals: Tensor,
    key_scale: Tensor | None,
    counts: Tensor | None,
    rows: Sequence[int],
    columns: Sequence[int],
) -> tuple[_Problem, Tensor, Tensor]:
    """The problem in the least precision that serves, its denominators (G, R), and the rows (R,) that are still unreliable."""
    wanted = torch.finfo(phi_q.dtype).eps * ROUNDINGS
    *quick, last = _precisions(phi_q)
    for dtype in quick:
        problem = _lay_out(phi_q, phi_k, diagonals, key_scale, rows, columns, dtype)
        masses, errors = _masses(problem)
        alone = _doubtful(errors, counts, problem.heads, wanted / torch.finfo(dtype).eps)
        if int(alone.sum()) <= max(_ROWS_AT_ONCE, len(alone)) // _FEW:
            return problem, masses, alone
    problem = _lay_out(phi_q, phi_k, diagonals, key_scale, rows, columns, last)
    masses, errors = _masses(problem)
    return problem, masses, _doubtful(errors, counts, problem.heads, wanted / torch.finfo(last).eps)


@torch.no_grad()
def unreliable_rows(
    phi_q: Tensor, phi_k: Tensor, diagonals: Tensor, key_scale: Tensor | None = None, counts: Tensor | None = None
) -> tuple[Tensor, torch.dtype]:
    """What the FFT of a sequence would do: which rows (R,) it leaves to their own matrix rows, and the precision in which it takes the others.

    Args:
        phi_q: (B, H, R, m).
        phi_k: (B, H, C, m).
        diagonals: (H, R + C - 1), the bias.
        key_scale: (B, H, C) or None.
        counts: (B, R) or None, True where a row's output will be used.
    """
    problem, _, alone = _solve(phi_q, phi_k, diagonals, key_scale, counts, (phi_q.shape[2],), (phi_k.shape[2],))
    return alone, problem.phi_q.dtype


def _alone(which: Tensor, causal: bool, columns: int) -> list[tuple[Tensor, int]]:
    """The rows that are computed on their own, in groups, each with the number of columns that it needs."""
    groups = which.nonzero().flatten().split(_ROWS_AT_ONCE) if bool(which.any()) else ()
    return [(group, min(columns, int(group[-1]) + 1) if causal else columns) for group in groups]


def _bias_of(diagonals: Tensor, rows: Sequence[int], columns: Sequence[int], which: Tensor, seen: int) -> tuple[Tensor, Tensor]:
    """The bias (H, n, seen) of the rows `which`, and the places (n, seen) in the flattened diagonals where it stands."""
    first, last = int(which[0]), int(which[-1]) + 1
    places = offset_places(rows, columns, first, last, diagonals.device)[which - first, :seen]
    return diagonals.flatten(1)[:, places], places


def attend_fourier(
    phi_q: Tensor,
    phi_k: Tensor,
    v: Tensor,
    diagonals: Tensor,
    key_scale: Tensor | None,
    counts: Tensor | None,
    rows: Sequence[int],
    columns: Sequence[int],
    causal: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Kernel attention by the FFT, without gradients.

    Args:
        phi_q: (B, H, R, m), float32 or float64.
        phi_k: (B, H, C, m).
        v: (B, H, C, d).
        diagonals: (H, *offsets), the bias; -inf where a row does not see a key.
        key_scale: (B, H, C) or None, the logarithm of a factor on every key.
        counts: (B, R) or None, True where a row's output will be used.
        rows: the grid of the rows.
        columns: the grid of the columns.
        causal: no row sees a column ahead of it (the diagonals say so too; this saves work).

    Returns:
        The rows (B, H, R, d), their log masses (B, H, R), which rows (R,) were computed on their own, and whether the others were taken in float64 (a scalar): the backward pass goes the same way.
    """
    with without_autocast(v):
        problem, masses, alone = _solve(phi_q, phi_k, diagonals, key_scale, counts, rows, columns)
        sums = _sums(problem, _channels_first(v.to(masses.dtype), columns)).flatten(-len(rows))
        masses = masses.masked_fill(masses == 0, 1)
        out = (sums / masses[:, None]).mT.unflatten(0, phi_q.shape[:2]).to(v.dtype).contiguous()
        log_mass = (masses.abs().log() + problem.shift[:, None]).unflatten(0, phi_q.shape[:2]).to(v.dtype)
        if counts is not None:
            out.masked_fill_(~counts[:, None, :, None], 0)
        for which, seen in _alone(alone, causal, phi_k.shape[2]):
            scale = None if key_scale is None else key_scale[..., :seen]
            bias, _ = _bias_of(diagonals, rows, columns, which, seen)
            out[:, :, which], log_mass[:, :, which] = attend_rows(phi_q[:, :, which], phi_k[:, :, :seen], v[:, :, :seen], bias, scale)
        wide = torch.tensor(masses.dtype != phi_q.dtype, device=phi_q.device)
    return out, log_mass, alone, wide


@torch.library.custom_op("ordinate::kernel_attention_fft", mutates_args=())
def fourier(
    phi_q: Tensor,
    phi_k: Tensor,
    v: Tensor,
    diagonals: Tensor,
    key_scale: Tensor | None,
    counts: Tensor | None,
    rows: list[int],
    columns: list[int],
    causal: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`attend_fourier` as one operator, which a compiler takes as it is, with a backward pass."""
    return attend_fourier(phi_q, phi_k, v, diagonals, key_scale, counts, rows, columns, causal)


@fourier.register_fake
def _(phi_q, phi_k, v, diagonals, key_scale, counts, rows, columns, causal):  # type: ignore[no-untyped-def]
    return (
        v.new_empty(*phi_q.shape[:3], v.shape[-1]),
        v.new_empty(phi_q.shape[:3]),
        v.new_empty(phi_q.shape[2], dtype=torch.bool),
        v.new_empty((), dtype=torch.bool),
    )


@torch.library.custom_op("ordinate::kernel_attention_fft_backward", mutates_args=())
def _fourier_backward(
    grad: Tensor,
    grad_mass: Tensor,
    phi_q: Tensor,
    phi_k: Tensor,
    v: Tensor,
    diagonals: Tensor,
    key_scale: Tensor | None,
    out: Tensor,
    alone: Tensor,
    wide: Tensor,
    rows: list[int],
    columns: list[int],
    causal: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with without_autocast(v):
        problem = _lay_out(phi_q, phi_k, diagonals, key_scale, rows, columns, torch.float64 if bool(wide) else phi_q.dtype)
        axes, heads, dtype = len(rows), problem.heads, problem.phi_q.dtype
        values = torch.cat([v, v.new_ones(*v.shape[:-1], 1)], dim=-1).to(dtype)
        # y = (sum u) / Z: the gradient with respect to the extended sums (sum u, Z) is (g, that of log Z - g.y) / Z.
        extended = torch.cat([grad, (grad_mass - (grad * out).sum(-1))[..., None]], dim=-1).to(dtype)
        masses = _masses(problem)[0].unflatten(0, phi_q.shape[:2])
        extended = torch.where((alone | (masses == 0))[..., None], 0, extended / masses[..., None])
        back = _sums_backward(problem, _channels_first(values, columns), _channels_first(extended, rows))
        grads_q, grads_k, grads_v = (_channels_last(each, heads, axes) for each in back[:3])
        grads_k = grads_k if problem.key_factor is None else grads_k * problem.key_factor
        grads_q, grads_k = grads_q.to(phi_q.dtype).contiguous(), grads_k.to(phi_k.dtype).contiguous()
        grads_v = grads_v[..., :-1].to(v.dtype).contiguous()
        grads_bias = (back[3] * problem.weights).flatten(1).to(diagonals.dtype)
        for which, seen in _alone(alone, causal, phi_k.shape[2]):
            scale = None if key_scale is None else key_scale[..., :seen]
            bias, places = _bias_of(diagonals, rows, columns, which, seen)
            keys, read, mine = phi_k[:, :, :seen], v[:, :, :seen], (slice(None), slice(None), which)
            more = attend_rows_backward(grad[mine], grad_mass[mine], phi_q[mine], keys, read, bias, scale, out[mine])
            grads_q[mine] = more[0]
            grads_k[:, :, :seen] += more[1]
            grads_v[:, :, :seen] += more[2]
            grads_bias.index_add_(1, places.flatten(), more[3].flatten(1))
    return grads_q, grads_k, grads_v, grads_bias.view(diagonals.shape)


def _sums_backward(problem: _Problem, values: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of `_sums` with respect to phi_q, phi_k and values (in their layout), and to c (H, *offsets)."""
    grad_q, grad_k, grad_values = torch.empty_like(problem.phi_q), torch.empty_like(problem.phi_k), torch.zeros_like(values)
    grad_spectrum = torch.zeros_like(problem.spectrum)
    circle = _Circle(problem, values.shape[1])
    for groups, features in circle.blocks():
        spectrum = _spectrum_of(problem, groups)
        keys, asked = problem.phi_k[groups, features, None], problem.phi_q[groups, features, None]
        sent = circle.product_to_waves(keys, values[groups, None])
        back = circle.product_to_waves(asked, grad[groups, None])
        shared = (back.conj() * sent).sum(dim=(1, 2))
        heads = torch.arange(groups.start, groups.stop, device=shared.device) % problem.heads
        grad_spectrum.index_add_(0, heads, shared)
        product = circle.from_waves(sent.mul_(spectrum), problem.rows)
        torch.sum(product.mul_(grad[groups, None]), dim=2, out=grad_q[groups, features])
        returned = circle.from_waves(back.mul_(spectrum.conj()), problem.columns)
        for r in range(asked.shape[1]):
            grad_values[groups].addcmul_(returned[:, r], keys[:, r])
        torch.sum(returned.mul_(values[groups, None]), dim=2, out=grad_k[groups, features])
    circle_grad = circle.from_waves(grad_spectrum, circle.lengths)
    offsets = [r + c - 1 for r, c in zip(problem.rows, problem.columns, strict=True)]
    circle_grad = circle_grad.roll([r - 1 for r in problem.rows], circle.dims)
    return grad_q, grad_k, grad_values, corner(circle_grad, offsets)


@_fourier_backward.register_fake
def _(grad, grad_mass, phi_q, phi_k, v, diagonals, key_scale, out, alone, wide, rows, columns, causal):  # type: ignore[no-untyped-def]
    return torch.empty_like(phi_q), torch.empty_like(phi_k), torch.empty_like(v), torch.empty_like(diagonals)


def _keep(ctx, inputs, output):  # type: ignore[no-untyped-def]
    phi_q, phi_k, v, diagonals, key_scale, _, *ctx.arguments = inputs
    out, _, alone, wide = output
    ctx.save_for_backward(phi_q, phi_k, v, diagonals, key_scale, out, alone, wide)


def _gradients(ctx, grad, grad_mass, *_):  # type: ignore[no-untyped-def]
    grads = _fourier_backward(grad.contiguous(), grad_mass.contiguous(), *ctx.saved_tensors, *ctx.arguments)
    return (*grads, None, None, None, None, None)


fourier.register_autograd(_gradients, setup_context=_keep)
