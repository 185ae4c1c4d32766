"""Small regression problems of the UCI repository with the 20 standard splits (Hernández-Lobato & Adams 2015)."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ordinate.data.home import dataset_folder
from ordinate.ground.errors import InputError, choose

__all__ = ["REGRESSIONS", "SPLITS", "Regression", "open_regression"]

REGRESSIONS = ("boston", "concrete", "energy", "kin8nm", "yacht")
"""The problems there are."""
SPLITS = 20
"""Each problem's splits, numbered from 0."""


@dataclass(frozen=True)
class Regression:
    """One split of a problem, in the units of its file: standardise by the training rows.

    Attributes:
        name: of the problem.
        train_x, test_x: (rows, features) float64.
        train_y, test_y: (rows,) float64.
    """

    name: str
    train_x: Float64[Tensor, "train features"]
    train_y: Float64[Tensor, " train"]
    test_x: Float64[Tensor, "test features"]
    test_y: Float64[Tensor, " test"]


def open_regression(name: str, split: int = 0, *, folder: Path | None = None) -> Regression:
    """Open one of :data:`REGRESSIONS`.

    Args:
        name: which problem.
        split: which of the 20 splits.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Raises:
        InputError: there is no such problem or split, or its files are not as they should be.
        MissingError: the dataset is not at hand; the message names the command that gets it.
    """
    choose("regression problem", name, REGRESSIONS)
    if not 0 <= split < SPLITS:
        raise InputError(f"splits are numbered 0 to {SPLITS - 1}, not {split}")
    path = dataset_folder("uci", f"{name}/data.txt", folder) / name
    data = torch.tensor(_numbers(path / "data.txt"), dtype=torch.float64)
    features, target = (_indices(path / f"index_{part}.txt") for part in ("features", "target"))
    train, test = (_indices(path / f"index_{part}_{split}.txt") for part in ("train", "test"))
    return Regression(name, data[train][:, features], data[train, target[0]], data[test][:, features], data[test, target[0]])


def _numbers(path: Path) -> list[list[float]]:
    try:
        return [[float(value) for value in line.split()] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise InputError(f"{path} is not a table of numbers ({error})") from None


def _indices(path: Path) -> Int64[Tensor, " rows"]:
    return torch.tensor([int(value) for row in _numbers(path) for value in row], dtype=torch.int64)
