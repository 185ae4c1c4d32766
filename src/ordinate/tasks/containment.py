"""Functions that a PolyReLU network holds exactly: how far the network that should be the same function is from it.

An arm's `make()` gives the two, float64 modules or functions (N, D) -> (N, E); nothing is trained, and one seed serves.

Source: Zhuo et al., Polynomial Composition Activations (ICLR 2025), section 3.
"""

import torch

from ordinate.adapt.replace_activation import from_relu, from_squared_relu
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.seeds import generator
from ordinate.nn.blocks import FeedForward
from ordinate.nn.polynomial_activations import poly_relu
from ordinate.tasks.training import make_seeded

__all__ = ["HELD", "TASKS", "Containment"]

Function = torch.nn.Module


class _Polynomial(torch.nn.Module):
    """c_0 + c_1 x + c_2 x^2 + c_3 x^3 of every number, and products of neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.coefficients = torch.nn.Parameter(torch.randn(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, D) -> (N, 2 D - 1)."""
        powers = torch.stack([torch.ones_like(x), x, x**2, x**3], dim=-1)
        return torch.cat([powers @ self.coefficients, x[:, 1:] * x[:, :-1]], dim=1)


class _PolynomialByUnits(torch.nn.Module):
    """The same by PolyReLU units alone: two a power, four a product."""

    def __init__(self, coefficients: torch.Tensor) -> None:
        super().__init__()
        self.coefficients = coefficients

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, D) -> (N, 2 D - 1)."""
        even, odd = self.coefficients.clone(), self.coefficients.clone()
        odd[1::2] *= -1
        odd[0] = 0  # ReLU(x)^i + (-1)^i ReLU(-x)^i = x^i
        square = torch.tensor([0.0, 0.0, 1.0]).to(x)
        left, right = x[:, 1:], x[:, :-1]
        units = [poly_relu(part, square) for part in (left + right, -left - right, left - right, right - left)]
        return torch.cat([poly_relu(x, even) + poly_relu(-x, odd), (units[0] + units[1] - units[2] - units[3]) / 4], dim=1)


def _network(activation: str) -> torch.nn.Module:
    return torch.nn.Sequential(*(FeedForward(16, activation=activation) for _ in range(3))).double()


def _relu() -> tuple[Function, Function]:
    network = _network("relu")
    return network, from_relu(network).double()


def _squared_relu() -> tuple[Function, Function]:
    network = _network("squared-relu")
    return network, from_squared_relu(network).double()


def _polynomials() -> tuple[Function, Function]:
    wanted = _Polynomial().double()
    return wanted, _PolynomialByUnits(wanted.coefficients.detach())


HELD = {"ReLU network": _relu, "squared ReLU network": _squared_relu, "polynomials and products": _polynomials}
"""Pairs of functions by name: a function, and the PolyReLU network that is the same."""


class Containment(Task):
    """The largest difference, relative to the largest value."""

    name = "containment"
    title = "Functions that PolyReLU networks hold exactly"
    metrics = (Metric("difference", higher_is_better=False, meaning="largest, relative to the largest value, in double precision"),)

    def __init__(self, points: int = 256) -> None:
        """
        Args:
            points: at which the two are compared.
        """
        self.points = points

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Evaluate both at random points."""
        wanted, held = make_seeded(arm.make, run.seed)
        x = torch.randn(self.points, 16, generator=generator(run.seed, "points"), dtype=torch.float64)
        with torch.no_grad():
            truth = wanted(x)
            return Outcome({"difference": float((held(x) - truth).abs().max() / truth.abs().max())})


TASKS = {Containment.name: Containment}
