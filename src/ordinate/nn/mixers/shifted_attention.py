r"""Rotary attention whose input is shifted by a token in half of its channels: position i reads channels of itself and of i - 1.

What follows what is then seen in one layer, where plain attention needs two (an induction head in one layer rather than two).

Source: the token shift of Peng et al. (RWKV, 2023), section 3, in front of the attention of Su et al. (RoFormer, 2021).
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.nn.heads import HeadCache, hide_padding
from ordinate.nn.mixers.base import MixerSpec
from ordinate.nn.mixers.rotary_attention import RotaryAttention
from ordinate.nn.rotary import Turns

__all__ = ["MIXERS", "ShiftedAttention"]


class ShiftedState(NamedTuple):
    """The attention's cache, and the last input (B, D)."""

    cache: HeadCache
    last: Tensor


class ShiftedAttention(RotaryAttention):
    """Rotary attention after a shift of half of the channels. Arguments as in :class:`RotaryAttention`."""

    @property
    def spec(self) -> MixerSpec:
        """As rotary attention's."""
        return super().spec

    def _forward(self, x: Tensor, padding_mask: Tensor | None, turns: Turns | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        self.check(x, padding_mask)
        x = hide_padding(x, padding_mask)
        return super()._forward(self._mixed(x, F.pad(x, (0, 0, 1, 0))[:, :-1]), padding_mask, turns)

    def _mixed(self, x: Tensor, before: Tensor) -> Tensor:
        half = self.dim // 2
        return torch.cat([x[..., :half], before[..., half:]], dim=-1)

    def prefill(
        self,
        x: Float[Tensor, "batch length dim"],
        *,
        padding_mask: Bool[Tensor, "batch length"] | None = None,
        turns: Turns | None = None,
    ) -> tuple[Tensor, Any]:
        """Run a prompt. See :meth:`TokenMixer.prefill`."""
        y, cache = super().prefill(x, padding_mask=padding_mask, turns=turns)
        shown = hide_padding(x, padding_mask)
        return y, ShiftedState(cache, shown[:, -1] if x.shape[1] else shown.new_zeros(len(x), self.dim))

    def step(self, x_t: Float[Tensor, "batch dim"], state: Any, *, turns: Turns | None = None) -> tuple[Float[Tensor, "batch dim"], Any]:
        """One more position, in O(L). See :meth:`RotaryAttention.step`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        self.check(x_t[:, None], None)
        y, cache = super().step(self._mixed(x_t, state.last), state.cache, turns=turns)
        return y, ShiftedState(cache, x_t)


MIXERS = {"softmax-rotary-shifted": ShiftedAttention}
