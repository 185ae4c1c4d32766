r"""Stochastic depth: a residual branch is left out for a random part of the batch.

.. math:: y = \frac{z}{1-p}\, f(x), \qquad z \sim \mathrm{Bernoulli}(1-p) \text{ for each sample,}

in training, and :math:`y = f(x)` otherwise; the mean is the same. A network's rates usually rise linearly with depth.

Source: Huang, Sun, Liu, Sedra, Weinberger, Deep Networks with Stochastic Depth (ECCV 2016), section 3.
"""

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from ordinate.ground.errors import InputError

__all__ = ["DropPath", "rising_rates"]


class DropPath(nn.Module):
    """Zero whole samples of a (B, ...) branch with probability `rate` in training, and scale the rest up."""

    def __init__(self, rate: float = 0.0) -> None:
        """
        Args:
            rate: the probability p, 0 <= p < 1.

        Raises:
            InputError: `rate` is outside [0, 1).
        """
        super().__init__()
        if not 0 <= rate < 1:
            raise InputError(f"a drop-path rate lies in [0, 1), not {rate}")
        self.rate = rate

    def forward(self, x: Shaped[Tensor, "batch *rest"]) -> Shaped[Tensor, "batch *rest"]:
        """Drop samples; the identity outside training, or at rate 0."""
        if not self.training or self.rate == 0.0:
            return x
        kept = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= self.rate
        return x * (kept / (1 - self.rate)).to(x.dtype)

    def extra_repr(self) -> str:
        """The rate."""
        return f"{self.rate:g}"


def rising_rates(highest: float, blocks: int) -> list[float]:
    """The rates of `blocks` blocks, rising linearly from 0 to `highest`."""
    return [highest * index / max(blocks - 1, 1) for index in range(blocks)]
