r"""Kernel attention by its matrix: all of it at once, or some rows at a time.

For weights :math:`w_{ij} = b_{j-i} + s_j` and kernel :math:`K = \phi_q \phi_k^\top`, a row is :math:`y_i = \sum_j K_{ij} e^{w_{ij} - \max w_i} v_j / Z_i` with :math:`Z_i` the same sum without v: the largest exponential
of every row is 1, so that nothing overflows and no row vanishes that has anything to see. Its mass :math:`\log Z_i + \max w_i` is given too, by which outputs over disjoint sets of keys can be merged.

With :math:`A` the normalised rows and :math:`G` the gradient of y, the gradient with respect to :math:`\log` of an unnormalised entry is :math:`D_{ij} = A_{ij} (G_i \cdot v_j - G_i \cdot y_i)`: what the backward pass
forms again, a block of rows at a time, in place of keeping it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ordinate.nn.precision import without_autocast
from ordinate.nn.toeplitz import offset_places

__all__ = ["attend_chunked", "attend_rows", "attend_rows_backward", "bias_rows", "chunked"]


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
    nothing = mass == 0
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
    factor = factor / mass.masked_fill(mass == 0, torch.inf)
    inner = grad @ v.mT + (grad_mass[..., None] - (grad * out).sum(-1, keepdim=True))
    grad_kernel = inner * factor
    attention = kernel * factor
    return grad_kernel @ phi_k, grad_kernel.mT @ phi_q, attention.mT @ grad, (inner * attention).sum(0)


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
    for start, stop, seen in _chunks(phi_q.shape[2], phi_k.shape[2], causal, chunk):
        scale = None if key_scale is None else key_scale[..., :seen]
        bias = bias_rows(diagonals, rows, columns, start, stop)[..., :seen]
        out[:, :, start:stop], mass[:, :, start:stop] = attend_rows(
            phi_q[:, :, start:stop], phi_k[:, :, :seen], v[:, :, :seen], bias, scale
        )
    return out, mass


def _chunks(rows: int, columns: int, causal: bool, chunk: int) -> list[tuple[int, int, int]]:
    stops = [(start, min(start + chunk, rows)) for start in range(0, rows, chunk)]
    return [(start, stop, min(stop, columns) if causal else columns) for start, stop in stops]


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
    grads = torch.empty_like(phi_q), torch.zeros_like(phi_k), torch.zeros_like(v), torch.zeros_like(diagonals)
    with without_autocast(v):
        for start, stop, seen in _chunks(phi_q.shape[2], phi_k.shape[2], causal, chunk):
            scale = None if key_scale is None else key_scale[..., :seen]
            bias = bias_rows(diagonals, rows, columns, start, stop)[..., :seen]
            part = slice(start, stop)
            grad_q, grad_k, grad_v, grad_bias = attend_rows_backward(
                grad[:, :, part], grad_mass[:, :, part], phi_q[:, :, part], phi_k[:, :, :seen], v[:, :, :seen], bias, scale, out[:, :, part]
            )
            grads[0][:, :, part] = grad_q
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
