r"""Adaptive classification: answer from the smallest size that is confident enough.

A nested model gives probabilities at sizes :math:`m_1 < \dots < m_G` from one forward pass. Size i answers when its confidence :math:`\max_l P_i(l)` exceeds a threshold :math:`t_i`; otherwise the next size is asked.
The thresholds are learnt on held-out data, each pair (i, i+1) by itself: the smallest t of a grid at which "size i where it is confident, else size i+1" is most often right. The cost is reported as the
expected size, by two accountings: (a) :math:`\sum_i p_i m_i`, and (b) :math:`\sum_i p_i (m_1 + \dots + m_i)`, because separate heads (MRL) compute every size on the way; tied heads (MRL-E) reuse it.

Source: Kusupati et al., "Matryoshka Representation Learning", 2022, section 4.2.1 and appendix D.1.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.nn.nested_head import check_dims

__all__ = ["ConfidenceCascade", "flip_summed"]


class ConfidenceCascade:
    """A policy that stops at the first size whose confidence exceeds its threshold.

    Attributes:
        thresholds: (G - 1,) float64 after `fit`; the last size answers whatever its confidence is.
    """

    def __init__(self, dims: Sequence[int], grid: Float[Tensor, " thresholds"] | None = None) -> None:
        """
        Args:
            dims: the sizes, ascending.
            grid: the thresholds to choose from, ascending; None is the paper's, 100 numbers from 0.1 to 1.

        Raises:
            InputError: sizes that are not a nesting, or a grid that does not ascend.
        """
        self.dims = check_dims(dims)
        self.grid = torch.linspace(0.1, 1.0, 100, dtype=torch.float64) if grid is None else grid.to(torch.float64)
        if self.grid.ndim != 1 or not len(self.grid) or bool((self.grid.diff() <= 0).any()):
            raise InputError("the grid of thresholds must be numbers that ascend strictly")
        self.thresholds: Tensor | None = None

    def fit(self, probabilities: Float[Tensor, "sizes items classes"], labels: Int[Tensor, " items"]) -> "ConfidenceCascade":
        """Choose the thresholds on held-out data.

        Args:
            probabilities: (G, N, L), of every size.
            labels: (N,).

        Raises:
            InputError: other than G sizes, no items, values outside [0, 1], or labels that do not fit.
        """
        self._check(probabilities)
        if labels.shape != probabilities.shape[1:2]:
            raise InputError(f"{probabilities.shape[1]} items have labels of shape {tuple(labels.shape)}")
        confidence, predicted = probabilities.max(dim=2)
        right = predicted == labels
        thresholds = []
        for low in range(len(self.dims) - 1):
            # .item(): the confidence is compared in its own precision, as a number with a threshold
            counts = torch.stack([torch.where(confidence[low] > t.item(), right[low], right[low + 1]).sum() for t in self.grid])
            thresholds.append(self.grid[(counts == counts.max()).nonzero()[0, 0]])
        self.thresholds = torch.stack(thresholds) if thresholds else torch.empty(0, dtype=torch.float64)
        return self

    def predict(
        self, probabilities: Float[Tensor, "sizes items classes"], max_level: int | None = None
    ) -> tuple[Int[Tensor, " items"], Int[Tensor, " items"]]:
        """Classes and the levels (positions in `dims`) that gave them.

        Args:
            probabilities: (G, N, L), of every size.
            max_level: the largest level that may be asked, 0..G-1; it answers what no smaller one did. None is the last.

        Returns:
            (N,) and (N,), int64.

        Raises:
            InputError: not fitted, other than G sizes, no items, values outside [0, 1], or a level out of range.
        """
        if self.thresholds is None:
            raise InputError("the cascade has no thresholds yet: call fit on held-out probabilities first")
        self._check(probabilities)
        top = len(self.dims) - 1 if max_level is None else max_level
        if not 0 <= top < len(self.dims):
            raise InputError(f"max_level must be between 0 and {len(self.dims) - 1}, not {top}")
        confidence, predicted = probabilities.max(dim=2)
        levels = torch.full_like(predicted[0], top)
        for level in reversed(range(top)):
            levels[confidence[level] > self.thresholds[level].item()] = level
        return predicted.gather(0, levels[None])[0], levels

    def expected_dim(self, levels: Int[Tensor, " items"], cumulative: bool = False) -> float:
        """The mean size that answered.

        Args:
            levels: (N,), from `predict`.
            cumulative: count every size that was computed on the way too, as separate heads do.

        Raises:
            InputError: no items.
        """
        if not len(levels):
            raise InputError("the expected size of no items is not defined")
        sizes = torch.tensor(self.dims, dtype=torch.float64, device=levels.device)
        return float((sizes.cumsum(0) if cumulative else sizes)[levels].mean())

    def _check(self, probabilities: Tensor) -> None:
        if probabilities.ndim != 3 or len(probabilities) != len(self.dims) or not probabilities.shape[1]:
            raise InputError(
                f"a cascade over {len(self.dims)} sizes takes probabilities ({len(self.dims)}, items, classes), not {tuple(probabilities.shape)}"
            )
        if not bool(((probabilities >= 0) & (probabilities <= 1)).all()):
            raise InputError("probabilities must lie between 0 and 1: apply softmax to logits first")


def flip_summed(logits_of: Callable[[Tensor], Tensor], images: Float[Tensor, "batch channels height width"]) -> Tensor:
    """Logits of the images plus those of their mirror images, which makes confidences steadier: how the paper runs its cascades.

    Args:
        logits_of: images to logits of any shape.
        images: (B, C, H, W).
    """
    return logits_of(images) + logits_of(images.flip(3))
