"""Who chose what, and when: interactions of people with items in RecBole's atomic files (tab separated, each column's header ``name:type``); ``ml-100k`` or a folder of that kind."""

import csv
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ordinate.data.home import dataset_folder
from ordinate.ground.errors import InputError, choose

__all__ = ["NAMED_INTERACTIONS", "Interactions", "open_interactions"]

NAMED_INTERACTIONS = ("ml-100k",)
"""Datasets that :func:`open_interactions` knows by name."""


@dataclass(frozen=True)
class Interactions:
    """Interactions, in the file's order. People and items are numbered from 0 in the order of their names (as numbers where they are).

    Attributes:
        name: as it was asked for.
        user, item: (interactions,) int64.
        rating: (interactions,) float64; 1 where the file has none.
        time: (interactions,) float64, seconds; 0 where the file has none.
        users, items: the names behind the numbers.
        item_fields: what is known of each item, by the name of its field (``"movie_title"``); empty text where nothing is.
        user_fields: what is known of each person.
    """

    name: str
    user: Int64[Tensor, " interactions"]
    item: Int64[Tensor, " interactions"]
    rating: Float64[Tensor, " interactions"]
    time: Float64[Tensor, " interactions"]
    users: list[str]
    items: list[str]
    item_fields: dict[str, list[str]]
    user_fields: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.user)

    def histories(self) -> list[Int64[Tensor, " items"]]:
        """The items of every person in the order of time; at the same time, in the file's order."""
        order = self.time.argsort(stable=True)
        user, item = self.user[order], self.item[order]
        return [item[user == number] for number in range(len(self.users))]


def open_interactions(name_or_path: str | Path = "ml-100k", *, folder: Path | None = None) -> Interactions:
    """Open interactions by name or path.

    Args:
        name_or_path: one of :data:`NAMED_INTERACTIONS`, or a folder with one ``.inter`` file, and perhaps ``.item`` and ``.user``.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Raises:
        InputError: there is no such name or folder, or its files are not as they should be.
        MissingError: a named dataset is not at hand; the message names the command that gets it.
    """
    name = str(name_or_path)
    if name in NAMED_INTERACTIONS:
        path = dataset_folder(name, f"{name}.inter", folder)
    else:
        path = Path(name_or_path).expanduser()
        if not path.is_dir():
            choose("dataset of interactions (or folder)", name, NAMED_INTERACTIONS)
    found = sorted(path.glob("*.inter"))
    if len(found) != 1:
        raise InputError(f"{path} must hold one .inter file, not {len(found)}")
    columns = _columns(found[0])
    for needed in ("user_id", "item_id"):
        if needed not in columns:
            raise InputError(f"{found[0]} has no column {needed}: it has {', '.join(columns)}")
    count = len(columns["user_id"])
    if not count:
        raise InputError(f"{found[0]} has no rows")
    users, items = (sorted(set(columns[key]), key=_by_number) for key in ("user_id", "item_id"))
    numbers = [{text: number for number, text in enumerate(names)} for names in (users, items)]
    return Interactions(
        name=name,
        user=torch.tensor([numbers[0][text] for text in columns["user_id"]]),
        item=torch.tensor([numbers[1][text] for text in columns["item_id"]]),
        rating=_floats(found[0], columns, "rating", 1.0),
        time=_floats(found[0], columns, "timestamp", 0.0),
        users=users,
        items=items,
        item_fields=_fields(found[0].with_suffix(".item"), "item_id", items),
        user_fields=_fields(found[0].with_suffix(".user"), "user_id", users),
    )


def _by_number(text: str) -> tuple[int, int, str]:
    return (0, int(text), text) if text.isdecimal() else (1, 0, text)


def _columns(path: Path) -> dict[str, list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        try:
            header, *rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        except (ValueError, UnicodeDecodeError, csv.Error):
            raise InputError(f"{path} is not a tab separated table with a header") from None
    names = [column.partition(":")[0] for column in header]
    short = next((number for number, row in enumerate(rows, 2) if len(row) != len(names)), None)
    if short is not None:
        raise InputError(f"{path} line {short} has {len(rows[short - 2])} columns where the header has {len(names)}")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _floats(path: Path, columns: dict[str, list[str]], name: str, default: float) -> Float64[Tensor, " rows"]:
    if name not in columns:
        return torch.full((len(columns["user_id"]),), default, dtype=torch.float64)
    try:
        return torch.tensor([float(text) for text in columns[name]], dtype=torch.float64)
    except ValueError as error:
        raise InputError(f"{path} has a {name} that is no number ({error})") from None


def _fields(path: Path, key: str, names: list[str]) -> dict[str, list[str]]:
    if not path.is_file():
        return {}
    columns = _columns(path)
    if key not in columns:
        raise InputError(f"{path} has no column {key}: it has {', '.join(columns)}")
    row_of = {text: row for row, text in enumerate(columns[key])}
    return {field: [values[row_of[name]] if name in row_of else "" for name in names] for field, values in columns.items() if field != key}
