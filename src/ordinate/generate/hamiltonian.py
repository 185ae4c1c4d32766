r"""Hamiltonian Monte Carlo with many chains at once.

From a state q a momentum :math:`p \sim \mathcal N(0, I)` is drawn and the pair moved by L leapfrog steps of size :math:`\epsilon` along :math:`H(q, p) = -\log \pi(q) + \tfrac12 \|p\|^2`;
the end is taken with probability :math:`\min(1, e^{-\Delta H})`. The size is adapted during the warm-up, for all chains together, until the mean probability is what is wanted, and then kept.

Source: Neal, MCMC using Hamiltonian dynamics (2011).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["Draws", "sample_hamiltonian"]

GAIN = 0.5  # of the logarithm of the step in the difference of acceptances


@dataclass(frozen=True)
class Draws:
    """What a run of the sampler gives.

    Attributes:
        observed: what was observed of the states after the warm-up, (draws, chains, ...).
        acceptance: the mean probability of acceptance after the warm-up.
        step: the leapfrog step after the warm-up.
    """

    observed: Tensor
    acceptance: float
    step: float


def sample_hamiltonian(
    log_density: Callable[[Tensor], Tensor],
    start: Float[Tensor, "chains size"],
    *,
    draws: int,
    warmup: int,
    generator: torch.Generator,
    leapfrogs: int = 10,
    step: float = 0.1,
    target: float = 0.85,
    observe: Callable[[Tensor], Tensor] = lambda state: state,
) -> Draws:
    """Run the chains.

    Args:
        log_density: (chains, D) -> (chains,), up to a constant; differentiable.
        start: where the chains begin, (chains, D).
        draws: states that are kept of every chain.
        warmup: states before them.
        generator: of all draws.
        leapfrogs: L.
        step: the first step size.
        target: the mean probability of acceptance that the step is adapted to.
        observe: what is kept of the states, (chains, D) -> (chains, ...).

    Raises:
        InputError: a count below 1, or a density that is not finite at the start.
    """
    if min(draws, leapfrogs) < 1 or warmup < 0 or not step > 0 or not 0 < target < 1:
        raise InputError(
            f"draws and leapfrogs must be at least 1, warmup 0 or more, step positive and target inside (0, 1), "
            f"not {draws}, {leapfrogs}, {warmup}, {step} and {target}"
        )
    state, (value, slope) = start, _value_and_slope(log_density, start)
    if not bool(torch.isfinite(value).all()):
        raise InputError("the log-density is not finite where the chains start")
    observed, accepted = [], []
    size = math.log(step)
    for number in range(warmup + draws):
        # A little spread of the size keeps trajectories from returning to where they began.
        spread = 1 + 0.2 * (2 * float(torch.rand((), generator=generator)) - 1)
        length = math.exp(size) * spread
        momentum = torch.randn(state.shape, generator=generator, dtype=state.dtype)
        moved, pushed, new_value, new_slope = state, momentum, value, slope
        for _ in range(leapfrogs):
            pushed = pushed + 0.5 * length * new_slope
            moved = moved + length * pushed
            new_value, new_slope = _value_and_slope(log_density, moved)
            pushed = pushed + 0.5 * length * new_slope
        gain = new_value - value + 0.5 * (momentum.square().sum(dim=-1) - pushed.square().sum(dim=-1))
        chance = gain.nan_to_num(nan=-math.inf).clamp(max=0.0).exp()
        taken = torch.rand(len(state), generator=generator, dtype=state.dtype) < chance
        state, slope = (torch.where(taken[:, None], new, old) for new, old in ((moved, state), (new_slope, slope)))
        value = torch.where(taken, new_value, value)
        if number < warmup:
            size += GAIN * (float(chance.mean()) - target) / math.sqrt(1 + number / 10)
        else:
            accepted.append(float(chance.mean()))
            observed.append(observe(state))
    return Draws(torch.stack(observed), sum(accepted) / len(accepted), math.exp(size))


def _value_and_slope(log_density: Callable[[Tensor], Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        moving = state.detach().requires_grad_()
        value = log_density(moving)
        (slope,) = torch.autograd.grad(value.sum(), moving)
    return value.detach(), slope
