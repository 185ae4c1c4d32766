r"""The negative control: unlabelled rows that say nothing about what the label depends on.

Inputs are corners of a cube and the label is one coordinate. All models tie in likelihood, however many rows there are. Breaking the tie at random leaves a head on a coordinate that is mostly the wrong one; leaving it to the
labels is labels alone.

Source: the uninformative limit of assumption 3.2 in Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024); the example is ours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ordinate.analyze.excess_risk import class_excess_risk
from ordinate.analyze.latent_distances import family_of
from ordinate.data.latent_models import CubeProblem
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import choose
from ordinate.ground.seeds import generator
from ordinate.models.hidden_coordinate import HiddenCoordinate, fewest_errors

__all__ = ["TASKS", "HiddenCoordinateTask"]

ARMS = ("two-phase", "ties left to labels", "supervised")


class HiddenCoordinateTask(Task):
    """An arm's `make()` gives its name: ``"two-phase"``, ``"ties left to labels"`` or ``"supervised"``."""

    name = "hidden-coordinate"

    def __init__(self, d: int, *, n: int, ms: Sequence[int], reps: int, flips: float = 0.1, tested: int = 2000) -> None:
        """
        Args:
            d: coordinates.
            n: labels.
            ms: numbers of unlabelled rows.
            reps: repetitions a seed.
            flips: the chance of a wrong label.
            tested: inputs that risks are means over.
        """
        self.d, self.n, self.ms, self.reps, self.flips, self.tested = d, n, tuple(ms), reps, flips, tested
        self.title = f"One of {d} coordinates that unlabelled rows cannot tell apart"
        self.metrics = (
            *(Metric(f"m={m}", "", False, f"excess 0-1 error with {m} unlabelled rows and {n} labels") for m in self.ms),
            Metric("observed", "", False, "total variation between what is observed under two of the models"),
            Metric("hidden", "", False, "the same of the joint distributions with the latent variable"),
        )

    def arm(self, name: str) -> Arm:
        """``"two-phase"``: the tie is broken at random; ``"ties left to labels"``; ``"supervised"``."""
        choose("arm", name, ARMS)
        return Arm(name, lambda: name, role="baseline" if name == "supervised" else "method")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Mean risks over the repetitions."""
        how = arm.make()
        risks = {m: sum(self._risk(how, m, run.seed, rep) for rep in range(self.reps)) / self.reps for m in self.ms}
        model = HiddenCoordinate(random_state=run.seed).fit(torch.tensor([[-1.0, 1.0] * self.d])[:, : self.d].numpy())
        family = family_of(model, 1, generator("distances", run.seed))
        other = family.make(family.parameters + 1)
        return Outcome(
            {
                **{f"m={m}": risk for m, risk in risks.items()},
                "observed": family.observed(other, "tv"),
                "hidden": family.joint(other, "tv"),
            },
            curves={"excess error over unlabelled rows": [(float(m), risk) for m, risk in risks.items()]},
        )

    def _risk(self, how: str, m: int, seed: int, rep: int) -> float:
        chance = generator("cube", seed, rep)
        problem = CubeProblem(self.d, int(torch.randint(self.d, (1,), generator=chance)), self.flips)
        x, y = problem.sample(self.n, chance)
        tests, probabilities = self._tests(problem, chance)
        candidates = torch.arange(self.d)
        if how != "supervised":
            model = HiddenCoordinate(random_state=rep).fit(problem.inputs(m, chance).numpy())
            candidates = model.ties_ if how == "ties left to labels" else torch.tensor([model.index_])
        chosen, turned = fewest_errors(x[:, candidates], y)
        predicted = (tests[:, candidates[chosen]] > 0).long()
        return class_excess_risk(probabilities, 1 - predicted if turned else predicted)

    def _tests(self, problem: CubeProblem, chance: torch.Generator) -> tuple[Tensor, Tensor]:
        tests = problem.inputs(self.tested, chance)
        return tests, problem.probabilities(tests)


TASKS = {HiddenCoordinateTask.name: HiddenCoordinateTask}
