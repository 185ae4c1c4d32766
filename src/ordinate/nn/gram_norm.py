r"""Normalisation of Gram matrices, the kernel counterpart of batch normalisation: :math:`G \to e^s G / \overline{\mathrm{diag}}(G_{ii})` with a learned scale s.

Source: Milsom, Anson, Aitchison, Convolutional deep kernel machines (ICLR 2024).
"""

import torch
from torch import Tensor, nn

from ordinate.nn.gram import Gram

__all__ = ["GramNorm"]


class GramNorm(nn.Module):
    """Divides all blocks by the mean of the inducing block's diagonal, and scales them."""

    log_scale: Tensor

    def __init__(self, *, batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> None:
        """
        Args:
            batch: of independent problems.
            dtype: of the scale.
        """
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(batch, dtype=dtype))

    def forward(self, gram: Gram) -> Gram:
        """The normalised Gram matrix; its mean inducing diagonal is exp(s)."""
        scale = self.log_scale.exp() / gram.i.mean(dim=-1)
        tt = scale[(..., *([None] * (2 if gram.full else 1)))] * gram.tt
        return Gram(scale[..., None, None] * gram.ii, scale[..., None, None] * gram.ti, tt)
