"""What each position sees of a padded sequence, as a mask for attention."""

import torch
from jaxtyping import Bool
from torch import Tensor

__all__ = ["visible"]


def visible(mask: Bool[Tensor, "batch columns"], rows: int, causal: bool) -> Bool[Tensor, "batch 1 rows columns"]:
    """(B, 1, R, C): whether row i sees column j.

    A row that would see nothing sees everything, so that its softmax is a number; only padding is in that case, and its output is zeroed afterwards.

    Args:
        mask: (B, C), True = real token.
        rows: R; as many as columns where `causal`.
        causal: position i sees only positions j <= i.
    """
    seen = mask[:, None, None].expand(-1, 1, rows, -1)
    if causal:
        seen = seen & torch.ones(rows, rows, dtype=torch.bool, device=mask.device).tril()
    return seen | ~seen.any(-1, keepdim=True)
