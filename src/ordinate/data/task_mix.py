"""Batches of several tasks at once: an equal share of each, with the task that each row is of."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ordinate.data.augment import Augmentation
from ordinate.data.batches import Batch, Shuffled, Source
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive

__all__ = ["TaskMix"]


class TaskMix:
    """Batches whose rows are shared equally by several sources, one after the other: ``"task"`` (B,) int64 numbers the source of each row.

    Attributes:
        epoch: steps until the smallest source has been seen once; at least 1.
    """

    def __init__(self, sources: Sequence[Source], batch_size: int, seed: int, augment: Augmentation | None = None) -> None:
        """
        Args:
            sources: with the same columns, whose rows have the same shapes.
            batch_size: rows of a batch, of all sources together; a multiple of their number.
            seed: of the order of each.
            augment: applied to each source's share.

        Raises:
            InputError: no source, an empty one, or a batch that cannot be shared equally.
        """
        if not sources or batch_size % len(sources) or batch_size < len(sources):
            raise InputError(f"a batch of {batch_size} cannot be shared equally by {len(sources)} tasks")
        share = batch_size // len(sources)
        self.parts = [Shuffled(source, share, derive(seed, "task", number), augment) for number, source in enumerate(sources)]
        self.epoch = max(1, min(len(source) for source in sources) // share)

    def __call__(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The batch of `step`, or process `rank`'s share of each task's rows.

        Raises:
            InputError: `world` does not divide a task's share.
        """
        shares = [part(step, rank, world) for part in self.parts]
        rows = [len(next(iter(share.values()))) for share in shares]
        task = torch.cat([torch.full((count,), number) for number, count in enumerate(rows)])
        joined: dict[str, Tensor] = {name: torch.cat([share[name] for share in shares]) for name in shares[0]}
        return {**joined, "task": task}
