r"""The blocks of sequence models, around any token mixer. Pre-normed:

.. math:: x \leftarrow x + \mathrm{Mix}(\mathrm{N}(x)), \qquad x \leftarrow x + \mathrm{FF}(\mathrm{N}(x)),

and post-normed, as the first transformers were:

.. math:: x \leftarrow \mathrm{N}(x + \mathrm{Mix}(x)), \qquad x \leftarrow \mathrm{N}(x + \mathrm{FF}(x)).

The feed-forward layer is :math:`W_2\,\sigma(W_1 x)`, or gated, :math:`W_2\,(\sigma(W_g x) \odot W_1 x)`; N is layer normalisation or that by the root mean square.

Sources: Vaswani et al. (2017); Xiong et al., On Layer Normalization in the Transformer Architecture (ICML 2020); Shazeer, GLU Variants Improve Transformer (2020); Zhang and Sennrich, Root Mean Square Layer
Normalization (2019).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.nn.activation_modules import GATES, activation_module
from ordinate.nn.mixers.base import TokenMixer

__all__ = ["NORMS", "NOTHING", "FeedForward", "MixerBlock", "token_norm"]

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""What most mixers take beside x."""
NORMS = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}
"""Normalisations of a position's vector, by name."""


def token_norm(kind: str, dim: int, eps: float = 1e-5) -> nn.Module:
    """(..., D) -> (..., D), normalised over D.

    Args:
        kind: ``"layer"`` or ``"rms"``.
        dim: D.
        eps: added to the variance, or to the mean square.

    Raises:
        InputError: an unknown kind.
    """
    return NORMS[choose("normalisation", kind, NORMS)](dim, eps=eps)


class FeedForward(nn.Module):
    """Two linear maps and an activation between them, or three with a gate, at every position alone: (..., D) -> (..., D)."""

    def __init__(
        self, dim: int, *, ratio: float = 4.0, activation: str | nn.Module = "gelu", bias: bool = True, dropout: float = 0.0
    ) -> None:
        """
        Args:
            dim: the width D.
            ratio: the inner width over D.
            activation: one of `ordinate.nn.activation_modules.list_activation_modules()`; a gated layer by its name (``"glu"``, ``"swiglu"``, ``"geglu"``, ``"reglu"``); or a module.
            bias: the maps have biases.
            dropout: after the second map.

        Raises:
            InputError: an unknown activation, or an inner width below 1.
        """
        super().__init__()
        inner = round(ratio * dim)
        if inner < 1:
            raise InputError(f"a feed-forward layer of ratio {ratio} has no inner width at dim={dim}")
        gated = isinstance(activation, str) and activation in GATES
        self.activation = activation_module(GATES[str(activation)] if gated else activation)
        self.expand = nn.Linear(dim, inner, bias=bias)
        self.gate = nn.Linear(dim, inner, bias=bias) if gated else None
        self.contract = nn.Linear(inner, dim, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Each position by itself."""
        hidden = self.activation(self.expand(x)) if self.gate is None else self.activation(self.gate(x)) * self.expand(x)
        return self.dropout(self.contract(hidden))


class MixerBlock(nn.Module):
    """(B, L, D) -> (B, L, D)."""

    def __init__(
        self,
        mixer: TokenMixer,
        *,
        ratio: float = 4.0,
        activation: str | nn.Module = "gelu",
        bias: bool = True,
        norm: str = "layer",
        norm_eps: float = 1e-5,
        pre_norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        """
        Args:
            mixer: mixes across positions; its width is the block's.
            ratio: the feed-forward layer's inner width over D.
            activation: the feed-forward layer's, see :class:`FeedForward`.
            bias: the feed-forward layer's maps have biases.
            norm: ``"layer"`` or ``"rms"``.
            norm_eps: see `token_norm`.
            pre_norm: branches read normalised vectors; otherwise their sums are normalised.
            dropout: on both branches.

        Raises:
            InputError: an unknown name, or an inner width below 1.
        """
        super().__init__()
        self.pre_norm = pre_norm
        self.norm1 = token_norm(norm, mixer.dim, norm_eps)
        self.mixer = mixer
        self.norm2 = token_norm(norm, mixer.dim, norm_eps)
        self.feed_forward = FeedForward(mixer.dim, ratio=ratio, activation=activation, bias=bias, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        *,
        padding_mask: Bool[Tensor, "batch length"] | None = None,
        mixer_inputs: Mapping[str, Any] = NOTHING,
    ) -> Float[Tensor, "batch length dim"]:
        """Both branches.

        Args:
            x: (B, L, D).
            padding_mask: (B, L), True = real token.
            mixer_inputs: what the mixer takes beside x, by name.
        """
        return self._rest(x, self.mixer(self._read(x), padding_mask=padding_mask, **mixer_inputs))

    def prefill(
        self,
        x: Float[Tensor, "batch length dim"],
        *,
        padding_mask: Bool[Tensor, "batch length"] | None = None,
        mixer_inputs: Mapping[str, Any] = NOTHING,
    ) -> tuple[Float[Tensor, "batch length dim"], Any]:
        """`forward`, and the mixer's state after the last position."""
        mixed, state = self.mixer.prefill(self._read(x), padding_mask=padding_mask, **mixer_inputs)
        return self._rest(x, mixed), state

    def step(
        self, x_t: Float[Tensor, "batch dim"], state: Any, *, mixer_inputs: Mapping[str, Any] = NOTHING
    ) -> tuple[Float[Tensor, "batch dim"], Any]:
        """One more position."""
        mixed, state = self.mixer.step(self._read(x_t), state, **mixer_inputs)
        return self._rest(x_t, mixed), state

    def _read(self, x: Tensor) -> Tensor:
        return self.norm1(x) if self.pre_norm else x

    def _rest(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = x + self.dropout(mixed)
        if self.pre_norm:
            return x + self.feed_forward(self.norm2(x))
        x = self.norm1(x)
        return self.norm2(x + self.feed_forward(x))
