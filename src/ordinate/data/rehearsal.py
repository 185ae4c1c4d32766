"""Rehearsal: a fixed number of exemplars of every class seen so far, and batches of which one half is of the new classes and the other of those.

Exemplars are chosen at random, a quota for each class that later classes do not shrink. Where the memory is smaller than half a batch it is drawn from with replacement.

Source: Biondi et al., "Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model Replacements", 2024, and its code; Chaudhry et al., "On Tiny Episodic Memories in Continual Learning", 2019.
"""

import torch
from jaxtyping import Int64
from torch import Tensor

from ordinate.data.augment import Augmentation
from ordinate.data.batches import Batch, Shuffled, Source
from ordinate.data.class_splits import labels_of, per_class
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["Rehearsal", "exemplars"]


def exemplars(source: Source, quota: int, *, seed: int = 0) -> Int64[Tensor, " chosen"]:
    """Rows of `quota` exemplars of each class (all of a class that has fewer), ascending.

    Raises:
        InputError: a quota below 1.
    """
    return per_class(labels_of(source), quota, seed=seed)


class Rehearsal:
    """Batches of new rows, then as many of the memory's; a pure function of (seed, step).

    Args:
        new: rows of the new classes.
        memory: exemplars of the earlier ones.
        batch_size: rows in a batch, an even number.
        seed: of what is drawn.
        augment: applied to each batch, or None.

    Raises:
        InputError: an odd batch size, or nothing new or remembered.
    """

    def __init__(self, new: Source, memory: Source, batch_size: int, seed: int, augment: Augmentation | None = None) -> None:
        if batch_size < 2 or batch_size % 2:
            raise InputError(f"half of each batch is of the memory: its size must be even, not {batch_size}")
        if not len(memory):
            raise InputError("there is nothing to rehearse: the memory is empty")
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment
        self._memory = memory
        self._new = Shuffled(new, batch_size // 2, seed)

    def __call__(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The batch of `step`, or process `rank`'s rows of it.

        Raises:
            InputError: `world` does not divide the batch size, `rank` is not one of its processes, or `step` is negative.
        """
        if not 0 <= rank < world or self.batch_size % world:
            raise InputError(f"a batch of {self.batch_size} cannot be shared by {world} processes, of which this is {rank}")
        fresh, recalled = self._new(step), self._memory.take(self._recalled(step))
        batch = {name: torch.cat([fresh[name], recalled[name]]) for name in fresh}
        if self.augment is not None:
            batch = self.augment(batch, self.augment.draw(self.batch_size, generator(self.seed, "augment", step)))
        share = slice(rank * self.batch_size // world, (rank + 1) * self.batch_size // world)
        return batch if world == 1 else {name: tensor[share] for name, tensor in batch.items()}

    def _recalled(self, step: int) -> Int64[Tensor, " half"]:
        half, count = self.batch_size // 2, len(self._memory)
        draw = generator(self.seed, "rehearsal", step)
        return torch.randperm(count, generator=draw)[:half] if half <= count else torch.randint(count, (half,), generator=draw)
