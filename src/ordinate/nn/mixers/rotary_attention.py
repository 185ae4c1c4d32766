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
from ordinate.nn.rotary import Rotary
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
            max_length: longer sequences are taken too, since positions go on: what the model was trained at, for rules that need it.
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
        positions: Tensor | None = None,
    ) -> Float[Tensor, "batch length dim"]:
        """Mix across positions.

        Args:
            x: (B, L, D), floating point.
            padding_mask: (B, L), True = real token.
            positions: (L,) or (B, L), whole or fractional; 0, 1, ... by default.

        Raises:
            InputError: wrong rank, width, mask or positions.
        """
        return self._forward(x, padding_mask, positions)[0]

    def _forward(self, x: Tensor, padding_mask: Tensor | None, positions: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        self.check(x, padding_mask)
        length = x.shape[1]
        q, k, v = self.heads.split(hide_padding(x, padding_mask))
        places = torch.arange(length, device=x.device) if positions is None else positions
        turned = self.rotary(k, places, length)
        seen = None if padding_mask is None else visible(padding_mask, length, self.causal)
        y = self._attend(self.rotary(q, places, length), turned, v, seen)
        return self.heads.merge(y, padding_mask), (k if self.rotary.by_length else turned, v)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=seen, is_causal=self.causal and seen is None, enable_gqa=self.heads.kv_count < self.heads.count
        )

    def prefill(
        self, x: Float[Tensor, "batch length dim"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> tuple[Tensor, HeadCache]:
        """Run a prompt; the state is its keys and values. See :meth:`TokenMixer.prefill`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        y, keys = self._forward(x, padding_mask, None)
        return y, HeadCache.of(keys, padding_mask)

    def step(self, x_t: Float[Tensor, "batch dim"], state: Any) -> tuple[Float[Tensor, "batch dim"], HeadCache]:
        """One more position, in O(L). See :meth:`TokenMixer.step`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        self.check(x_t[:, None], None)
        q, k, v = self.heads.split(x_t[:, None])
        length = state.mask.shape[1] + 1
        place = torch.tensor([length - 1], device=x_t.device)
        cache: HeadCache = state.append((k if self.rotary.by_length else self.rotary(k, place, length), v))
        keys, values = cache.keys
        if self.rotary.by_length:
            keys = self.rotary(keys, torch.arange(length, device=x_t.device), length)
        y = self._attend(self.rotary(q, place, length), keys, values, cache.mask[:, None, None])
        return self.heads.merge(y)[:, 0], cache


MIXERS = {"softmax-rotary": RotaryAttention}
