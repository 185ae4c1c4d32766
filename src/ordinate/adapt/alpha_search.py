r"""The baseline of learned composition: one coefficient for a whole task vector, found by trying a grid.

Source: Ilharco et al., Editing Models with Task Arithmetic (ICLR 2023), sections 3 and 4: 21 values from 0 to 1, those of the best validation score.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

from torch import nn

from ordinate.adapt.task_vector import TaskVector
from ordinate.ground.errors import InputError

__all__ = ["GRID", "AlphaSearch", "search_alpha"]

GRID = tuple(step / 20 for step in range(21))


@dataclass(frozen=True)
class AlphaSearch:
    """What a search found.

    Attributes:
        alpha: the best of the grid.
        score: its score.
        scores: of every value of the grid.
        model: theta_0 + alpha tau.
    """

    alpha: float
    score: float
    scores: tuple[float, ...]
    model: nn.Module


def search_alpha(model: nn.Module, vector: TaskVector, score: Callable[[nn.Module], float], grid: Sequence[float] = GRID) -> AlphaSearch:
    """Try theta_0 + alpha tau for every alpha of a grid, and keep the best; the earliest of equals.

    Args:
        model: theta_0; it is copied.
        vector: tau; for negation the negative of the target's, for addition the sum of all.
        score: of a model, higher is better; -inf for one that is not allowed.
        grid: values of alpha.

    Raises:
        InputError: an empty grid, or a vector of another architecture.
    """
    if not grid:
        raise InputError("a search needs at least one value of alpha")
    theta0 = {name: entry.clone() for name, entry in model.state_dict().items()}
    buffers = {name for name, _ in model.named_buffers()}
    moved = TaskVector({name: entry for name, entry in vector.items() if name not in buffers})
    tried = deepcopy(model)
    scores = []
    for alpha in grid:
        tried.load_state_dict(moved.apply_to(theta0, alpha))
        scores.append(score(tried))
    best = max(range(len(scores)), key=scores.__getitem__)
    tried.load_state_dict(moved.apply_to(theta0, grid[best]))
    return AlphaSearch(grid[best], scores[best], tuple(scores), tried)
