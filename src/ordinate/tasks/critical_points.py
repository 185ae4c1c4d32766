"""The critical point of an activation, found and held against values that are known otherwise. Nothing is random: one run an arm."""

from dataclasses import dataclass

from ordinate.analyze.criticality import find_criticality
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.nn.activations import Activation

__all__ = ["TASKS", "CriticalPoints", "KnownPoint"]


@dataclass(frozen=True)
class KnownPoint:
    """What is known of an activation's critical point; `K_star` None where any variance will do."""

    activation: Activation
    C_b: float
    C_W: float
    K_star: float | None = None


class CriticalPoints(Task):
    """An arm's `make()` gives a `KnownPoint`."""

    name = "critical-points"
    title = "Critical initialisations against their known values"
    metrics = (
        Metric("error", higher_is_better=False, meaning="the largest of the errors of C_b, C_W and K*"),
        Metric("C_b", meaning="variance of biases that was found"),
        Metric("C_W", meaning="variance of weights times their number of inputs that was found"),
    )

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Find it; there is nothing to train."""
        known: KnownPoint = arm.make()
        found = find_criticality(known.activation)
        errors = [abs(found.C_b - known.C_b), abs(found.C_W - known.C_W)]
        if known.K_star is not None:
            errors.append(abs(found.K_star - known.K_star) if found.K_star is not None else float("1e9"))
        return Outcome({"error": max(errors), "C_b": found.C_b, "C_W": found.C_W}, notes=found.to_json())


TASKS = {CriticalPoints.name: CriticalPoints}
