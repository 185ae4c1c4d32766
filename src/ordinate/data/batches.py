"""Batches that are pure functions of (seed, step).

A `Source` gives rows by number. `Shuffled` reads it through one endless stream of rows: the permutations of epoch 0, 1, 2, ... end to end, epoch e permuted by a generator
seeded with derive(seed, "epoch", e). With B rows a batch and N in the source,

    batch t  =  rows tB, ..., tB + B - 1 of the stream,        row p of the stream = permutation_{p // N}[p mod N].

Nothing is dropped: a batch at the end of an epoch is filled from the beginning of the next one, and B > N simply spans several epochs (a batch may then hold a row twice).
Augmentations are drawn for the whole batch, from a generator seeded with derive(seed, "augment", t); a process of a world of W takes its B / W rows of both, so that W processes
together see what one alone would. `Generated` makes its batch anew at every step. No batch depends on torch's global generator, on the batches before it, or on who asks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Int64
from torch import Tensor

from ordinate.data.augment import Augmentation
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["Batch", "Generated", "Shuffled", "Source", "Subset", "TensorSource"]

Batch: TypeAlias = dict[str, Tensor]
"""Named tensors with the same number of rows."""


class Source(ABC):
    """Rows by number, read only when they are asked for. Must survive pickling, and be read from several threads."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of rows."""

    @abstractmethod
    def take(self, indices: Int64[Tensor, " batch"]) -> Batch:
        """The rows `indices`, in that order, repeated where they repeat; tensors of its own, which the caller may change.

        Raises:
            IndexError: there is no such row.
        """


class TensorSource(Source):
    """Rows of tensors that are in memory: ``TensorSource(image=images, label=labels)``.

    Args:
        tensors: at least one, each (rows, ...), any dtype.

    Raises:
        InputError: no tensor, or their numbers of rows differ.
    """

    def __init__(self, **tensors: Tensor) -> None:
        lengths = {name: len(tensor) if tensor.ndim else 0 for name, tensor in tensors.items()}
        if len(set(lengths.values())) != 1:
            raise InputError(f"the columns of a source must have the same number of rows, not {lengths}")
        self.tensors = tensors
        self._rows = next(iter(lengths.values()))

    def __len__(self) -> int:
        return self._rows

    def take(self, indices: Int64[Tensor, " batch"]) -> Batch:
        return {name: tensor[indices] for name, tensor in self.tensors.items()}


class Subset(Source):
    """Some rows of another source, in the order given.

    Args:
        source: what the rows are of.
        indices: (rows,) int64, the rows of `source`.
    """

    def __init__(self, source: Source, indices: Int64[Tensor, " rows"]) -> None:
        self.source = source
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: Int64[Tensor, " batch"]) -> Batch:
        return self.source.take(self.indices[indices])


class Shuffled:
    """Batches of a source, shuffled anew each epoch.

    Args:
        source: the rows.
        batch_size: rows in a batch, over all processes together.
        seed: of the permutations and the augmentations.
        augment: applied to each batch, or None.

    Raises:
        InputError: the source is empty, or `batch_size` is not at least 1.
    """

    def __init__(self, source: Source, batch_size: int, seed: int, augment: Augmentation | None = None) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        if len(source) < 1:
            raise InputError("there are no rows to make batches of")
        self.source = source
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment
        self._permutations: dict[int, Tensor] = {}  # of the last epochs read: a memory, not a state

    def __call__(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The batch of `step`, or process `rank`'s rows of it: those from rank·B/world to (rank + 1)·B/world.

        Raises:
            InputError: `world` does not divide the batch size, `rank` is not one of its processes, or `step` is negative.
        """
        mine = _share(self.batch_size, rank, world)
        batch = self.source.take(self._rows(step)[mine])
        if self.augment is None:
            return batch
        draws = self.augment.draw(self.batch_size, generator(self.seed, "augment", step))
        return self.augment(batch, {name: draw[mine] for name, draw in draws.items()})

    def rows(self, step: int) -> list[int]:
        """Which rows of the source the whole batch of `step` holds, in its order."""
        return self._rows(step).tolist()

    def _rows(self, step: int) -> Int64[Tensor, " batch"]:
        if step < 0:
            raise InputError(f"steps count from 0, there is none before it: {step}")
        count = len(self.source)
        position, end = step * self.batch_size, (step + 1) * self.batch_size
        parts = []
        while position < end:
            epoch, offset = divmod(position, count)
            parts.append(self._permutation(epoch)[offset : offset + end - position])
            position += len(parts[-1])
        return torch.cat(parts)

    def _permutation(self, epoch: int) -> Int64[Tensor, " rows"]:
        known = self._permutations
        found = known.get(epoch)
        if found is None:
            found = torch.randperm(len(self.source), generator=generator(self.seed, "epoch", epoch))
            # replaced, not changed: another thread may be reading it
            self._permutations = {**({epoch - 1: known[epoch - 1]} if epoch - 1 in known else {}), epoch: found}
        return found

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_permutations": {}}


class Generated:
    """Batches made at each step, for tasks whose data have no end.

    Args:
        make: from a generator to the whole batch; whatever is random in it is drawn from that generator.
        seed: of the batches.
    """

    def __init__(self, make: Callable[[torch.Generator], Batch], seed: int) -> None:
        self.make = make
        self.seed = seed

    def __call__(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The batch of `step`, or process `rank`'s rows of it.

        Raises:
            InputError: `world` does not divide the number of rows, `rank` is not one of its processes, or `step` is negative.
        """
        if step < 0:
            raise InputError(f"steps count from 0, there is none before it: {step}")
        batch = self.make(generator(self.seed, "batch", step))
        if world == 1 and rank == 0:
            return batch
        return {name: tensor[_share(len(tensor), rank, world)] for name, tensor in batch.items()}


def _share(count: int, rank: int, world: int) -> slice:
    if world < 1 or not 0 <= rank < world:
        raise InputError(f"there is no process {rank} in a world of {world}")
    if count % world:
        raise InputError(f"a batch of {count} cannot be shared equally by {world} processes: choose a batch size that {world} divides")
    return slice(rank * count // world, (rank + 1) * count // world)
