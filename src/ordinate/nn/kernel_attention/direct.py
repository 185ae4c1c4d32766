r"""Kernel attention by its matrix: all of it at once, or some rows at a time.

For weights :math:`w_{ij} = b_{j-i} + s_j` and kernel :math:`K = \phi_q \phi_k^\top`, a row is :math:`y_i = \sum_j K_{ij} e^{w_{ij} - \max w_i} v_j / Z_i` with :math:`Z_i` the same sum without v: the largest exponential
of every row is 1, so that nothing overflows and no row vanishes that has anything to see. (Chunks share one scale, which is quicker, as long as the weights span less than 40 nats.) Its mass :math:`\log Z_i + \max w_i` is given too, by which outputs over disjoint sets of keys can be merged.

With :math:`A` the normalised rows and :math:`G` the gradient of y, the gradient with respect to :math:`\log` of an unnormalised entry is :math:`D_{ij} = A_{ij} (G_i \cdot v_j - G_i \cdot y_i)`: what the backward pass
forms again, a block of rows at a time, in place of keeping it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ordinate.nn.precision import vanished, without_autocast
from ordinate.nn.toeplitz import offset_places

__all__ = ["attend_chunked", "attend_rows", "attend_rows_backward", "bias_rows", "chunked"]

_MOST_SPAN = 40.0  # nats, down to which float32 holds products of weights and features whose largest are 1


def bias_rows(diagonals: Tensor, rows: Sequence[int], columns: Sequence[int], start: int, stop: int) -> Tensor:
    """Rows `start` to `stop` of the bias matrix (H, stop - start, C) from its diagonals (H, *offsets)."""
    if len(rows) == 1:
        return diagonals.unfold(-1, columns[0], 1)[:, rows[0] - stop : rows[0] - start].flip(-2)
    return diagonals.flatten(1)[:, offset_places(rows, columns, start, stop, diagonals.device)]


def attend_rows(phi_q: Tensor, phi_k: Tensor, v: Tensor, bias: Tensor, key_scale: Tensor | None) -> tuple[Tensor, Tensor]:
    """Some rows of kernel attention.

    Args:
        phi_q: (B, H, R, m).
        phi_k: (B, H, C, m).
        v: (B, H, C, d).
        bias: (H, R, C), -inf where a row does not see a key.
        key_scale: (B, H, C) or None, the logarithm of a factor on every key; -inf hides it.

    Returns:
        The rows (B, H, R, d) and their log masses (B, H, R), of the absolute value where features can be negative; a row that sees nothing is zero, with mass -inf.
    """
    weights = bias if key_scale is None else bias + key_scale[:, :, None, :]
    top = weights.detach().amax(-1, keepdim=True)
    top = top.masked_fill(top == -torch.inf, 0)
    unnormalised = (phi_q @ phi_k.mT) * (weights - top).exp()
    mass = unnormalised.sum(-1, keepdim=True)
    nothing = vanished(mass)
    mass = mass.masked_fill(nothing, 1)
    return (unnormalised @ v) / mass, (mass.abs().log() + top).masked_fill(nothing, -torch.inf).squeeze(-1)


def attend_rows_backward(
    grad: Tensor, grad_mass: Tensor, phi_q: Tensor, phi_k: Tensor, v: Tensor, bias: Tensor, key_scale: Tensor | None, out: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of `attend_rows` with respect to phi_q, phi_k, v, and (summed over the batch) the bias (H, R, C)."""
    weights = bias if key_scale is None else bias + key_scale[:, :, None, :]
    top = weights.amax(-1, keepdim=True)
    factor = (weights - top.masked_fill(top == -torch.inf, 0)).exp()
    kernel = phi_q @ phi_k.mT
    mass = (kernel * factor).sum(-1, keepdim=True)
    factor = factor / mass.masked_fill(vanished(mass), torch.inf)
    inner = grad @ v.mT + (grad_mass[..., None] - (grad * out).sum(-1, keepdim=True))
    grad_kernel = inner * factor
    attention = kernel * factor
    return grad_kernel @ phi_k, grad_kernel.mT @ phi_q, attention.mT @ grad, (inner * attention).sum(0)


def _chunks(rows: int, columns: int, causal: bool, chunk: int) -> list[tuple[int, int, int]]:
    """(first row, one past the last, columns seen) of every chunk."""
    stops = [(start, min(start + chunk, rows)) for start in range(0, rows, chunk)]
    return [(start, stop, min(stop, columns) if causal else columns) for start, stop in stops]


