"""Runs that were trained on sets of numbers as encoders of such sets: what the reader made of a set, and the writer starts from.

A table of sets is a file with a set a line, its numbers separated by commas, semicolons or blanks; lines may differ in length.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.data.lines import Lines
from ordinate.ground.errors import InputError
from ordinate.models.read_process_write import ReadProcessWrite, SetReader
from ordinate.tasks.run_encoder import Encoder, Inputs

__all__ = ["ENCODERS", "NumberEncoder", "NumberInputs"]

_SEPARATORS = re.compile(r"[,;\s]+")


def _numbers(line: str, where: str) -> list[float]:
    """The numbers of a line.

    Raises:
        InputError: something in it is not a finite number, or there are none.
    """
    try:
        found = [float(word) for word in _SEPARATORS.split(line.strip(" \t,;")) if word]
    except ValueError as error:
        raise InputError(f"{where} is not a set of numbers ({error})") from None
    if not found or not all(abs(number) < float("inf") for number in found):
        raise InputError(f"{where} is not a set of numbers: they must be finite, and at least one")
    return found


class NumberInputs(Inputs):
    """The sets of a file: each is named by the number of its line, and its label is the line."""

    def __init__(self, lines: Lines) -> None:
        """
        Args:
            lines: of the file.
        """
        self.lines = lines
        self.ids = [str(number) for number in lines.numbers.tolist()]
        self.labels = lines
        self.stamp = lines.stamp

    def take(self, rows: range) -> list[list[float]]:
        """As in :class:`Inputs`."""
        lines = self.lines[rows.start : rows.stop]
        return [_numbers(line, f"{self.lines.path} line {self.ids[row]}") for row, line in zip(rows, lines, strict=True)]


class NumberEncoder(Encoder):
    """`encode` takes sets of numbers, of any sizes."""

    kind = "numbers"

    def check(self) -> None:
        """As in :class:`Encoder`."""
        reader = getattr(self.model, "reader", None)
        if not isinstance(self.model, ReadProcessWrite) or (isinstance(reader, SetReader) and not reader.process.steps):
            raise InputError(f"{self.run} holds a {type(self.model).__name__} that keeps no summary of a set, and does not embed any")

    def example(self) -> list[list[float]]:
        """As in :class:`Encoder`."""
        return [[0.5]]

    def embed(self, inputs: Sequence[Sequence[float]]) -> Float[Tensor, "batch dim"]:
        """As in :class:`Encoder`.

        Raises:
            InputError: no sets, or an empty one.
        """
        if not len(inputs) or not all(len(each) for each in inputs):
            raise InputError("a set of numbers to embed has at least one number")
        assert isinstance(self.model, ReadProcessWrite)
        lengths = torch.tensor([len(each) for each in inputs])
        rows = [torch.tensor(list(each), dtype=torch.float32) for each in inputs]
        points = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)[..., None]
        _, h, c = self.model.reader(points.to(self.device), lengths.to(self.device))
        return torch.cat([h, c], dim=1)

    def open(self, given: str, *, strict: bool = False) -> NumberInputs:
        """As in :class:`Encoder`: a file with a set a line."""
        return NumberInputs(Lines(Path(given).expanduser()))

    def query(self, given: str) -> list[list[float]]:
        """As in :class:`Encoder`: the numbers, ``"0.3, 0.1, 0.7"``."""
        return [_numbers(given, repr(given))]


ENCODERS = {"numbers": NumberEncoder}
