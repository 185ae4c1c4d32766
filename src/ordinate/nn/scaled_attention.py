r"""Attention whose weights are multiplied after the softmax: :math:`y = (\operatorname{softmax}(q k^\top / \sqrt d + B) \circ C)\, v`, with B and C Toeplitz.

The product is not normalised again: rows of the weights may sum to anything. Neither B nor C nor the weights are ever formed whole: with the queries in reverse order a Toeplitz matrix is a Hankel one, of which a block of rows is a
strided view of the 2 L - 1 diagonals; blocks of rows are computed one after another, forward and backward, and what is kept is one number a row. The gradient of a diagonal is the sum along it, which the same skew turns into a sum of columns.

Source: Luo et al., Your Transformer May Not be as Powerful as You Expect (NeurIPS 2022), equation 8. The blocks are ours, after Dao et al. (FlashAttention, 2022).
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ordinate.ground.errors import InputError

__all__ = ["scaled_attention"]

_BLOCK = 1 << 19  # weights at a time


def _hankel(diagonals: Tensor, first: int, rows: int, columns: int) -> Tensor:
    """Rows `first`, ... of the matrix whose entry (f, j) is diagonal f + j: a view, (H, R, C)."""
    return diagonals.as_strided((len(diagonals), rows, columns), (diagonals.stride(0), 1, 1), diagonals.storage_offset() + first)


def _along(matrix: Tensor) -> Tensor:
    """The sums over entries with the same f + j of (H, R, C): (H, R + C - 1)."""
    heads, rows, columns = matrix.shape
    skewed = F.pad(matrix, (0, rows)).flatten(1)[:, :-rows].view(heads, rows, columns + rows - 1)
    return skewed.sum(dim=1)


def _weights(q: Tensor, k: Tensor, bias: Tensor | None, mask: Tensor | None, first: int) -> tuple[Tensor, Tensor]:
    """softmax of a block of rows, and the logarithm of its denominators: (B, H, R, C) and (B, H, R, 1). A row without anything to see has no weights."""
    logits = (q @ k.mT).float() if q.dtype != torch.float64 else q @ k.mT
    if bias is not None:
        logits = logits + _hankel(bias, first, q.shape[2], k.shape[2])
    if mask is not None:
        logits = logits.masked_fill(~mask[:, None, None], -torch.inf)
    total = logits.logsumexp(dim=-1, keepdim=True)
    return (logits - total.clamp(min=torch.finfo(total.dtype).min)).exp(), total


class _Scaled(torch.autograd.Function):
    """On queries in reverse order, scaled by 1 / sqrt(d) already."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: Tensor | None, mask: Tensor | None) -> Tensor:
        rows = _rows(q, k)
        parts = []
        for first in range(0, q.shape[2], rows):
            weights, _ = _weights(q[:, :, first : first + rows], k, bias, mask, first)
            if scale is not None:
                weights = weights * _hankel(scale, first, weights.shape[2], weights.shape[3])
            parts.append(weights.to(v.dtype) @ v)
        ctx.save_for_backward(q, k, v, bias, scale, mask)
        return torch.cat(parts, dim=2)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, scale, mask = ctx.saved_tensors
        rows, columns = _rows(q, k), k.shape[2]
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        dbias = None if bias is None else torch.zeros_like(bias)
        dscale = None if scale is None else torch.zeros_like(scale)
        for first in range(0, q.shape[2], rows):
            some, upstream = q[:, :, first : first + rows], g[:, :, first : first + rows]
            plain, _ = _weights(some, k, bias, mask, first)
            pulled = (upstream @ v.mT).to(plain.dtype)
            weights = plain
            if scale is not None and dscale is not None:
                factor = _hankel(scale, first, some.shape[2], columns)
                weights = plain * factor
                dscale[:, first : first + some.shape[2] + columns - 1] += _along((pulled * plain).sum(dim=0))
                pulled = pulled * factor
            dv += weights.to(v.dtype).mT @ upstream
            inner = plain * pulled
            dlogits = inner.sub_(plain * inner.sum(dim=-1, keepdim=True))
            if dbias is not None:
                dbias[:, first : first + some.shape[2] + columns - 1] += _along(dlogits.sum(dim=0))
            dlogits = dlogits.to(q.dtype)
            dq[:, :, first : first + rows] = dlogits @ k
            dk += dlogits.mT @ some
        return dq, dk, dv, dbias, dscale, None


def _rows(q: Tensor, k: Tensor) -> int:
    return max(1, _BLOCK // max(1, q.shape[0] * q.shape[1] * k.shape[2]))


def scaled_attention(
    q: Float[Tensor, "batch heads rows head"],
    k: Float[Tensor, "batch heads columns head"],
    v: Float[Tensor, "batch heads columns value"],
    *,
    bias: Float[Tensor, "heads offsets"] | None = None,
    scale: Float[Tensor, "heads offsets"] | None = None,
    mask: Bool[Tensor, "batch columns"] | None = None,
) -> Float[Tensor, "batch heads rows value"]:
    """(softmax(q k' / sqrt(d) + B) * C) v, in float32 at least between the products.

    Args:
        q, k, v: (B, H, R, d), (B, H, C, d), (B, H, C, e).
        bias: the diagonals of B, (H, R + C - 1), from offset -(R - 1) to C - 1; -inf hides. None is no bias.
        scale: those of C; None is 1.
        mask: (B, C), True = real. A row that sees nothing gives zeros.

    Raises:
        InputError: another number of diagonals.
    """
    for name, diagonals in (("bias", bias), ("scale", scale)):
        if diagonals is not None and diagonals.shape != (q.shape[1], q.shape[2] + k.shape[2] - 1):
            raise InputError(
                f"{name} must have {q.shape[2] + k.shape[2] - 1} diagonals for each of {q.shape[1]} heads, not {tuple(diagonals.shape)}"
            )
    if not q.shape[2] or not k.shape[2]:
        return q.new_zeros(*q.shape[:3], v.shape[-1])
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    tables = [None if diagonals is None else diagonals.to(wide).contiguous() for diagonals in (bias, scale)]
    scaled = (q * q.shape[-1] ** -0.5).flip(2)
    return _Scaled.apply(scaled, k, v, *tables, mask).flip(2)
