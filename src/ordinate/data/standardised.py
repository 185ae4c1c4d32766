"""A few rows of a split of a table, with features and targets in standard deviations of those rows: what a kernel machine is given."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from ordinate.data.tabular import TabularSplit
from ordinate.ground.errors import InputError

__all__ = ["StandardRows", "standard_rows"]


@dataclass(frozen=True)
class StandardRows:
    """Training rows of mean 0 and deviation 1 in every column that is not constant (0 in one that is), and test rows on their scale."""

    train_x: Float64[Tensor, "train columns"]
    train_y: Float64[Tensor, "train 1"]
    test_x: Float64[Tensor, "test columns"]
    test_y: Float64[Tensor, "test 1"]


def standard_rows(split: TabularSplit, rows: int, chance: torch.Generator) -> StandardRows:
    """Draw training rows.

    Args:
        split: with numbers as its targets.
        rows: how many; two at least, and at most those that there are.
        chance: to draw from.

    Raises:
        InputError: another number of rows, or classes as targets.
    """
    if not 2 <= rows <= len(split.train_x):
        raise InputError(f"the split has {len(split.train_x)} training rows: ask for 2 to as many, not {rows}")
    if not split.train_y.is_floating_point():
        raise InputError("classes have no standard deviation: give a table whose target is a number")
    chosen = torch.randperm(len(split.train_x), generator=chance)[:rows]
    x, y = split.train_x[chosen], split.train_y[chosen, None]
    scaled = []
    for drawn, other in ((x, split.test_x), (y, split.test_y[:, None])):
        mean, deviation = drawn.mean(dim=0), drawn.std(dim=0, correction=0)
        deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
        scaled.append([(part - mean) / deviation for part in (drawn, other)])
    (train_x, test_x), (train_y, test_y) = scaled
    return StandardRows(train_x, train_y, test_x, test_y)
