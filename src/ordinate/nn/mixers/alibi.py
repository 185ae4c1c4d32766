r"""Softmax attention with a fixed bias that falls with the offset (ALiBi), :math:`-m_h |i - j|` with :math:`m_h = 2^{-8h/H}` for heads h = 1, ..., H.

Nothing is learnt about positions, and nothing ends at a length.

Source: Press, Smith and Lewis, Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation (ICLR 2022).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.nn.mixers.base import MixerSpec
from ordinate.nn.mixers.softmax import RelativeSoftmaxAttention

__all__ = ["MIXERS", "AlibiAttention", "LinearBias"]


class LinearBias(nn.Module):
    """The fixed bias of a head and offset, with the manners of `ordinate.nn.positions.RelativeBias`."""

    table: Tensor  # the slopes; the name by which attention finds the device

    def __init__(self, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.register_buffer("table", 2.0 ** (-8.0 * torch.arange(1, heads + 1) / heads), persistent=False)

    def at(self, offsets: Int[Tensor, "n"]) -> Float[Tensor, "heads n"]:
        """The bias of offsets j - i, (H, n); -inf ahead of a causal mixer."""
        bias = -self.table[:, None] * offsets.abs()
        return bias.masked_fill(offsets > 0, -torch.inf) if self.causal else bias

    def forward(self, rows: int, columns: int | None = None) -> Float[Tensor, "heads offsets"]:
        """The diagonals (H, R + C - 1)."""
        return self.at(torch.arange(1 - rows, rows if columns is None else columns, device=self.table.device))


class AlibiAttention(RelativeSoftmaxAttention):
    """Softmax attention with ALiBi."""

    def __init__(self, dim: int, *, heads: int = 4, causal: bool = False, max_length: int | None = None, bias: bool = True) -> None:
        """
        Args:
            dim: the width D.
            heads: H, a divisor of D.
            causal: position i sees only positions j <= i.
            max_length: longer sequences are taken too.
            bias: the linear maps have biases.

        Raises:
            InputError: D cannot be divided among H heads, or a max_length below 1.
        """
        super().__init__(dim, heads=heads, causal=causal, max_length=1 if max_length is None else max_length, bias=bias)
        self.relative = LinearBias(heads, causal=causal)  # type: ignore[assignment]

    @property
    def spec(self) -> MixerSpec:
        """Softmax of dot products and a falling bias."""
        return MixerSpec(
            mixes_with="softmax of dot products less a slope of the offset", time="L^2", memory="L^2", state="L", shards="heads"
        )


MIXERS = {"softmax-alibi": AlibiAttention}
