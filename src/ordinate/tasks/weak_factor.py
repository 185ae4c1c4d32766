r"""What a weak factor costs: the informativeness of a factor model, and the excess risk of two phases, when the smallest singular value of its loadings shrinks.

Source: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024), the section on factor models, where :math:`\kappa` grows as the smallest singular value falls; the experiment is ours.
"""

from collections.abc import Sequence

from ordinate.analyze.informativeness import informativeness
from ordinate.analyze.rate_instances import FactorInstance
from ordinate.analyze.rate_study import RateStudy
from ordinate.data.latent_models import FactorProblem
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.factor_model import FactorModel

__all__ = ["TASKS", "WeakFactor"]


class WeakFactor(Task):
    """An arm's `make()` gives the smallest singular value."""

    name = "weak-factor"
    metrics = (
        Metric("kappa", "", False, "largest ratio of Hellinger distances, joint over observed, that was met around the model"),
        Metric("kappa, tv", "", False, "the same of total variations"),
        Metric("risk", "", False, "excess risk of two phases"),
        Metric("floor", "", False, "what is left of it with any number of labels"),
    )

    def __init__(self, d: int, others: Sequence[float], *, m: int, n: int, reps: int, draws: int = 50) -> None:
        """
        Args:
            d: coordinates.
            others: the other singular values.
            m, n: unlabelled rows and labels.
            reps: repetitions a seed, for the risk.
            draws: random directions, for kappa.
        """
        self.d, self.others, self.m, self.n, self.reps, self.draws = d, tuple(others), m, n, reps, draws
        self.title = f"A factor model in {d} dimensions whose weakest factor shrinks"

    def arm(self, name: str) -> Arm:
        """``"s = 0.5"``: the smallest singular value."""
        try:
            value = float(name.removeprefix("s ="))
        except ValueError:
            raise InputError(f"an arm is a singular value, as s = 0.5, not {name!r}") from None
        return Arm(name, lambda: value)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Measure around one model, and over repetitions."""
        singular = (*self.others, arm.make())
        problem = FactorProblem.draw(self.d, singular, generator("weak factor", run.seed))
        model = FactorModel.of_loadings(problem.loadings)
        report = informativeness(model, draws=self.draws, seed=run.seed)
        variation = informativeness(model, draws=self.draws, distance="tv", samples=4000, seed=run.seed)
        grid = RateStudy(FactorInstance(self.d, singular), (self.n,), (self.m,), self.reps, run.seed).run().grid
        return Outcome(
            {
                "kappa": report.kappa,
                "kappa, tv": variation.kappa,
                "risk": float(grid.two_phase.mean()),
                "floor": float(grid.floor.mean()),
            },
            notes={"radius": report.radius, "mean ratio over random directions": report.mean},
        )


TASKS = {WeakFactor.name: WeakFactor}
