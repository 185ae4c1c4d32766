"""The options that mean the same in every command."""

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ordinate.experiment.setting import Setting
from ordinate.ground.errors import InputError

__all__ = ["DataDir", "Device", "Json", "Out", "Quiet", "Resume", "Scale", "Seed", "Seeds", "Steps", "make_setting", "place", "runs_folder"]

Scale = Annotated[str, typer.Option("--scale", help="smoke (seconds), full (minutes; what a verdict comes from) or gpu.")]
Seeds = Annotated[int | None, typer.Option("--seeds", help="How many seeds every arm is run with (3 by default).")]
Seed = Annotated[int, typer.Option("--seed", help="The first seed.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps.")]
Steps = Annotated[int | None, typer.Option("--steps", help="Training steps, in place of the scale's own number.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Where to write; by default a new folder under ./runs ($ORDINATE_RUNS).")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in --out (or the latest of its kind) instead of starting afresh.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress, only the result.")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where named datasets lie ($ORDINATE_DATA, or the platform's cache folder).")
]


def make_setting(scale: str, seeds: int | None, seed: int, device: str, steps: int | None) -> Setting:
    """The setting that the options describe.

    Raises:
        InputError: a number out of range, or an unknown scale or device.
    """
    count = 3 if seeds is None else seeds
    if count < 1:
        raise InputError(f"--seeds must be at least 1, not {count}")
    if seed < 0:
        raise InputError(f"--seed must be 0 or more, not {seed}")
    return Setting(scale=scale, seeds=tuple(range(seed, seed + count)), device=device, steps=steps)


def runs_folder() -> Path:
    """Where runs go: `$ORDINATE_RUNS`, or `./runs`."""
    return Path(os.environ.get("ORDINATE_RUNS", "runs"))


def _fresh_folder(kind: str) -> Path:
    """A new folder's path under the runs, named by the time."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path = runs_folder() / kind / stamp
    number = 2
    while path.exists():
        path = path.with_name(f"{stamp}-{number}")
        number += 1
    return path


def _latest_folder(kind: str) -> Path:
    """The newest folder of its kind under the runs.

    Raises:
        InputError: there is none.
    """
    folder = runs_folder() / kind
    found = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not found:
        raise InputError(f"there is no run to resume in {folder}: leave out --resume to start one, or name it with --out")
    return found[-1]


def place(kind: str, out: Path | None, resume: bool) -> Path:
    """Where a command writes, from its `--out` and `--resume`."""
    if out is not None:
        return out
    return _latest_folder(kind) if resume else _fresh_folder(kind)
