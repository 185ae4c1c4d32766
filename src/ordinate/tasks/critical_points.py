"""The critical point of an activation, found and held against values that are known otherwise. Nothing is random: one run an arm."""

import math
from dataclasses import dataclass
from functools import partial

from ordinate.analyze.criticality import find_criticality
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import choose
from ordinate.nn.activations import Activation

__all__ = ["KNOWN", "TASKS", "CriticalPoints", "KnownPoint"]


@dataclass(frozen=True)
class KnownPoint:
    """What is known of an activation's critical point; `K_star` None where any variance will do."""

    activation: Activation
    C_b: float
    C_W: float
    K_star: float | None = None


# (C_b, C_W, K*); None where any variance will do. GELU's and SiLU's biases and weights were computed to eight digits by another program.
_VALUES: dict[str, tuple[float, float, float | None]] = {
    "linear": (0.0, 1.0, None),
    "relu": (0.0, 2.0, None),
    "leaky-relu": (0.0, 2 / (1 + 0.01**2), None),
    "abs": (0.0, 1.0, None),
    "tanh": (0.0, 1.0, 0.0),
    "sin": (0.0, 1.0, 0.0),
    "erf": (0.0, math.pi / 4, 0.0),
    "arctan": (0.0, 1.0, 0.0),
    "asinh": (0.0, 1.0, 0.0),
    "softsign": (0.0, 1.0, 0.0),
    "gelu": (0.17292239, 1.98305826, (3 + math.sqrt(17)) / 2),
    "silu": (0.55514317, 1.98800468, 14.32017362),
}
KNOWN = {name: KnownPoint(Activation.of(name), *values) for name, values in _VALUES.items()}
"""Twelve activations whose critical points are known, in closed form or published."""


class CriticalPoints(Task):
    """An arm's `make()` gives a `KnownPoint`."""

    name = "critical-points"
    title = "Critical initialisations against their known values"
    metrics = (
        Metric("error", higher_is_better=False, meaning="the largest of the errors of C_b, C_W and K*"),
        Metric("C_b", meaning="variance of biases that was found"),
        Metric("C_W", meaning="variance of weights times their number of inputs that was found"),
    )

    def arm(self, name: str) -> Arm:
        """One of the activations that are `KNOWN`."""
        return Arm(name, partial(KNOWN.__getitem__, choose("activation with a known critical point", name, KNOWN)))

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Find it; there is nothing to train."""
        known: KnownPoint = arm.make()
        found = find_criticality(known.activation)
        errors = [abs(found.C_b - known.C_b), abs(found.C_W - known.C_W)]
        if known.K_star is not None:
            errors.append(abs(found.K_star - known.K_star) if found.K_star is not None else float("1e9"))
        return Outcome({"error": max(errors), "C_b": found.C_b, "C_W": found.C_W}, notes=found.to_json())


TASKS = {CriticalPoints.name: CriticalPoints}
