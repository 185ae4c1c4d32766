r"""Softmax attention with rotary positions, :math:`y_i = \sum_j \operatorname{softmax}_j\bigl(\langle R_{i-j}\, q_i, k_j\rangle / \sqrt d\bigr)\, v_j`, whose heads may share keys and values.

Only offsets count, so that padding in front of a sequence changes nothing. The cache keeps turned keys, or keys as they are where the rule's frequencies depend on the length.

Sources: Su et al., RoFormer (2021); Ainslie et al., GQA (2023).
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.nn.grouped_heads import GroupedHeads
from ordinate.nn.heads import HeadCache, hide_padding
from ordinate.nn.mixers.base import MixerSpec, TokenMixer
from ordinate.nn.rotary import Rotary, Turns
from ordinate.nn.visibility import visible

__all__ = ["MIXERS", "RotaryAttention"]


class RotaryAttention(TokenMixer):
    """Softmax attention with rotary positions."""

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        causal: bool = False,
        max_length: int | None = None,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        bias: bool = True,
        rotary: Rotary | None = None,
    ) -> None:
        """
        Args:
            dim: the width D.
            heads: H.
            causal: position i sees only positions j <= i.
            max_length: what it was made for; longer sequences are taken too, since positions go on.
            kv_heads: heads of keys and values, a divisor of H; H by default.
            head_dim: the width of a head; D / H by default.
            bias: the linear maps have biases.
            rotary: the positions; plain ones of base 10,000 by default. Models hand one to all their layers.

        Raises:
            InputError: heads that do not divide, an odd width of a head, a max_length below 1, or positions for another width.
        """
        super().__init__(dim, causal=causal)
        if max_length is not None and max_length < 1:
            raise InputError(f"max_length must be at least 1, not {max_length}")
        self.max_length = max_length
        self.heads = GroupedHeads(dim, heads, kv_heads=kv_heads, head_dim=head_dim, bias=bias)
        self.rotary = Rotary(self.heads.width) if rotary is None else rotary
        if self.rotary.head_dim != self.heads.width:
            raise InputError(f"the rotary positions are for heads of width {self.rotary.head_dim}, and these have {self.heads.width}")

    @property
    def spec(self) -> MixerSpec:
        """Softmax of dot products of turned vectors."""
        return MixerSpec(mixes_with="softmax of dot products, turned by the offset", time="L^2", memory="L", state="L", shards="heads")

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        *,
        padding_mask: Bool[Tensor, "batch length"] | None = None,
        turns: Turns | None = None,
    ) -> Float[Tensor, "batch length dim"]:
        """Mix across positions.

        Args:
            x: (B, L, D), floating point.
            padding_mask: (B, L), True = real token.
            turns: of these tokens, where a model has computed them for all its layers.

        Raises:
            InputError: wrong rank, width, mask or turns.
        """
        return self._forward(x, padding_mask, turns)[0]

    def _forward(self, x: Tensor, padding_mask: Tensor | None, turns: Turns | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        self.check(x, padding_mask)
        turns = self._turns(x.shape[0], x.shape[1], x) if turns is None else turns
        q, k, v = self.heads.split(hide_padding(x, padding_mask))
        turned = self.rotary(k, turns, keys=True)
        seen = None if padding_mask is None else visible(padding_mask, x.shape[1], self.causal)
        y = self._attend(self.rotary(q, turns), turned, v, seen)
        return self.heads.merge(y, padding_mask), (k if self.rotary.by_length else turned, v)

    def _turns(self, batch: int, length: int, like: Tensor) -> Turns:
        return self.rotary.turns(self.rotary.places(batch, length, like.device), length, like.dtype)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
        shared = self.heads.kv_count < self.heads.count
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=self.causal and seen is None, enable_gqa=shared)

    def prefill(
        self,
        x: Float[Tensor, "batch length dim"],
        *,
        padding_mask: Bool[Tensor, "batch length"] | None = None,
        turns: Turns | None = None,
    ) -> tuple[Tensor, HeadCache]:
        """Run a prompt; the state is its keys and values. See :meth:`TokenMixer.prefill`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        y, keys = self._forward(x, padding_mask, turns)
        return y, HeadCache.of(keys, padding_mask)

    def step(
        self, x_t: Float[Tensor, "batch dim"], state: Any, *, turns: Turns | None = None
    ) -> tuple[Float[Tensor, "batch dim"], HeadCache]:
        """One more position, in O(L). `turns` are those of all tokens so far, this one included. See :meth:`TokenMixer.step`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        self.check(x_t[:, None], None)
        q, k, v = self.heads.split(x_t[:, None])
        length = state.mask.shape[1] + 1
        turns = self.rotary.turns(torch.arange(length, device=x_t.device), length, x_t.dtype) if turns is None else turns
        now = turns.last()
        cache: HeadCache = state.append((k if self.rotary.by_length else self.rotary(k, now, keys=True), v))
        keys, values = cache.keys
        if self.rotary.by_length:
            keys = self.rotary(keys, turns, keys=True)
        y = self._attend(self.rotary(q, now), keys, values, cache.mask[:, None, None])
        return self.heads.merge(y)[:, 0], cache


MIXERS = {"softmax-rotary": RotaryAttention}