@dataclass
class _Common:
    """What all rows can share where the weights do not span too much: one scale for all of them, so that an exponential is taken an offset, and not an entry of the matrix.

    Rows go in reverse order within a chunk: the matrix of a sequence is then a strided view of its diagonals.
    """

    weights: Tensor  # (H, *offsets): e^b, the largest being 1
    factor: Tensor | None  # (B, H, C, 1): e^s, the largest being 1
    shift: Tensor  # (B or 1, H, 1): log of what they were divided by
    rows: Sequence[int]
    columns: Sequence[int]

    def matrix(self, start: int, stop: int, seen: int) -> Tensor:
        """(H, stop - start, seen), the last row first."""
        if len(self.rows) == 1:
            return self.weights.unfold(-1, self.columns[0], 1)[:, self.rows[0] - stop : self.rows[0] - start, :seen]
        return self.weights.flatten(1)[:, self._places(start, stop, seen)]

    def add_up(self, entries: Tensor, start: int, stop: int, total: Tensor) -> None:
        """Add entries (H, stop - start, seen) of the matrix to a total (H, offsets) over the diagonals."""
        heads, rows, seen = entries.shape
        if len(self.rows) > 1:
            total.index_add_(1, self._places(start, stop, seen).flatten(), entries.flatten(1))
            return
        # Row i of the view lies i places further along the diagonals: with rows of n + seen places, taken as rows of one place less, they stand one below the other.
        skewed = entries.new_zeros(heads, rows, rows + seen)
        skewed[..., :seen] = entries
        first = self.rows[0] - stop
        total[:, first : first + rows + seen - 1] += skewed.flatten(1)[:, : rows * (rows + seen - 1)].unflatten(1, (rows, -1)).sum(1)

    def _places(self, start: int, stop: int, seen: int) -> Tensor:
        return offset_places(self.rows, self.columns, start, stop, self.weights.device).flip(0)[:, :seen]


