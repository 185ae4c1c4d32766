"""What a run measured: curves in memory and, where the run has a folder, lines in `metrics.jsonl`, one JSON object a line.

After a crash the file may be ahead of the checkpoint, or end in half a line: going on from step t keeps the lines up to t.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ordinate.ground.errors import require
from ordinate.ground.files import write_text

__all__ = ["History"]


class History:
    """Named series of (step, value).

    Attributes:
        curves: name -> [(step, value), ...] in the order of the steps; ``"loss"`` and ``"lr"`` are always there.
        best: (step, value) of the best evaluation, or None where none was asked for.
    """

    def __init__(self, path: Path | None = None, tensorboard: Path | None = None) -> None:
        """
        Args:
            path: the `metrics.jsonl` to write, or None.
            tensorboard: the folder for TensorBoard's event files, or None.

        Raises:
            MissingError: TensorBoard is asked for and not installed.
        """
        self.curves: dict[str, list[tuple[float, float]]] = {}
        self.best: tuple[int, float] | None = None
        self._path = path
        self._file: IO[str] | None = None
        self._writer: Any = None
        if tensorboard is not None:
            require("tensorboard", "tensorboard")
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(tensorboard))

    def last(self, name: str) -> float:
        """The latest value of the series `name`."""
        return self.curves[name][-1][1]

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Record values measured after `step` optimizer steps."""
        for name, value in values.items():
            self.curves.setdefault(name, []).append((step, float(value)))
            if self._writer is not None:
                self._writer.add_scalar(name, value, step)
        if self._path is not None:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("a", encoding="utf-8")
            self._file.write(json.dumps({"step": step, **values}) + "\n")

    def flush(self) -> None:
        """Bring every line to the disk, so that no checkpoint is ahead of the lines that led to it."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
        if self._writer is not None:
            self._writer.flush()

    def rewind(self, step: int) -> None:
        """Take up the lines of the file up to `step`, and drop what comes after."""
        if self._path is None or not self._path.exists():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                values = json.loads(line)
            except json.JSONDecodeError:
                continue  # the half line of a crash
            at = values.pop("step")
            if at <= step:
                kept.append(line)
                for name, value in values.items():
                    self.curves.setdefault(name, []).append((at, value))
        write_text(self._path, "".join(line + "\n" for line in kept))

    def close(self) -> None:
        """Flush and close the files."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._writer is not None:
            self._writer.close()
