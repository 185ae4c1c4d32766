"""A few labelled rows of each class, drawn by a seed."""

import torch
from jaxtyping import Int64
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["few_shots"]


def few_shots(labels: Int64[Tensor, " rows"], shots: int, seed: int = 0) -> Int64[Tensor, " chosen"]:
    """Rows of `shots` examples of each class that occurs, class after class. Fewer shots at the same seed are a part of more.

    Args:
        labels: (N,).
        shots: of each class.
        seed: of the draw.

    Raises:
        InputError: less than one shot, or a class with fewer rows.
    """
    if shots < 1:
        raise InputError(f"a class needs at least one shot, not {shots}")
    chosen = []
    for label in labels.unique().tolist():
        rows = (labels == label).nonzero()[:, 0]
        if len(rows) < shots:
            raise InputError(f"class {label} has {len(rows)} rows, and {shots} of each are asked for")
        chosen.append(rows[torch.randperm(len(rows), generator=generator(seed, "shots", label))[:shots]])
    return torch.cat(chosen)
