"""A maximum to working precision, by L-BFGS with a line search on everything at once: for small problems whose optimum itself is wanted."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import LBFGS

__all__ = ["maximise"]


def maximise(objective: Callable[[], Float[Tensor, ""]], parameters: Iterable[Tensor], *, iterations: int = 2000) -> Float[Tensor, ""]:
    """Move the parameters, in place, to where the objective has no slope left.

    Args:
        objective: gives the number that is maximised, with its graph.
        parameters: what it depends on, of one dtype; without any the objective is given as it is.
        iterations: at most.

    Returns:
        The objective at the end.
    """
    moving = list(parameters)
    if not moving:
        return objective().detach()
    finest = torch.finfo(moving[0].dtype).eps
    optimizer = LBFGS(
        moving, max_iter=iterations, tolerance_grad=finest, tolerance_change=finest, history_size=30, line_search_fn="strong_wolfe"
    )

    def loss() -> float:
        optimizer.zero_grad()
        value = -objective()
        value.backward()
        return float(value.detach())

    optimizer.step(loss)
    return objective().detach()
