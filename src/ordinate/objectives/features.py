r"""Several labels of one input at once, :math:`\sum_f w_f\, \ell_f`: the binary cross-entropy of one logit for a label of two classes, softmax cross-entropy for more (Lampinen, Chan and Hermann, 2024: several features, one output each).

The logits of all labels stand side by side, one for a label of two classes and C for one of C.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.objectives.base import Objective

__all__ = ["FeatureLoss"]


class FeatureLoss(Objective):
    """The mean over the batch of the weighted sum over labels.

    Attributes:
        classes: of every label.
        outputs: how many logits the model gives.
    """

    def __init__(self, classes: Sequence[int], *, key: str = "x") -> None:
        """
        Args:
            classes: of every label, at least 2 each.
            key: what of the batch goes into the model.

        Raises:
            InputError: no labels, or one of fewer than two classes.
        """
        super().__init__()
        if not classes or min(classes) < 2:
            raise InputError(f"a label has two classes or more, not {list(classes)}")
        self.classes = tuple(classes)
        self.key = key
        self.widths = [1 if count == 2 else count for count in classes]
        self.outputs = sum(self.widths)

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of `model(batch[key])` (B, outputs) against ``target`` (B, F) int64, each label times its ``weight`` (F,) where the batch has one."""
        logits, target = model(batch[self.key]), batch["target"]
        losses = []
        for number, part in enumerate(logits.split(self.widths, dim=-1)):
            if part.shape[-1] == 1:
                losses.append(F.binary_cross_entropy_with_logits(part[..., 0], target[..., number].to(part.dtype)))
            else:
                losses.append(F.cross_entropy(part, target[..., number]))
        stacked = torch.stack(losses)
        return (stacked * batch["weight"]).sum() if "weight" in batch else stacked.sum()

    def predict(self, logits: Float[Tensor, "*batch outputs"]) -> Int64[Tensor, "*batch features"]:
        """The most probable class of every label, from logits (..., outputs)."""
        parts = logits.split(self.widths, dim=-1)
        return torch.stack([(part[..., 0] > 0).long() if part.shape[-1] == 1 else part.argmax(dim=-1) for part in parts], dim=-1)
