"""Transformers whose weights are written down, not trained: how close their predictions are to those of the algorithm that they run, and what they take.

An arm's `make(d=..., n=...)` gives a `Learner` and the `LinearPredictor` that it is meant to be. Errors are relative to the largest prediction, on random prompts with noise; nothing is trained, and one seed serves.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), theorems 1 and 2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ordinate.data.in_context.linear import LinearPrompts
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.seeds import generator
from ordinate.models.programs.compiler import compile_program

__all__ = ["TASKS", "ConstructedLearners"]


class ConstructedLearners(Task):
    """Programs of learning algorithms, run as tensor operations and as the layers of a transformer, against the algorithm itself."""

    name = "constructed-learners"
    title = "Transformers by construction"
    metrics = (
        Metric("program error", higher_is_better=False, meaning="of the program run by tensor operations, over all sizes"),
        Metric("transformer error", higher_is_better=False, meaning="of the transformer's layers, over all sizes"),
        Metric("error at 1e-2", higher_is_better=False, meaning="of a transformer whose products are scaled by 1e-2"),
        Metric("error at 5e-3", higher_is_better=False, meaning="of one whose products are scaled by 5e-3"),
        Metric("layers an example", higher_is_better=False, meaning="that each further example takes"),
        Metric("growth of rows", higher_is_better=False, meaning="exponent in d from 8 to 16"),
    )

    def __init__(self, sizes: Sequence[tuple[int, int]], *, prompts: int = 32) -> None:
        """
        Args:
            sizes: (d, n) of the prompts, n at least 2; the scale of products is changed at the last of them.
            prompts: how many of each size.
        """
        self.sizes, self.prompts = tuple(sizes), prompts

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Build the program and the transformer at every size, and compare both with the algorithm."""
        exact, layers = [], []
        for d, n in self.sizes:
            learner, algorithm = arm.make(d=d, n=n)
            prompts = LinearPrompts(d, n, noise=0.3).sample(self.prompts, generator(run.seed, "constructed", d, n))
            tokens, wanted = prompts.tokens(), algorithm(prompts.x, prompts.y)
            exact.append(_miss(learner.predict(tokens), wanted))
            layers.append(_miss(learner.predict(tokens, compile_program(learner.program)), wanted))
        coarse = {eps: _miss(learner.predict(tokens, compile_program(learner.program, eps=eps)), wanted) for eps in (1e-2, 5e-3)}
        d, n = self.sizes[-1]
        rows = [arm.make(d=size, n=2)[0].program.rows for size in (8, 16)]
        lengths = [len(arm.make(d=d, n=count)[0].program.instructions) for count in (n, n + 1)]
        metrics = {
            "program error": max(exact),
            "transformer error": max(layers),
            "error at 1e-2": coarse[1e-2],
            "error at 5e-3": coarse[5e-3],
            "layers an example": float(lengths[1] - lengths[0]),
            "growth of rows": float(torch.tensor(rows[1] / rows[0]).log2()),
        }
        return Outcome(metrics, notes={"count": learner.program.count()})


def _miss(found: Tensor, wanted: Tensor) -> float:
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


TASKS = {ConstructedLearners.name: ConstructedLearners}
