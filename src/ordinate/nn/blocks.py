r"""The pre-normed block of sequence models, around any token mixer:

.. math:: x \leftarrow x + \mathrm{Mix}(\mathrm{LN}(x)), \qquad x \leftarrow x + W_2\,\sigma(W_1\,\mathrm{LN}(x)).

Source: Xiong et al., On Layer Normalization in the Transformer Architecture (ICML 2020).
"""

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation
from ordinate.nn.mixers.base import TokenMixer

__all__ = ["FeedForward", "MixerBlock"]


class FeedForward(nn.Module):
    """Two linear maps and an activation between them, at every position alone: (..., D) -> (..., D)."""

    def __init__(self, dim: int, *, ratio: float = 4.0, activation: str = "gelu", dropout: float = 0.0) -> None:
        """
        Args:
            dim: the width D.
            ratio: the inner width over D.
            activation: one of `ordinate.nn.activations.list_activations()`.
            dropout: after the second map.

        Raises:
            InputError: an unknown activation, or an inner width below 1.
        """
        super().__init__()
        inner = round(ratio * dim)
        if inner < 1:
            raise InputError(f"a feed-forward layer of ratio {ratio} has no inner width at dim={dim}")
        self.activation = Activation.of(activation)
        self.expand = nn.Linear(dim, inner)
        self.contract = nn.Linear(inner, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Each position by itself."""
        return self.dropout(self.contract(self.activation.fn(self.expand(x))))


class MixerBlock(nn.Module):
    """(B, L, D) -> (B, L, D)."""

    def __init__(self, mixer: TokenMixer, *, ratio: float = 4.0, activation: str = "gelu", dropout: float = 0.0) -> None:
        """
        Args:
            mixer: mixes across positions; its width is the block's.
            ratio: the feed-forward layer's inner width over D.
            activation: the feed-forward layer's.
            dropout: on both branches.
        """
        super().__init__()
        self.norm1 = nn.LayerNorm(mixer.dim)
        self.mixer = mixer
        self.norm2 = nn.LayerNorm(mixer.dim)
        self.feed_forward = FeedForward(mixer.dim, ratio=ratio, activation=activation, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch length dim"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "batch length dim"]:
        """Both branches."""
        return self._rest(x, self.mixer(self.norm1(x), padding_mask=padding_mask))

    def prefill(
        self, x: Float[Tensor, "batch length dim"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> tuple[Float[Tensor, "batch length dim"], Any]:
        """`forward`, and the mixer's state after the last position."""
        mixed, state = self.mixer.prefill(self.norm1(x), padding_mask=padding_mask)
        return self._rest(x, mixed), state

    def step(self, x_t: Float[Tensor, "batch dim"], state: Any) -> tuple[Float[Tensor, "batch dim"], Any]:
        """One more position."""
        mixed, state = self.mixer.step(self.norm1(x_t), state)
        return self._rest(x_t, mixed), state

    def _rest(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = x + self.dropout(mixed)
        return x + self.feed_forward(self.norm2(x))
