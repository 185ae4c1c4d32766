r"""Excess risk by numbers of unlabelled rows and of labels: learning in two phases, a head on the true model, and labels alone, on problems whose best predictor is known.

Risks over m are taken at the largest number of labels and risks over n at the largest number of unlabelled rows; a seed is a number of repetitions, each with a problem and data of its own. All arms share the data, which are
measured in one pass: what the first arm of a seed takes is for all of them.

Source: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024); the experiment is ours.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from ordinate.analyze.rate_instances import FactorInstance, Instance, MixtureInstance, PairsInstance
from ordinate.analyze.rate_study import RateStudy, RateTable, Slope
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import choose

__all__ = ["TASKS", "SampleComplexity"]

INSTANCES: dict[str, type[Instance]] = {"contrastive": PairsInstance, "factor": FactorInstance, "mixture": MixtureInstance}
SIZES = {
    "contrastive": ((40, 160, 640, 5_000), (250, 1_000, 4_000, 20_000)),
    "factor": ((50, 200, 800, 20_000), (100, 400, 1_600, 50_000)),
    "mixture": ((20, 40, 80, 160), (40, 160, 640, 4_000)),
}


class SampleComplexity(Task):
    """An arm's `make()` gives the name of a column of the study: ``"two-phase"``, ``"oracle"`` or a baseline."""

    name = "sample-complexity"

    def __init__(self, instance: Instance, ns: Sequence[int], ms: Sequence[int], *, reps: int, slopes: Sequence[str] = ("n", "m")) -> None:
        """
        Args:
            instance: the problem.
            ns: numbers of labels.
            ms: numbers of unlabelled rows.
            reps: repetitions a seed.
            slopes: the sizes, ``"n"`` or ``"m"``, whose exponents are measured too: each needs three sizes that the other term does not cover.
        """
        self.instance, self.slopes = instance, tuple(slopes)
        self.ns, self.ms, self.reps = tuple(sorted(ns)), tuple(sorted(ms)), reps
        self.title = f"Excess risk of the {instance.name} model in {instance.d} dimensions"
        self.metrics = (
            *(Metric(f"n={n}", "", False, f"excess risk with {n} labels and {self.ms[-1]:,} unlabelled rows") for n in self.ns),
            *(Metric(f"m={m}", "", False, f"excess risk with {m} unlabelled rows and {self.ns[-1]:,} labels") for m in self.ms),
            *(
                Metric(f"slope in {axis}", "", False, f"exponent of the excess risk in {axis}, where the other term is below a fifth of it")
                for axis in self.slopes
            ),
        )
        self._study = lru_cache(maxsize=2)(self._measured)

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "SampleComplexity":
        """One of the problems by name: ``"factor"``, ``"mixture"`` or ``"contrastive"``.

        Args:
            data: ``"factor"`` by default.
            setting: its scale decides on repetitions.
            strict: no difference.

        Raises:
            InputError: another name.
        """
        name = choose("problem with a latent variable", data or "factor", INSTANCES)
        return cls(INSTANCES[name](), *SIZES[name], reps=setting.pick(smoke=2, full=16, gpu=64), slopes=())

    def arm(self, name: str) -> Arm:
        """``"two-phase"``, ``"oracle"``, or one of the instance's baselines."""
        choose("arm", name, ("two-phase", "oracle", *self.instance.baselines))
        role: Literal["method", "baseline", "ablation"] = (
            "method" if name == "two-phase" else "ablation" if name == "oracle" else "baseline"
        )
        return Arm(name, lambda: name, role=role, note="a head on the true model" if name == "oracle" else "")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """The arm's risks and exponents over the repetitions of a seed."""
        found, name = self._study(run.seed), arm.make()
        grid = found.grid
        if name == "two-phase":
            over_n, over_m = grid.two_phase[:, -1], grid.two_phase[:, :, -1]
        else:
            over_n = {"oracle": grid.oracle, **grid.baselines}[name]
            over_m = over_n[:, -1:].expand(-1, len(self.ms))
        by_n, by_m = over_n.mean(dim=0).tolist(), over_m.mean(dim=0).tolist()
        metrics = {f"n={n}": risk for n, risk in zip(self.ns, by_n, strict=True)}
        metrics |= {f"m={m}": risk for m, risk in zip(self.ms, by_m, strict=True)}
        slopes = {axis: self._slope(found, name, axis) for axis in self.slopes}
        metrics |= {f"slope in {axis}": slope.value if slope else 0.0 for axis, slope in slopes.items()}
        measured = {axis: slope for axis, slope in slopes.items() if slope}
        notes = {f"slope in {axis}": {"over": list(slope.sizes), "fixed share": slope.fixed_share} for axis, slope in measured.items()}
        return Outcome(
            metrics,
            curves={
                "excess risk over labels": [(float(n), risk) for n, risk in zip(self.ns, by_n, strict=True)],
                "excess risk over unlabelled rows": [(float(m), risk) for m, risk in zip(self.ms, by_m, strict=True)],
            },
            notes=notes,
        )

    def _measured(self, seed: int) -> RateTable:
        return RateStudy(self.instance, self.ns, self.ms, self.reps, seed).run()

    def _slope(self, found: RateTable, name: str, axis: str) -> Slope | None:
        if name == "two-phase":
            return found.slope(axis)
        return found.baseline_slope(name, 1 if name == "oracle" else 2 * self.instance.d) if axis == "n" else None


TASKS = {SampleComplexity.name: SampleComplexity}
