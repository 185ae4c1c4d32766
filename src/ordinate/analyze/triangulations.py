"""How well answers of triangulations are right: as exact sets of triangles, and by how many of the true triangles appear.

Source: Vinyals, Fortunato, Jaitly, Pointer Networks (NIPS 2015), section 4.3.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ordinate.data.planar import answer_lengths

__all__ = ["triangulation_metrics"]


def triangulation_metrics(predicted: Int[Tensor, "batch steps"], target: Int[Tensor, "batch length"]) -> dict[str, float]:
    """How well triangulations were found, each number in percent.

    Args:
        predicted: (B, T) slots, three a triangle in any order; what follows the first END does not count.
        target: (B, T'), the true triangulations.

    Returns:
        accuracy: how many are exactly the true set of triangles, with nothing left over.
        coverage: the share of the true triangles that appear, the mean over instances.
    """
    base = int(max(predicted.max(), target.max())) + 1
    ours, ours_there = _triangles(predicted, base)
    theirs, theirs_there = _triangles(target, base)
    same = (ours[:, :, None] == theirs[:, None]) & ours_there[:, :, None] & theirs_there[:, None]
    covered = same.any(dim=1)
    right = (covered | ~theirs_there).all(dim=1) & (same.any(dim=2) | ~ours_there).all(dim=1) & (answer_lengths(predicted) % 3 == 0)
    return {
        "accuracy": 100 * right.double().mean().item(),
        "coverage": 100 * (covered.sum(dim=1) / theirs_there.sum(dim=1)).double().mean().item(),
    }


def _triangles(slots: Tensor, base: int) -> tuple[Int[Tensor, "batch triangles"], Bool[Tensor, "batch triangles"]]:
    """Each triangle as one number, whatever the order of its corners, and which of them there are."""
    whole = slots.shape[1] // 3
    corners = slots[:, : 3 * whole].reshape(len(slots), whole, 3).sort(dim=2).values
    there = torch.arange(whole, device=slots.device) < (answer_lengths(slots) // 3)[:, None]
    return (corners[..., 0] * base + corners[..., 1]) * base + corners[..., 2], there
