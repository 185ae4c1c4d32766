r"""Layer normalisation over the channels of a map.

For every pixel of :math:`x \in \mathbb{R}^{B \times C \times H \times W}`,

.. math:: y_c = w_c\, \frac{x_c - \mu}{\sqrt{\sigma^2 + \epsilon}} + b_c, \qquad \mu = \tfrac1C \sum_c x_c,\quad \sigma^2 = \tfrac1C \sum_c (x_c - \mu)^2.

It is ordinary layer normalisation (Ba, Kiros, Hinton 2016) of a channels-last view, which costs nothing where the map is stored channels last.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["LayerNorm2d"]


class LayerNorm2d(nn.LayerNorm):
    """(B, C, H, W) -> (B, C, H, W), normalised over C at every pixel. The statistics are those of float32 whatever the dtype of `x`, which is kept."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        """
        Args:
            channels: C.
            eps: added to the variance.
        """
        super().__init__(channels, eps=eps)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """Normalise every pixel over its channels."""
        # A kernel of half precision accumulates in float32 by itself; half-precision maps with float32 weights (autocast) are brought up to the weights.
        last = x.permute(0, 2, 3, 1).to(self.weight.dtype)
        return F.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2).to(x.dtype)
