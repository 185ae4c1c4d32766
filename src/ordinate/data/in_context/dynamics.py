r"""Trajectories of a nonlinear system, a new one in every prompt:

.. math:: x_{i+1} = W^\top \Phi(\bar x_i) + \sigma z_i, \qquad \bar x_i = [x_{i-k+1}; \dots; x_i],

with zeros before the start, :math:`\Phi: \mathbb R^{kd} \to \mathbb R^D` the same in all of them, the entries of W (D, d) i.i.d. :math:`\mathcal N(0, \tau^2)` and :math:`x_1, z_i \sim \mathcal N(0, I_d)`. A representation of unit length
bounds the mean step by the norm of W, so that trajectories stay bounded; :math:`\tau = 1` gives coordinates of variance :math:`1 + \sigma^2`.

Source: Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), section 4.2.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.data.batches import Batch
from ordinate.data.in_context.prompts import PromptSource
from ordinate.data.in_context.representations import check_scales
from ordinate.ground.errors import InputError

__all__ = ["DynamicsPrompts", "Trajectories", "windows"]


def windows(states: Float[Tensor, "batch n d"], k: int) -> Float[Tensor, "batch n k_times_d"]:
    """At every place the last k states, the newest last, with zeros before the start.

    Raises:
        InputError: k is below 1.
    """
    if k < 1:
        raise InputError(f"a window holds at least the present state: k must be at least 1, not {k}")
    padded = torch.nn.functional.pad(states, (0, 0, k - 1, 0))
    return torch.cat([padded[:, lag : lag + states.shape[1]] for lag in range(k)], dim=2)


@dataclass(frozen=True)
class Trajectories:
    """A batch of trajectories.

    Attributes:
        states: (B, n + 1, d), x_1 to x_{n+1}.
        W: (B, D, d), what each was drawn with and no model is shown.
    """

    states: Tensor
    W: Tensor = field(repr=False)

    def tokens(self) -> Float[Tensor, "batch n d"]:
        """The states that there is a next one of."""
        return self.states[:, :-1]

    def batch(self) -> Batch:
        """For training: `tokens` (B, n, d), and `target` (B, n, d), the state after each."""
        return {"tokens": self.tokens(), "target": self.states[:, 1:]}


class DynamicsPrompts(PromptSource):
    """Draws trajectories. `n` counts the states that are followed by one to predict."""

    def __init__(self, phi: Callable[[Tensor], Tensor], d: int, k: int = 2, n: int = 40, *, noise: float = 0.1, tau: float = 1.0) -> None:
        """
        Args:
            phi: the representation of a window, (..., k d) -> (..., D).
            d: the numbers of a state.
            k: the states of a window.
            n: the states that are read.
            noise: the standard deviation sigma of what is added to a step.
            tau: the standard deviation of a weight.

        Raises:
            InputError: k, d or n below 1, or a scale out of range.
        """
        if min(k, d, n) < 1:
            raise InputError(f"trajectories need k, d and n of at least 1, not {k}, {d} and {n}")
        check_scales(noise, tau)
        self.phi, self.d, self.k, self.n, self.noise, self.tau = phi, d, k, n, noise, tau
        self.D = phi(torch.zeros(1, k * d)).shape[-1]

    @property
    def token_width(self) -> int:
        """A token is a state."""
        return self.d

    @property
    def penalty(self) -> float:
        """The ridge penalty of the Bayes predictor, sigma² / tau²."""
        return (self.noise / self.tau) ** 2

    def sample(self, count: int, generator: torch.Generator, *, n: int | None = None, alive: int | None = None) -> Trajectories:
        """Draw trajectories. See :meth:`PromptSource.sample`; a state has no coordinates to spare, so that `alive` must be all of them.

        Raises:
            InputError: as there, or fewer coordinates.
        """
        n, alive = self.check(count, n, alive)
        if alive < self.d:
            raise InputError(f"a trajectory needs all its {self.d} coordinates")
        W = self.tau * torch.randn(count, self.D, self.d, generator=generator)
        noise = torch.randn(count, n + 1, self.d, generator=generator)
        past = torch.zeros(count, self.k, self.d)
        states = []
        for place in range(n + 1):
            mean = (self.phi(past.flatten(1))[:, None] @ W)[:, 0] if place else torch.zeros(count, self.d)
            state = mean + (self.noise if place else 1.0) * noise[:, place]
            states.append(state)
            past = torch.cat([past[:, 1:], state[:, None]], dim=1)
        return Trajectories(torch.stack(states, dim=1), W)
