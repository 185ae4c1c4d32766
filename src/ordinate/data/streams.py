"""A text as several streams that are read side by side, stretch after stretch: what a recurrent network is trained on that goes on where it stopped.

The text is cut into B pieces of equal length, and batch t holds stretch t mod W of each, W stretches in all; row b of one batch is followed by row b of the next. What is left at the end, less than a stretch of each stream, is not read.
"""

import torch
from jaxtyping import Int64
from torch import Tensor

from ordinate.data.batches import Batch
from ordinate.ground.errors import InputError

__all__ = ["Streams"]


class Streams:
    """Batches as a function of the step: ``"input"`` and ``"target"`` (B, length) int64, the target one symbol later, and ``"fresh"`` (B,) bool, whether the stream begins anew.

    Attributes:
        stretches: W, of an epoch.
        rows: B.
    """

    def __init__(self, ids: Int64[Tensor, " symbols"], rows: int, length: int) -> None:
        """
        Args:
            ids: (N,) the text.
            rows: B, how many streams.
            length: symbols of a stretch.

        Raises:
            InputError: no stream or stretch, or a text that does not fill one stretch of each.
        """
        if min(rows, length) < 1 or (len(ids) - 1) // max(rows, 1) < length:
            raise InputError(f"a text of {len(ids)} symbols does not fill a stretch of {length} in each of {rows} streams")
        each = (len(ids) - 1) // rows
        self.rows, self.length, self.stretches = rows, length, each // length
        self._input, self._target = (part[: rows * each].reshape(rows, each) for part in (ids[:-1], ids[1:]))

    def __call__(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The batch of a step; a process of several has streams of its own.

        Raises:
            InputError: streams that cannot be divided among the processes.
        """
        if self.rows % world:
            raise InputError(f"{self.rows} streams cannot be divided among {world} processes")
        mine = slice(rank * self.rows // world, (rank + 1) * self.rows // world)
        start = step % self.stretches * self.length
        window = slice(start, start + self.length)
        inputs = self._input[mine, window]
        return {
            "input": inputs.clone(),
            "target": self._target[mine, window].clone(),
            "fresh": torch.full((len(inputs),), start == 0),
        }
