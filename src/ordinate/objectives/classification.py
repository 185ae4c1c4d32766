r"""Classification: the cross-entropy of a model's logits, :math:`-\sum_c q_c \log p_c`, with smoothed labels :math:`q = (1 - \epsilon)\,\mathbb 1_y + \epsilon / C` (Szegedy et al., 2016)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.objectives.base import Objective
from ordinate.objectives.matryoshka import NestedClassification

__all__ = ["OBJECTIVES", "Classification"]


class Classification(Objective):
    """Cross-entropy of `model(image)` (B, C) against `label` (B,) int64, or against (B, C) probabilities as mixing augmentations give."""

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        """
        Args:
            label_smoothing: the share of the probability that is spread over all classes, in [0, 1).

        Raises:
            InputError: a share outside [0, 1).
        """
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing lies in [0, 1), not {label_smoothing}")
        self.label_smoothing = label_smoothing

    @classmethod
    def for_model(
        cls,
        model: nn.Module,
        *,
        label_smoothing: float = 0.0,
        matryoshka: Sequence[int] | None = None,
        tied: bool = False,
        weights: str | Sequence[float] | None = None,
    ) -> Objective:
        """Any model whose output is logits will do; a nested embedding needs a vision encoder with a linear head.

        Args:
            model: what is trained.
            label_smoothing: see the constructor.
            matryoshka: sizes of a nested embedding, ascending: every such prefix is trained to classify too, besides the whole. None trains the whole alone.
            tied, weights: how, see :class:`ordinate.objectives.matryoshka.NestedClassification`.

        Raises:
            InputError: sizes or weights that do not fit, or `tied` or `weights` without sizes.
        """
        if matryoshka is not None:
            return NestedClassification.for_model(model, dims=matryoshka, tied=tied, weights=weights, label_smoothing=label_smoothing)
        if tied or weights is not None:
            raise InputError("tied and weights are options of a nested embedding: give its sizes too, matryoshka=8,16,32,64")
        return cls(label_smoothing=label_smoothing)

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The mean cross-entropy over the batch's `image` and `label`."""
        return F.cross_entropy(model(batch["image"]), batch["label"], label_smoothing=self.label_smoothing)


OBJECTIVES = {"classification": Classification.for_model}
