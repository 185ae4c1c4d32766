"""The lines of a text file, found once and read when they are asked for, so that the file need not fit in memory. Empty lines do not count."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from ordinate.ground.errors import InputError

__all__ = ["Lines"]


class Lines(Sequence[str]):
    """The lines that are not empty, without their ends.

    Attributes:
        path: the file.
        numbers: (N,) int64, the number in the file of each, counted from 1.
        stamp: something that differs when the file has changed.
    """

    def __init__(self, path: Path) -> None:
        """
        Args:
            path: a file in UTF-8.

        Raises:
            InputError: there is no such file, or it has no lines.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        self.path = path
        starts, numbers, place = [], [], 0
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    starts.append(place)
                    numbers.append(number)
                place += len(line)
        if not starts:
            raise InputError(f"{path} is empty")
        self._starts, self.numbers = np.array(starts, dtype=np.int64), np.array(numbers, dtype=np.int64)
        about = path.stat()
        self.stamp = repr((str(path.resolve()), about.st_size, about.st_mtime_ns))

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, item: int) -> str: ...

    @overload
    def __getitem__(self, item: slice) -> list[str]: ...

    def __getitem__(self, item: int | slice) -> str | list[str]:
        rows = range(len(self))[item]
        found = self._read(rows if isinstance(rows, range) else range(rows, rows + 1))
        return found if isinstance(item, slice) else found[0]

    def _read(self, rows: range) -> list[str]:
        lines = []
        with self.path.open("rb") as file:
            for row in rows:
                file.seek(int(self._starts[row]), os.SEEK_SET)
                try:
                    lines.append(file.readline().decode("utf-8-sig" if self._starts[row] == 0 else "utf-8").strip("\r\n"))
                except UnicodeDecodeError:
                    raise InputError(f"{self.path} line {self.numbers[row]} is not UTF-8 text: convert the file") from None
        return lines
