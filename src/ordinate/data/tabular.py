"""Tables by name or path with numbered splits, whole and in the units of their files.

- scikit-learn's own (`BUILT_IN`): diabetes, breast-cancer, wine, digits;
- the regression problems of the UCI repository with their 20 standard splits (`ordinate.data.regression`);
- a CSV or parquet file: its last column is the target, or the one named after a colon, ``"houses.csv:price"``; see `ordinate.data.tables`.

Where there are no standard splits, split number s holds out a fifth of the rows, of every class alike, drawn by s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet
import torch
from jaxtyping import Float64
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.model_selection import train_test_split
from torch import Tensor

from ordinate.data.regression import REGRESSIONS, SPLITS, open_regression
from ordinate.data.tables import open_table
from ordinate.ground.errors import InputError

__all__ = ["BUILT_IN", "Tabular", "TabularSplit", "open_tabular"]

BUILT_IN: dict[str, Callable[..., Any]] = {
    "breast-cancer": load_breast_cancer,
    "diabetes": load_diabetes,
    "digits": load_digits,
    "wine": load_wine,
}
"""Scikit-learn's tables, each with the function that loads it."""
_FILES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class TabularSplit:
    """One split: features (rows, columns) float64, and targets (rows,), float64 numbers or int64 classes."""

    train_x: Float64[Tensor, "train columns"]
    train_y: Tensor
    test_x: Float64[Tensor, "test columns"]
    test_y: Tensor


@dataclass(frozen=True)
class Tabular:
    """A table.

    Attributes:
        name: what it is called.
        classes: the classes' names by number, or None where the target is a number.
        split: `split(number)` -> TabularSplit, a pure function of the number, 0 or more.
    """

    name: str
    classes: list[str] | None
    split: Callable[[int], TabularSplit]


def open_tabular(data: str | Path) -> Tabular:
    """Open a table.

    Args:
        data: a name, or the path of a file, with ``:column`` after it where the target is not the last column.

    Raises:
        InputError: no such table, or a file that cannot be read as one.
        MissingError: a UCI problem that is not at hand; the message names the command that gets it.
    """
    name = str(data)
    if name in BUILT_IN:
        loaded = BUILT_IN[name]()
        return _of_rows(
            name,
            torch.tensor(loaded.data),
            torch.tensor(loaded.target),
            [str(each) for each in getattr(loaded, "target_names", [])] or None,
        )
    if name in REGRESSIONS:
        open_regression(name)  # absent files are an error now, not at the first split
        return Tabular(name, None, partial(_standard, name))
    path, _, column = name.partition(":") if ":" in name and Path(name).suffix not in _FILES else (name, "", "")
    if Path(path).suffix not in _FILES:
        raise InputError(
            f"no table {name!r}: name one of {', '.join((*BUILT_IN, *REGRESSIONS))}, or a file that ends in {', '.join(_FILES)}"
        )
    table = open_table(path, column or _last_column(Path(path).expanduser()))
    rows = {key: torch.cat((table.train.tensors[key], table.test.tensors[key])) for key in ("features", "target")}
    # The splits here are others than the file's own: features go back to the units of the file.
    features = rows["features"].double() * table.std.double() + table.mean.double()
    return _of_rows(name, features, rows["target"], table.classes)


def _of_rows(name: str, x: Tensor, y: Tensor, classes: list[str] | None) -> Tabular:
    return Tabular(name, classes, partial(_held_out, x.double(), y.double() if classes is None else y.long(), classes is not None))


def _held_out(x: Tensor, y: Tensor, stratified: bool, number: int) -> TabularSplit:
    try:
        train, test = train_test_split(
            torch.arange(len(x)).numpy(), test_size=0.2, random_state=number, stratify=y.numpy() if stratified else None
        )
    except ValueError as error:
        raise InputError(f"the table cannot be split: {error}") from None
    return TabularSplit(x[train], y[train], x[test], y[test])


def _standard(name: str, number: int) -> TabularSplit:
    found = open_regression(name, number % SPLITS)
    return TabularSplit(found.train_x, found.train_y, found.test_x, found.test_y)


def _last_column(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix == ".parquet":
            return str(pyarrow.parquet.read_schema(path).names[-1])
        separator = "\t" if path.suffix == ".tsv" else ","
        with pyarrow.csv.open_csv(path, parse_options=pyarrow.csv.ParseOptions(delimiter=separator)) as reader:
            return str(reader.schema.names[-1])
    except (pyarrow.ArrowException, IndexError) as error:
        raise InputError(f"{path} is not a table that can be read ({' '.join(str(error).split())[:100]})") from None
