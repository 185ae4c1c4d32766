"""Which features are taught when: a weight a feature and step, carried by the batches themselves, so that a run that is resumed goes on with the same lesson."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["Weighted"]


class Weighted:
    """Batches with a ``"weight"`` (F,), one number a feature.

    Args:
        batches: the batch of a step.
        weights: after the stages.
        stages: (steps, weights) one after another from step 0: ``[(1500, (0.0, 1.0))]`` teaches the second feature alone at first.

    Raises:
        InputError: weights of different lengths, negative, or all zero; a stage without steps.
    """

    def __init__(
        self, batches: Callable[..., dict[str, Tensor]], weights: Sequence[float], stages: Sequence[tuple[int, Sequence[float]]] = ()
    ) -> None:
        every = [tuple(weights), *(tuple(each) for _, each in stages)]
        if len({len(each) for each in every}) > 1 or any(min(each) < 0 or max(each) == 0 for each in every):
            raise InputError(f"weights are 0 or more, one a feature, and some are above 0: not {every}")
        if any(steps < 1 for steps, _ in stages):
            raise InputError("a stage lasts at least one step")
        self.batches = batches
        ends = torch.tensor([steps for steps, _ in stages], dtype=torch.int64).cumsum(0).tolist()
        self.stages = [(end, torch.tensor(tuple(each))) for end, (_, each) in zip(ends, stages, strict=True)]
        self.weights = torch.tensor(tuple(weights))

    def __call__(self, step: int, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
        """The batch of `step`, or process `rank`'s rows of it, with the weights of that step."""
        weight = next((each for end, each in self.stages if step < end), self.weights)
        return {**self.batches(step, rank, world), "weight": weight}
