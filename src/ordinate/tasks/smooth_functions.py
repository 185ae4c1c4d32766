r"""How well small networks approximate smooth functions, and how the error falls with their width.

A network with one hidden layer of w units, :math:`f(x) = \sum_k v_k\, \sigma(u_k \cdot x + b_k) + c`, is fitted to a function on [-1, 1] or its square: the outer weights by least squares, exactly, and the inner ones by Adam through that
solution (variable projection), from several starts of which the best counts. The error is the root mean square on a finer grid than that of the fit, over the function's own.

Sources: Golub and Pereyra (1973) for variable projection; the targets lie in the unit ball of a Sobolev space up to a factor, as the rates of Zhuo et al. (PolyCom, 2025), theorem 3, ask.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.experiment.measure import fit_exponent
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator
from ordinate.nn.activation_modules import activation_module

__all__ = ["TARGETS", "TASKS", "SmoothFunctions"]


def _wave(x: Float[Tensor, "points 1"]) -> Float[Tensor, " points"]:
    return torch.sin(2 * math.pi * x[:, 0]) * torch.exp(x[:, 0])


def _bump(x: Float[Tensor, "points 2"]) -> Float[Tensor, " points"]:
    return torch.exp(-2 * x.square().sum(dim=1)) * torch.cos(math.pi * (x[:, 0] + 0.5 * x[:, 1]))


TARGETS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {"wave": (1, _wave), "bump": (2, _bump)}
"""Functions by name: of how many variables, and which: sin(2 pi x) e^x, and exp(-2 |x|^2) cos(pi (x + y / 2))."""


class SmoothFunctions(Task):
    """The error of the best of a few small networks, at every width.

    An arm's `make()` gives the activation, a module.
    """

    name = "smooth-functions"
    title = "Approximation of smooth functions"

    def __init__(self, target: str, widths: Sequence[int], *, steps: int = 300, starts: int = 3, lr: float = 0.03) -> None:
        """
        Args:
            target: one of `TARGETS`.
            widths: numbers of hidden units, ascending, three or more.
            steps: of Adam.
            starts: of which the best on the points of the fit counts.
            lr: the peak learning rate, cosine.

        Raises:
            InputError: an unknown target, or fewer than three widths.
        """
        if len(widths) < 3 or list(widths) != sorted(set(widths)) or widths[0] < 1:
            raise InputError(f"a slope needs three or more ascending widths, not {list(widths)}")
        self.dim, self.function = TARGETS[choose("target", target, TARGETS)]
        self.target, self.widths, self.steps, self.starts, self.lr = target, tuple(widths), steps, starts, lr
        self.title = f"Approximation of a {target} in {self.dim} variable{'s' if self.dim > 1 else ''}"
        self.metrics = (
            *(
                Metric(f"error@{width}", higher_is_better=False, meaning=f"of {width} units, over the function's root mean square")
                for width in widths
            ),
            Metric("slope", higher_is_better=False, meaning="exponent of the error in the number of units"),
        )

    def arm(self, name: str) -> Arm:
        """An activation by name."""
        return Arm(name, lambda: activation_module(name))

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Fit every width."""
        errors = {width: self._error(arm.make, width, run) for width in self.widths}
        slope, _, _ = fit_exponent(list(errors), list(errors.values()))
        return Outcome({**{f"error@{width}": error for width, error in errors.items()}, "slope": slope})

    def _grid(self, side: int) -> Tensor:
        axis = torch.linspace(-1, 1, side, dtype=torch.float64)
        return torch.cartesian_prod(*[axis] * self.dim).view(-1, self.dim)

    def _error(self, make: Callable[[], nn.Module], width: int, run: Run) -> float:
        x, fresh = self._grid(201 if self.dim == 1 else 25), self._grid(997 if self.dim == 1 else 61)
        y, truth = self.function(x), self.function(fresh)
        best, error = math.inf, math.nan
        for start in range(self.starts):
            draws = generator(run.seed, width, start, "hidden units")
            inner = torch.randn(self.dim, width, generator=draws, dtype=torch.float64) * 3
            shift = (torch.rand(width, generator=draws, dtype=torch.float64) * 2 - 1) * inner.norm(dim=0)
            activation = make().double()
            hidden = [inner.requires_grad_(), shift.requires_grad_(), *activation.parameters()]
            optimizer = torch.optim.Adam(hidden, lr=self.lr)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
            for _ in range(self.steps):
                optimizer.zero_grad()
                features = _features(activation, x, inner, shift)
                _residual(features, y).backward()
                optimizer.step()
                schedule.step()
            with torch.no_grad():
                features = _features(activation, x, inner, shift)
                fitted = float(_residual(features, y))
                if fitted < best:
                    best = fitted
                    missed = _features(activation, fresh, inner, shift) @ _outer(features, y) - truth
                    error = float(missed.square().mean().sqrt() / truth.square().mean().sqrt())
        return error


def _features(activation: nn.Module, x: Tensor, inner: Tensor, shift: Tensor) -> Tensor:
    return torch.cat([activation(x @ inner + shift), torch.ones_like(x[:, :1])], dim=1)


def _outer(features: Tensor, y: Tensor) -> Tensor:
    """The outer weights, by ridge regression with a penalty at the edge of what double precision can tell."""
    gram = features.T @ features
    ridge = 1e-10 * gram.diagonal().mean().detach() * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram + ridge, features.T @ y)


def _residual(features: Tensor, y: Tensor) -> Tensor:
    return (features @ _outer(features, y) - y).square().mean()


TASKS = {SmoothFunctions.name: SmoothFunctions}
