r"""Whether a planner foresees from small pilot runs how many unlabelled rows it takes until pretraining is ahead of labels alone.

The pilots are a few sizes of m and n, and labels alone at those n that are ten times the number of coordinates or more, from where their risk is a power of n. The crossover is asked for at far more labels than any pilot had, where labels alone are strong, and is measured there on data of its own.

Source: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024): pretraining pays when :math:`C_\Phi / m` is below what the larger class costs in labels; the experiment is ours.
"""

from collections.abc import Sequence

from ordinate.analyze.rate_instances import Instance
from ordinate.analyze.rate_study import RateStudy
from ordinate.analyze.sample_planner import PilotRun, SamplePlanner
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import choose
from ordinate.ground.seeds import derive

__all__ = ["TASKS", "PlannedCrossover"]

ARMS = ("planned", "measured")


class PlannedCrossover(Task):
    """An arm's `make()` gives ``"planned"`` or ``"measured"``."""

    name = "planned-crossover"
    metrics = (Metric("crossover", "rows", False, "unlabelled rows from which pretraining is ahead of labels alone"),)

    def __init__(
        self, instance: Instance, *, pilot_ns: Sequence[int], pilot_ms: Sequence[int], n: int, ms: Sequence[int], reps: int, pilot_reps: int
    ) -> None:
        """
        Args:
            instance: the problem.
            pilot_ns, pilot_ms: the sizes of the pilots, crossed.
            n: labels at which the crossover is asked for.
            ms: unlabelled rows between which it is looked for.
            reps: repetitions of the measurement, a seed.
            pilot_reps: repetitions of every pilot, a seed.
        """
        self.instance, self.n, self.reps, self.pilot_reps = instance, n, reps, pilot_reps
        self.pilot_ns, self.pilot_ms, self.ms = tuple(pilot_ns), tuple(pilot_ms), tuple(ms)
        self.title = f"Unlabelled rows from which pretraining is ahead, at {n:,} labels of the {instance.name} model"

    def arm(self, name: str) -> Arm:
        """``"planned"`` or ``"measured"``."""
        choose("arm", name, ARMS)
        return Arm(name, lambda: name, role="method" if name == "planned" else "baseline")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Plan, or measure."""
        if arm.make() == "measured":
            found = RateStudy(self.instance, (self.n,), self.ms, self.reps, derive(run.seed, "measured")).run()
            ratios = found.grid.two_phase[:, :, 0].mean(dim=0) / found.grid.baselines["supervised"][:, 0].mean()
            curve = [(float(m), ratio) for m, ratio in zip(self.ms, ratios.tolist(), strict=True)]
            return Outcome({"crossover": found.crossover()}, curves={"two phases over labels alone": curve})
        pilots = RateStudy(self.instance, self.pilot_ns, self.pilot_ms, self.pilot_reps, derive(run.seed, "pilots")).run()
        rows = pilots.rows()
        runs = [PilotRun(row["m"], row["n"], row["two-phase"]) for row in rows]
        runs += [PilotRun(0, row["n"], row["supervised"]) for row in rows if row["m"] == rows[0]["m"] and row["n"] >= 10 * self.instance.d]
        planner = SamplePlanner(resamples=0).fit(runs)
        return Outcome(
            {"crossover": planner.crossover(self.n)},
            curves={"two phases over labels alone": [(float(m), planner.predict(m, self.n) / planner.predict(0, self.n)) for m in self.ms]},
            notes={"fit": planner.fit_._asdict(), "labels alone": planner.alone_, "misfit": planner.misfit_},
        )


TASKS = {PlannedCrossover.name: PlannedCrossover}
