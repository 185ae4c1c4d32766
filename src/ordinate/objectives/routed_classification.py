r"""Cross-entropy of several tasks at once, each row judged by the head of its own task.

.. math:: L = \sum_t w_t\, \frac{1}{|B_t|} \sum_{x \in B_t} -\log p_t(y \mid f(x))

With weights 1 it teaches one encoder all tasks; with -1 for one task and +1 for a control it unlearns the first and keeps the second.

Source: Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), equations 6 and 7.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.objectives.base import Objective

__all__ = ["RoutedClassification"]


class RoutedClassification(Objective):
    """The weighted sum over tasks of their mean cross-entropies, for encoders from images to embeddings.

    Attributes:
        heads: embeddings (B, d) to logits, one a task; frozen.
        weights: one a task.
    """

    def __init__(self, heads: Sequence[nn.Module], weights: Sequence[float] | None = None) -> None:
        """
        Args:
            heads: one a task.
            weights: one a task; None is 1 for all.

        Raises:
            InputError: no head, or another number of weights.
        """
        super().__init__()
        if not heads or (weights is not None and len(weights) != len(heads)):
            raise InputError(f"there must be one head and one weight a task, not {len(heads)} and {len(weights or ())}")
        self.heads = nn.ModuleList(heads).requires_grad_(False)
        self.weights = tuple(weights or [1.0] * len(heads))

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of a batch with ``"image"``, ``"label"`` and ``"task"`` (B,) int64; a task that is not in it adds nothing."""
        embedded, loss = model(batch["image"]), torch.zeros((), device=batch["image"].device)
        for number, (head, weight) in enumerate(zip(self.heads, self.weights, strict=True)):
            rows = (batch["task"] == number).nonzero()[:, 0]
            if len(rows):
                loss = loss + weight * F.cross_entropy(head(embedded[rows]), batch["label"][rows])
        return loss
