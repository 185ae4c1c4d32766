"""The contract of an objective: what a model is trained to do, as one scalar.

Files of this room offer theirs in `OBJECTIVES: dict[str, Callable[..., Objective]]`, functions `(model, **options) -> Objective`; `create_objective` builds one by name, and `tests/contracts/test_objectives.py` runs over all of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import Any

from torch import Tensor, nn

from ordinate.ground.discovery import offered
from ordinate.ground.errors import InputError, choose

__all__ = ["Objective", "create_objective", "list_objectives"]


class Objective(nn.Module, ABC):
    """`objective(model, batch)` -> scalar loss.

    Parameters of its own (a head, a temperature) are trained with the model's. One that has a teacher or a queue owns it and moves it in `update`.
    """

    @abstractmethod
    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss, a scalar.

        Args:
            model: what is trained.
            batch: tensors by name, each with the rows of the batch first.
        """

    def update(self) -> None:
        """Called after every optimizer step."""


@cache
def _objectives() -> dict[str, Callable[..., Objective]]:
    return offered("ordinate.objectives", "OBJECTIVES")


def list_objectives() -> list[str]:
    """The names of the objectives, sorted."""
    return sorted(_objectives())


def create_objective(name: str, model: nn.Module, **options: Any) -> Objective:
    """Build the objective called `name` for `model`.

    Raises:
        InputError: there is none of that name, it does not fit the model, or it has no such option.
    """
    make = _objectives()[choose("objective", name, _objectives())]
    try:
        return make(model, **options)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise InputError(f"objective {name!r}: {str(error).split('()')[-1].strip()}") from None
