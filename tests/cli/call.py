"""The program, called as a person would call it, in this process."""

import io
import json
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ordinate.cli.app import main


@dataclass
class Said:
    """What a call came to."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    def refused(self, status: int, words: str) -> None:
        """One clear line on stderr that has `words` in it, nothing on stdout, no traceback."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert self.status == status, self
        assert len(lines) == 1 and lines[0].startswith("ordinate: "), self.err
        assert words in lines[0], lines[0]
        assert "Traceback" not in self.err and self.out == "", self


def ordinate(*arguments: object) -> Said:
    """Run `ordinate ARGUMENTS...`."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
    return Said(status, out.getvalue(), err.getvalue())


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A disk of its own at `folder`, as small or as closed as `options` says: ``"size=256k"``, ``"ro"``."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
