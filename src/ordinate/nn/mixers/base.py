r"""The contract of a token mixer.

A token mixer maps a sequence :math:`x \in \mathbb{R}^{B \times L \times D}` to one of the same shape, mixing across positions:

.. math:: y_i = \sum_j A_{ij}(x)\, v(x_j)

for some matrix :math:`A` that it may or may not form. Softmax attention, linear attention, long convolutions and state-space models are all of this kind,
so that any of them can stand in a block where another stood. `MixerSpec` is its row in the taxonomy: what it mixes with, and at what cost in the length.

Every mixer offered in this room is run through `tests/contracts/test_mixers.py`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError

__all__ = ["MixerSpec", "TokenMixer"]


@dataclass(frozen=True)
class MixerSpec:
    """One row of the taxonomy of token mixers.

    Attributes:
        mixes_with: what the mixing matrix is made of, in the field's terms: ``"softmax of dot products"``.
        time: the cost of a forward pass in the length L, with D fixed: ``"L^2"``, ``"L log L"``, ``"L"``.
        memory: the activations kept, in L.
        state: the size of the state carried by `step`, in L: ``"1"`` (recurrent), ``"L"`` (a cache), or ``"none"`` where it cannot step.
        shards: how the sequence can be split over processes: ``"heads"``, ``"sequence"``, ``"none"``.
    """

    mixes_with: str
    time: str
    memory: str
    state: str
    shards: str


class TokenMixer(nn.Module, ABC):
    """(B, L, D) -> (B, L, D), mixing across positions.

    A subclass sets `dim` and `causal`, implements `forward` and `spec`, and `prefill` and `step` where it can decode. Whatever else it needs (positions, a prefix length,
    a sampling rate) is a named optional argument of `forward` with a sane default, so that it still plugs in.
    """

    def __init__(self, dim: int, *, causal: bool = False) -> None:
        """
        Args:
            dim: the width D.
            causal: position i sees only positions j <= i.
        """
        super().__init__()
        if dim < 1:
            raise InputError(f"dim must be at least 1, not {dim}")
        self.dim = dim
        self.causal = causal

    @property
    @abstractmethod
    def spec(self) -> MixerSpec:
        """What it mixes with and at what cost."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "batch length dim"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "batch length dim"]:
        """Mix across positions.

        Args:
            x: (B, L, D), floating point.
            padding_mask: (B, L), True = real token. Padded positions change no real position's output; their own outputs are zero.

        Raises:
            InputError: wrong rank, width or mask shape.
        """

    def prefill(
        self, x: Float[Tensor, "batch length dim"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> tuple[Tensor, Any]:
        """Run a prompt and return (y, state), where y == forward(x) and `state` lets `step` go on after the last position.

        Raises:
            InputError: the mixer is not causal, or cannot decode step by step.
        """
        raise InputError(self._cannot_step())

    def step(self, x_t: Float[Tensor, "batch dim"], state: Any) -> tuple[Float[Tensor, "batch dim"], Any]:
        """Mix one more position: (B, D), state -> (B, D), state.

        Raises:
            InputError: the mixer is not causal, or cannot decode step by step.
        """
        raise InputError(self._cannot_step())

    def _cannot_step(self) -> str:
        reason = "cannot decode step by step" if self.causal else "is not causal: construct it with causal=True to decode step by step"
        return f"{type(self).__name__} {reason}"

    def check(self, x: Tensor, padding_mask: Tensor | None) -> None:
        """Raise `InputError` unless `x` is a floating-point (B, L, dim) and `padding_mask` a boolean (B, L) or None. To be called first in `forward`."""
        name = type(self).__name__
        if x.ndim != 3 or x.shape[-1] != self.dim:
            raise InputError(f"{name} takes (batch, length, {self.dim}), not {tuple(x.shape)}")
        if not torch.is_floating_point(x):
            raise InputError(f"{name} takes floating-point numbers, not {x.dtype}")
        if padding_mask is not None and (padding_mask.shape != x.shape[:2] or padding_mask.dtype != torch.bool):
            raise InputError(
                f"{name}: padding_mask must be boolean of shape {tuple(x.shape[:2])} (True = real token), not {padding_mask.dtype} {tuple(padding_mask.shape)}"
            )
