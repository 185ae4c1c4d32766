"""Labels of one's own: a CSV file with a header, a label a column and an example a row, in the order of the data or by a column ``id`` that names each."""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from ordinate.ground.errors import InputError, some

__all__ = ["read_labels"]


def read_labels(path: Path, ids: Sequence[str]) -> dict[str, Int64[Tensor, " rows"]]:
    """Read labels for examples that are called `ids`.

    Args:
        path: the file. With a column ``id`` its rows may stand in any order, and others than those asked for are passed over; without, there is a row for each example, in their order.
        ids: of the examples.

    Returns:
        Name -> (n,) class numbers, in the sorted order of the words that stand in the column.

    Raises:
        InputError: no such file, no header, a row that is short, an example without a row or twice in it, or a cell that is empty.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV file of text ({error})") from None
    if len(rows) < 2 or len(set(rows[0])) < len(rows[0]):
        raise InputError(f"{path} needs a header of different names, and rows below it")
    header, body = [name.strip() for name in rows[0]], rows[1:]
    short = [number for number, row in enumerate(body, start=2) if len(row) != len(header)]
    if short:
        raise InputError(f"{path}: line {short[0]} has not {len(header)} cells as the header has")
    if "id" in header:
        place = header.index("id")
        by_id = {row[place]: row for row in body}
        if len(by_id) < len(body):
            raise InputError(f"{path} has an id twice")
        absent = [each for each in ids if each not in by_id]
        if absent:
            raise InputError(f"{path} has no row for {some(absent, 3)}")
        body = [by_id[each] for each in ids]
    elif len(body) != len(ids):
        raise InputError(f"{path} has {len(body)} rows for {len(ids)} examples: give one for each, or a column id")
    found = {}
    for column, name in enumerate(header):
        if name == "id":
            continue
        words = [row[column].strip() for row in body]
        if not all(words):
            raise InputError(f"{path}: {name} is empty in {sum(not word for word in words)} rows")
        kinds = {word: number for number, word in enumerate(sorted(set(words)))}
        found[name] = torch.tensor([kinds[word] for word in words])
    if not found:
        raise InputError(f"{path} has no label besides the id")
    return found
