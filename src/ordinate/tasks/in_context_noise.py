"""How a network that is trained on noisy linear prompts weighs its prior: which ridge penalty is nearest to what it does.

An arm's `make()` gives the standard deviation of the noise; a network is trained and measured on prompts of that noise. `penalty` is that of the ridge predictor with the smallest MSPD from it (SPD over prefixes of 1 to d - 1 pairs, where the
penalty matters most), on a grid whose neighbours are a factor of 1.5 apart; `miss` is how many factors of 2.25, the steps of the paper's table, lie between it and the Bayes penalty, sigma² over the variance of a weight.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), section 4.2.
"""

import math
from collections.abc import Callable

from ordinate.analyze.in_context.distances import mspd, spd
from ordinate.analyze.in_context.linear_references import linear_families
from ordinate.analyze.in_context.predictors import Ridge
from ordinate.data.in_context.linear import LinearPrompts
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.tasks.in_context import InContext

__all__ = ["TASKS", "InContextNoise"]

GRID = tuple(1e-3 * 1.5**power for power in range(24))
STEP = 2.25


class InContextNoise(Task):
    """The ridge penalty that training on noisy prompts leads to."""

    name = "in-context-noise"
    metrics = (
        Metric("penalty", higher_is_better=False, meaning="of the nearest ridge predictor"),
        Metric("miss", "steps", higher_is_better=False, meaning="factors of 2.25 between it and the Bayes penalty"),
        Metric("excess", higher_is_better=False, meaning="mean squared error beyond the Bayes predictor's, over that of always saying 0"),
    )

    def __init__(self, d: int, n: int, make_task: Callable[[LinearPrompts], InContext]) -> None:
        """
        Args:
            d: numbers of an input.
            n: pairs of a prompt.
            make_task: the task in which a network is trained on a source.
        """
        self.d, self.n, self.make_task = d, n, make_task
        self.title = f"Ridge penalties learnt in context, d = {d}, n = {n}"

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train a network on prompts of the arm's noise, and find the penalty nearest to it."""
        source = LinearPrompts(self.d, self.n, noise=arm.make())
        task = self.make_task(source)
        network, outcome = task.train(task.arm("transformer"), run)
        test = task.test()
        predictor = task.predictor(network, run.setting.device)
        ridges = [Ridge(penalty) for penalty in GRID]
        distances = [mspd(spd(predictor, ridge, test.x, test.y), self.d) for ridge in ridges]
        nearest = GRID[min(range(len(GRID)), key=distances.__getitem__)]
        bayes = (linear_families(source)["Bayes"][0](test.x, test.y) - test.y)[:, 1:].square().mean().item()
        numbers = {
            "penalty": nearest,
            "miss": abs(math.log(nearest / source.penalty)) / math.log(STEP),
            "excess": (outcome.metrics["risk"] - bayes) / source.zero_risk,
            "MSPD of the nearest": min(distances),
        }
        curves = outcome.curves | {"MSPD over penalties": list(zip(GRID, distances, strict=True))}
        return Outcome(outcome.metrics | numbers, curves, outcome.parameters, outcome.flops, outcome.notes)


TASKS = {InContextNoise.name: InContextNoise}
