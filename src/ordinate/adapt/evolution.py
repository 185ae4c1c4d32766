r"""Coefficients without gradients: an evolution strategy, for losses that have none or models that cannot be differentiated.

Separable CMA-ES: candidates :math:`x = m + \sigma\, d \odot z` with normal z are ranked by their loss; the mean m moves to the weighted better half, the step size :math:`\sigma` is adapted to the length of the path that it takes, and the deviations d
to the spread of those that did well, coordinate by coordinate, so that time and memory are linear in the number of coefficients.

Source: Ros and Hansen, A Simple Modification in CMA-ES Achieving Linear Time and Space Complexity (PPSN 2008).
"""

import math
from collections.abc import Callable

import torch
from torch import nn

from ordinate.adapt.composed_model import ComposedModel
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["evolve"]


@torch.no_grad()
def evolve(
    composed: ComposedModel,
    loss: Callable[[nn.Module], float],
    *,
    generations: int = 50,
    population: int | None = None,
    sigma: float = 0.1,
    seed: int = 0,
) -> list[float]:
    """Search for the coefficients of the least loss, from where they are; the best that was seen is kept, the start included.

    Args:
        composed: its `coef` is set, in place.
        loss: of the model, lower is better; need not be differentiable. Not finite counts as worst.
        generations: rounds.
        population: candidates of a round, 4 or more; None is 4 + 3 ln(number of coefficients).
        sigma: the first step size.
        seed: of the candidates.

    Returns:
        The least loss so far after each generation, the start's first: a list of generations + 1 that never rises.

    Raises:
        InputError: a number out of range.
    """
    size = composed.coef.numel()
    count = 4 + int(3 * math.log(size)) if population is None else population
    if generations < 1 or count < 4 or sigma <= 0:
        raise InputError(
            f"evolution needs a generation or more, four candidates or more and a positive step, not {generations}, {count} and {sigma}"
        )
    half = count // 2
    weights = math.log(half + 0.5) - torch.arange(1, half + 1, dtype=torch.float64).log()
    weights = weights / weights.sum()
    effective = float(1 / weights.square().sum())
    path_rate = (effective + 2) / (size + effective + 5)
    damping = 1 + path_rate + 2 * max(0.0, math.sqrt((effective - 1) / (size + 1)) - 1)
    spread_rate = (4 + effective / size) / (size + 4 + 2 * effective / size)
    one = 2 / ((size + 1.3) ** 2 + effective) * (size + 2) / 3
    many = min(1 - one, 2 * (effective - 2 + 1 / effective) / ((size + 2) ** 2 + effective) * (size + 2) / 3)
    usual = math.sqrt(size) * (1 - 1 / (4 * size) + 1 / (21 * size**2))

    chance = generator(seed, "evolution")
    mean, variance = composed.coef.flatten().double().cpu(), torch.ones(size, dtype=torch.float64)
    path, spread = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)

    def judge(values: torch.Tensor) -> float:
        composed.coef.copy_(values.view_as(composed.coef))
        found = float(loss(composed))
        return found if math.isfinite(found) else math.inf

    kept = mean.clone()
    best = [judge(mean)]
    for number in range(1, generations + 1):
        steps = variance.sqrt() * torch.randn(count, size, generator=chance, dtype=torch.float64)
        losses = torch.tensor([judge(mean + sigma * step) for step in steps], dtype=torch.float64)
        order = losses.argsort()
        least = float(losses[order[0]])
        if least < best[-1]:
            kept = mean + sigma * steps[order[0]]
        best.append(min(best[-1], least))
        better = steps[order[:half]]
        move = weights @ better
        mean = mean + sigma * move
        path = (1 - path_rate) * path + math.sqrt(path_rate * (2 - path_rate) * effective) * move / variance.sqrt()
        length = float(path.norm())
        straight = length / math.sqrt(1 - (1 - path_rate) ** (2 * number)) < (1.4 + 2 / (size + 1)) * usual
        spread = (1 - spread_rate) * spread + straight * math.sqrt(spread_rate * (2 - spread_rate) * effective) * move
        variance = (1 - one - many) * variance + one * spread.square() + many * (weights @ better.square())
        sigma *= math.exp(path_rate / damping * (length / usual - 1))
    composed.coef.copy_(kept.view_as(composed.coef))
    return best
