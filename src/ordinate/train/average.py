r"""Exponential moving averages of weights: :math:`\bar\theta \leftarrow \beta\,\bar\theta + (1 - \beta)\,\theta`, buffers copied."""

from copy import deepcopy

import torch
from torch import nn

from ordinate.ground.errors import InputError

__all__ = ["MovingAverage"]


class MovingAverage:
    """A copy of a module whose weights follow the module's slowly. As a teacher or as what is evaluated.

    Attributes:
        module: the copy; in evaluation mode, without gradients.
    """

    def __init__(self, source: nn.Module, decay: float) -> None:
        """
        Args:
            source: what is followed; it is copied as it stands.
            decay: how much of the old average is kept at every update, in [0, 1).

        Raises:
            InputError: a decay outside [0, 1).
        """
        if not 0 <= decay < 1:
            raise InputError(f"the decay of a moving average lies in [0, 1), not {decay}")
        self.decay = decay
        self.module = deepcopy(source).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, source: nn.Module) -> None:
        """Move the average towards `source`. Integer buffers (counts) and running statistics are copied."""
        for mean, parameter in zip(self.module.parameters(), source.parameters(), strict=True):
            mean.lerp_(parameter.to(mean.dtype), 1 - self.decay)
        for mine, buffer in zip(self.module.buffers(), source.buffers(), strict=True):
            mine.copy_(buffer)
