r"""Softmax attention, :math:`y_i = \sum_j \operatorname{softmax}_j\bigl(q_i \cdot k_j / \sqrt d + b_{j-i}\bigr)\, v_j`, with or without a learned bias b of the offset.

It goes through `torch.nn.functional.scaled_dot_product_attention` and its fused kernels. On a CPU the bias matrix is never formed where no gradient flows into it: with the queries taken in reverse order a Toeplitz matrix becomes a Hankel one,
whose row i + 1 is row i one step further along the same 2 L - 1 numbers, so that a strided view of them serves.

Sources: Vaswani et al., Attention Is All You Need (NIPS 2017); Raffel et al. (T5, 2020) for the bias.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.nn.heads import HeadCache, Heads, hide_padding
from ordinate.nn.mixers.base import MixerSpec, TokenMixer
from ordinate.nn.positions import RelativeBias
from ordinate.nn.visibility import visible

__all__ = ["MIXERS", "RelativeSoftmaxAttention", "SoftmaxAttention"]


class SoftmaxAttention(TokenMixer):
    """Softmax attention without positions of its own."""

    def __init__(self, dim: int, *, heads: int = 4, causal: bool = False, max_length: int | None = None, bias: bool = True) -> None:
        """
        Args:
            dim: the width D.
            heads: H, a divisor of D.
            causal: position i sees only positions j <= i.
            max_length: longer sequences are refused; None takes any.
            bias: the linear maps have biases.

        Raises:
            InputError: D cannot be divided among H heads, or a max_length below 1.
        """
        super().__init__(dim, causal=causal)
        if max_length is not None and max_length < 1:
            raise InputError(f"max_length must be at least 1, not {max_length}")
        self.max_length = max_length
        self.heads = Heads(dim, heads, bias=bias)

    @property
    def spec(self) -> MixerSpec:
        """Softmax of dot products."""
        return MixerSpec(mixes_with="softmax of dot products", time="L^2", memory="L", state="L", shards="heads")

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        *,
        padding_mask: Bool[Tensor, "batch length"] | None = None,
        context: Float[Tensor, "batch other dim"] | None = None,
        context_mask: Bool[Tensor, "batch other"] | None = None,
    ) -> Float[Tensor, "batch length dim"]:
        """Mix across positions, or read from `context` (B, C, D) where it is given.

        Args:
            x: (B, L, D), floating point.
            padding_mask: (B, L), True = real token.
            context: (B, C, D), what keys and values come from; by default x.
            context_mask: (B, C), True = real token.

        Raises:
            InputError: wrong rank, width or mask shape, a sequence beyond max_length, or a causal mixer with a context.
        """
        if context is None:
            return self._forward(x, padding_mask)[0]
        self.check(x, padding_mask)
        self.check(context, context_mask)
        if self.causal:
            raise InputError("a causal mixer reads its own past: construct it with causal=False to read from a context")
        self._check_length(max(x.shape[1], context.shape[1]))
        q, k, v = self.heads.split(hide_padding(x, padding_mask), hide_padding(context, context_mask))
        return self.heads.merge(self._attend(q, k, v, context_mask), padding_mask)

    def _forward(self, x: Tensor, padding_mask: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        self.check(x, padding_mask)
        self._check_length(x.shape[1])
        q, k, v = self.heads.split(hide_padding(x, padding_mask))
        return self.heads.merge(self._attend(q, k, v, padding_mask), padding_mask), (k, v)

    def prefill(
        self, x: Float[Tensor, "batch length dim"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> tuple[Tensor, HeadCache]:
        """Run a prompt; the state is its keys and values. See :meth:`TokenMixer.prefill`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        y, keys = self._forward(x, padding_mask)
        return y, HeadCache.of(keys, padding_mask)

    def step(self, x_t: Float[Tensor, "batch dim"], state: Any) -> tuple[Float[Tensor, "batch dim"], HeadCache]:
        """One more position, in O(L). See :meth:`TokenMixer.step`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        self.check(x_t[:, None], None)
        q, k, v = self.heads.split(x_t[:, None])
        cache: HeadCache = state.append((k, v))
        length = cache.mask.shape[1]
        self._check_length(length)
        weights = self._last_row(length)
        hidden = torch.zeros_like(cache.mask, dtype=q.dtype).masked_fill(~cache.mask, -torch.inf)[:, None, None]
        keys, values = cache.keys
        y = F.scaled_dot_product_attention(q, keys, values, attn_mask=hidden if weights is None else hidden + weights.to(q.dtype))
        return self.heads.merge(y)[:, 0], cache

    def _check_length(self, length: int) -> None:
        if self.max_length is not None and length > self.max_length:
            raise InputError(f"{type(self).__name__} was made for max_length={self.max_length}, and the sequence has {length} positions")

    def _last_row(self, length: int) -> Tensor | None:
        """The bias (H, 1, L) with which the last of `length` positions looks back."""
        return None

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=visible(mask, q.shape[2], self.causal))


class RelativeSoftmaxAttention(SoftmaxAttention):
    """Softmax attention with a learned bias a head and offset."""

    def __init__(
        self, dim: int, *, heads: int = 4, causal: bool = False, max_length: int = 1024, clamp: bool = True, bias: bool = True
    ) -> None:
        """
        Args:
            dim: the width D.
            heads: H, a divisor of D.
            causal: position i sees only positions j <= i.
            max_length: the longest sequence with a bias of its own for every offset.
            clamp: offsets beyond it take the outermost bias; otherwise longer sequences are refused.
            bias: the linear maps have biases.

        Raises:
            InputError: D cannot be divided among H heads, or a max_length below 1.
        """
        super().__init__(dim, heads=heads, causal=causal, max_length=None if clamp else max_length, bias=bias)
        self.relative = RelativeBias(heads, max_length, causal=causal, clamp=clamp)

    @property
    def spec(self) -> MixerSpec:
        """Softmax of dot products and a bias of the offset."""
        return MixerSpec(
            mixes_with="softmax of dot products with a bias of the offset", time="L^2", memory="L^2", state="L", shards="heads"
        )

    def _last_row(self, length: int) -> Tensor:
        return self.relative.at(torch.arange(1 - length, 1, device=self.relative.table.device))[:, None]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        if q.shape[2] == 0 or k.shape[2] == 0:
            return super()._attend(q, k, v, mask)
        diagonals = self.relative(q.shape[2], k.shape[2]).to(q.dtype)
        # Rows in reverse order: entry (i, j) is diagonal i + j.
        bias = diagonals.as_strided((1, len(diagonals), q.shape[2], k.shape[2]), (0, diagonals.stride(0), 1, 1))
        if mask is not None:
            bias = bias.masked_fill(~visible(mask, q.shape[2], self.causal).flip(2), -torch.inf)
            bias = bias.masked_fill((bias == -torch.inf).all(-1, keepdim=True), 0)
        if bias.requires_grad:
            bias = bias.contiguous()
        return F.scaled_dot_product_attention(q.flip(2), k, v, attn_mask=bias).flip(2)


MIXERS = {"softmax": SoftmaxAttention, "softmax-rpe": RelativeSoftmaxAttention}