def _common(diagonals: Tensor, key_scale: Tensor | None, rows: Sequence[int], columns: Sequence[int]) -> _Common | None:
    """What rows share, or None where the weights span so much that rows would vanish."""
    flat = diagonals.flatten(1)
    top = flat.amax(1)
    least = flat[:, flat.shape[1] // 2] if tuple(rows) == tuple(columns) else flat.amin(1)  # a row of a square matrix sees its own column
    span = top - least
    shift, factor = top[None, :, None], None
    if key_scale is not None:
        most = key_scale.amax(-1, keepdim=True)
        most = most.masked_fill(most == -torch.inf, 0)
        span = span + (most - key_scale.masked_fill(key_scale == -torch.inf, torch.inf).amin(-1, keepdim=True)).amax((0, 2)).clamp(min=0)
        factor, shift = (key_scale - most).exp()[..., None], shift + most
    if not bool((span < _MOST_SPAN).all()):
        return None
    return _Common((flat - top[:, None]).exp().view(diagonals.shape), factor, shift, rows, columns)


def attend_chunked(
    phi_q: Tensor,
    phi_k: Tensor,
    v: Tensor,
    diagonals: Tensor,
    key_scale: Tensor | None,
    rows: Sequence[int],
    columns: Sequence[int],
    causal: bool,
    chunk: int,
) -> tuple[Tensor, Tensor]:
    """All rows, `chunk` at a time, without gradients; the causal ones read no key ahead of them."""
    out = v.new_empty(*phi_q.shape[:3], v.shape[-1])
    mass = v.new_empty(phi_q.shape[:3])
    common = _common(diagonals, key_scale, rows, columns)
    if common is None:
        for start, stop, seen in _chunks(phi_q.shape[2], phi_k.shape[2], causal, chunk):
            scale = None if key_scale is None else key_scale[..., :seen]
            bias = bias_rows(diagonals, rows, columns, start, stop)[..., :seen]
            asked = phi_q[:, :, start:stop]
            out[:, :, start:stop], mass[:, :, start:stop] = attend_rows(asked, phi_k[:, :, :seen], v[:, :, :seen], bias, scale)
        return out, mass
    keys = phi_k if common.factor is None else phi_k * common.factor
    values = torch.cat([v, v.new_ones(*v.shape[:-1], 1)], dim=-1)
    for start, stop, seen in _chunks(phi_q.shape[2], phi_k.shape[2], causal, chunk):
        entries = phi_q[:, :, start:stop].flip(2) @ keys[:, :, :seen].mT
        sums = (entries.mul_(common.matrix(start, stop, seen)) @ values[:, :, :seen]).flip(2)
        total = sums[..., -1:]
        mass[:, :, start:stop] = total.squeeze(-1).abs().log() + common.shift
        out[:, :, start:stop] = sums[..., :-1] / total.masked_fill(vanished(total), torch.inf)
    return out, mass


@torch.library.custom_op("ordinate::kernel_attention_chunked", mutates_args=())
def chunked(
    phi_q: Tensor,
    phi_k: Tensor,
    v: Tensor,
    diagonals: Tensor,
    key_scale: Tensor | None,
    rows: list[int],
    columns: list[int],
    causal: bool,
    chunk: int,
) -> tuple[Tensor, Tensor]:
    """`attend_chunked` as one operator, whose backward pass forms the rows again."""
    with without_autocast(v):
        return attend_chunked(phi_q, phi_k, v, diagonals, key_scale, rows, columns, causal, chunk)


@chunked.register_fake
def _(phi_q, phi_k, v, diagonals, key_scale, rows, columns, causal, chunk):  # type: ignore[no-untyped-def]
    return v.new_empty(*phi_q.shape[:3], v.shape[-1]), v.new_empty(phi_q.shape[:3])


@torch.library.custom_op("ordinate::kernel_attention_chunked_backward", mutates_args=())
def _chunked_backward(
    grad: Tensor,
    grad_mass: Tensor,
    phi_q: Tensor,
    phi_k: Tensor,
    v: Tensor,
    diagonals: Tensor,
    key_scale: Tensor | None,
    out: Tensor,
    rows: list[int],
    columns: list[int],
    causal: bool,
    chunk: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    chunks = _chunks(phi_q.shape[2], phi_k.shape[2], causal, chunk)
    with without_autocast(v):
        common = _common(diagonals, key_scale, rows, columns)
        if common is None:
            return _backward_apart(grad, grad_mass, phi_q, phi_k, v, diagonals, key_scale, out, rows, columns, chunks)
        return _backward_together(grad, grad_mass, phi_q, phi_k, v, out, common, chunks)


def _backward_together(
    grad: Tensor,
    grad_mass: Tensor,
    phi_q: Tensor,
    phi_k: Tensor,
    v: Tensor,
    out: Tensor,
    common: _Common,
    chunks: list[tuple[int, int, int]],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    keys = phi_k if common.factor is None else phi_k * common.factor
    values = torch.cat([v, v.new_ones(*v.shape[:-1], 1)], dim=-1)
    # y = (sum u) / Z: the gradient with respect to the extended sums (sum u, Z) is (g, that of log Z - g.y) / Z.
    extended = torch.cat([grad, (grad_mass - (grad * out).sum(-1))[..., None]], dim=-1)
    grad_q, grad_k, grad_v = torch.empty_like(phi_q), torch.zeros_like(phi_k), torch.zeros_like(v)
    grad_bias = torch.zeros_like(common.weights).flatten(1)
    for start, stop, seen in chunks:
        asked, sent = phi_q[:, :, start:stop].flip(2), extended[:, :, start:stop].flip(2)
        matrix = common.matrix(start, stop, seen)
        entries = (asked @ keys[:, :, :seen].mT).mul_(matrix)
        mass = entries.sum(-1, keepdim=True)
        sent = sent / mass.masked_fill(vanished(mass), torch.inf)
        grad_v[:, :, :seen] += entries.mT @ sent[..., :-1]
        inner = sent @ values[:, :, :seen].mT
        common.add_up(entries.mul_(inner).sum(0), start, stop, grad_bias)
        inner.mul_(matrix)
        grad_q[:, :, start:stop] = (inner @ keys[:, :, :seen]).flip(2)
        grad_k[:, :, :seen] += inner.mT @ asked
    if common.factor is not None:
        grad_k *= common.factor
    return grad_q, grad_k, grad_v, grad_bias.view(common.weights.shape)


def _backward_apart(
    grad: Tensor,
    grad_mass: Tensor,
    phi_q: Tensor,
    phi_k: Tensor,
    v: Tensor,
    diagonals: Tensor,
    key_scale: Tensor | None,
    out: Tensor,
    rows: list[int],
    columns: list[int],
    chunks: list[tuple[int, int, int]],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grads = torch.empty_like(phi_q), torch.zeros_like(phi_k), torch.zeros_like(v), torch.zeros_like(diagonals)
    for start, stop, seen in chunks:
        scale = None if key_scale is None else key_scale[..., :seen]
        bias = bias_rows(diagonals, rows, columns, start, stop)[..., :seen]
        part = (slice(None), slice(None), slice(start, stop))
        grad_q, grad_k, grad_v, grad_bias = attend_rows_backward(
            grad[part], grad_mass[part], phi_q[part], phi_k[:, :, :seen], v[:, :, :seen], bias, scale, out[part]
        )
        grads[0][part] = grad_q
        grads[1][:, :, :seen] += grad_k
        grads[2][:, :, :seen] += grad_v
        places = offset_places(rows, columns, start, stop, diagonals.device)[:, :seen]
        grads[3].flatten(1).index_add_(1, places.flatten(), grad_bias.flatten(1))
    return grads


@_chunked_backward.register_fake
def _(grad, grad_mass, phi_q, phi_k, v, diagonals, key_scale, out, rows, columns, causal, chunk):  # type: ignore[no-untyped-def]
    return torch.empty_like(phi_q), torch.empty_like(phi_k), torch.empty_like(v), torch.empty_like(diagonals)


def _keep(ctx, inputs, output):  # type: ignore[no-untyped-def]
    phi_q, phi_k, v, diagonals, key_scale, *ctx.arguments = inputs
    ctx.save_for_backward(phi_q, phi_k, v, diagonals, key_scale, output[0])


def _chunked_gradients(ctx, grad, grad_mass):  # type: ignore[no-untyped-def]
    grads = _chunked_backward(grad.contiguous(), grad_mass.contiguous(), *ctx.saved_tensors, *ctx.arguments)
    return (*grads, None, None, None, None, None)


chunked.register_autograd(_chunked_gradients, setup_context=_keep)
