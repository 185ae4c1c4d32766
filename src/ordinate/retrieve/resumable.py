"""Embeddings that are written to the end even where the process is not: what was embedded before it stopped is kept, and only the rest is done.

While the work goes on, its rows lie in a folder beside the file, `.NAME.partial`. Rows are embedded in stretches that are the same whether or not there was a stop, so that the file comes out the same to the last bit. Once a
second the rows are flushed to the disk and counted; what came after the last count is embedded again.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.files import read_json, write_json
from ordinate.ground.locks import only_writer
from ordinate.retrieve.embeddings import Origin, Part, check_ending, checked_parts, write_embeddings

__all__ = ["Written", "embed_resumably"]

_SECONDS = 1.0
_ROWS = 1 << 16


class Written(NamedTuple):
    """How many rows the file has, and how many of them had been embedded before."""

    rows: int
    before: int


def embed_resumably(
    path: Path,
    ids: Sequence[str],
    embed: Callable[[range], Float[Tensor, "rows dim"]],
    *,
    identity: Mapping[str, Any],
    labels: Sequence[str] | None = None,
    origin: Origin | None = None,
    at_once: int = 128,
    watch: Callable[[int], object] = lambda done: None,
) -> Written:
    """Embed rows and write them to a file, going on with what an interrupted call left.

    Args:
        path: ends in .parquet or .npy; the file is whole or absent.
        ids: a name a row.
        embed: gives the embeddings (B, d) of some neighbouring rows; a pure function of them.
        identity: JSON values that say what is embedded by what. What was left by a call with another is thrown away.
        labels: a label a row, or None.
        origin: where the vectors come from.
        at_once: rows a stretch.
        watch: told how many rows are done, first of all those that were done before.

    Raises:
        InputError: no rows, an embedding that is not finite, or another process at work on the same file.
        OSError: the folder cannot be written, or the disk is full; what was embedded stays.
    """
    check_ending(path)
    if not len(ids):
        raise InputError(f"{path}: there is nothing to embed")
    folder = path.parent / f".{path.name}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    with only_writer(folder / "lock", str(path)):
        card = {"rows": len(ids), "at_once": at_once, **identity}
        before = _before(folder, card)
        watch(before)
        width = _go_on(folder, ids, before, embed, at_once, watch)
        write_embeddings(path, _parts(folder, ids, labels, width), origin)
        shutil.rmtree(folder)
    return Written(len(ids), before)


def _before(folder: Path, card: dict[str, Any]) -> int:
    """How many rows are there already. Where they are of something else, none: they are thrown away."""
    try:
        held, done = read_json(folder / "card.json"), read_json(folder / "done.json")
        rows, width = int(done["rows"]), int(done["width"])
        if (
            held == card
            and (folder / "vectors").stat().st_size >= 4 * rows * width
            and (rows % card["at_once"] == 0 or rows == card["rows"])
        ):
            return rows
    except (InputError, KeyError, TypeError, ValueError, OSError):
        pass
    (folder / "done.json").unlink(missing_ok=True)
    write_json(folder / "card.json", card)
    return 0


def _go_on(
    folder: Path, ids: Sequence[str], before: int, embed: Callable[[range], Tensor], at_once: int, watch: Callable[[int], object]
) -> int:
    rows, done, width = len(ids), before, int(read_json(folder / "done.json")["width"]) if before else 0
    counted = time.monotonic()
    with (folder / "vectors").open("r+b" if before else "wb") as file:

        def count() -> None:
            file.flush()
            os.fsync(file.fileno())
            write_json(folder / "done.json", {"rows": done, "width": width})

        file.truncate(4 * done * width)
        file.seek(0, os.SEEK_END)
        try:
            for start in range(before, rows, at_once):
                stop = min(start + at_once, rows)
                for part in checked_parts([Part(ids[start:stop], embed(range(start, stop)))]):
                    width = part.vectors.shape[1]
                    file.write(part.vectors.numpy().astype("<f4", copy=False).data)
                done = stop
                watch(done)
                if time.monotonic() - counted > _SECONDS:
                    count()
                    counted = time.monotonic()
        finally:
            if done > before:
                count()
    return width


def _parts(folder: Path, ids: Sequence[str], labels: Sequence[str] | None, width: int) -> Iterator[Part]:
    with (folder / "vectors").open("rb") as file:
        for start in range(0, len(ids), _ROWS):
            some = np.fromfile(file, dtype="<f4", count=_ROWS * width).reshape(-1, width)
            stop = start + len(some)
            yield Part(ids[start:stop], torch.from_numpy(some), labels[start:stop] if labels is not None else None)
