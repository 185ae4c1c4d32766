"""What a network costs: its parameters and the multiply-adds of a forward pass, counted on the meta device.

Nothing is trained and nothing is random: one seed is enough. Networks of any size are counted in no time and no memory.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.nn.multiply_adds import count_multiply_adds, count_parameters

__all__ = ["TASKS", "Cost", "Counted"]


@dataclass(frozen=True)
class Counted:
    """What an arm is counted on.

    Attributes:
        module: the network.
        inputs: the arguments of its forward pass.
        per: the cost is given for one of this many (pixels, images).
    """

    module: nn.Module
    inputs: tuple[Any, ...]
    per: int = 1


class Cost(Task):
    """Parameters and multiply-adds. An arm's `make()` gives a `Counted`; it is called on the meta device."""

    name = "cost"
    title = "Parameters and multiply-adds"
    metrics = (
        Metric("parameters", higher_is_better=False, meaning="trainable numbers"),
        Metric("multiply_adds", higher_is_better=False, meaning="of a forward pass, in evaluation mode"),
    )

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Count one arm."""
        with torch.device("meta"):
            counted: Counted = arm.make()
            module = counted.module.eval()
            multiply_adds = count_multiply_adds(module, *counted.inputs)
        parameters = count_parameters(module)
        return Outcome({"parameters": float(parameters), "multiply_adds": multiply_adds / counted.per}, parameters=parameters)


TASKS = {Cost.name: Cost}
