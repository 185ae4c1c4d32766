r"""Which source tasks a budget of samples is spent on, on linear tasks whose truth is known: the target's excess risk in closed form, at one budget or several.

Arms differ in the rule by which samples are bought (`l1`, `l2`, `uniform`) and in what they know of the sources' relevance: nothing, so that they explore first and estimate it, or everything (`known l1`, `known l2`), which is what
the theory is about. All of them learn by the same alternating least squares, with the same budget, exploration included, from the same samples of each source.

Source: Wang et al., "Improved active multi-task representation learning via Lasso" (ICML 2023), Theorem 3.4 and section 4.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ordinate.analyze.active_mtrl import ActiveMTRL
from ordinate.analyze.relevance import relevance
from ordinate.analyze.transfer_risk import excess_risk, representation_risk
from ordinate.data.interactions import NAMED_INTERACTIONS
from ordinate.data.linear_sources import TARGET, LinearSources, SourceSampler, near_duplicates, strong_and_weak
from ordinate.data.rated_films import rated_films
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.models.linear_mtrl import LinearMTRL

__all__ = ["TASKS", "Buyer", "SourceSampling", "buyer_arm"]

INSTANCES: dict[str, Callable[..., LinearSources]] = {"strong-and-weak": strong_and_weak, "near-duplicates": near_duplicates}
"""Generated problems by name."""


@dataclass(frozen=True)
class Buyer:
    """How samples are bought.

    Attributes:
        rule: ``"l1"``, ``"l2"`` or ``"uniform"``.
        known: whether the true heads are known.
        few: buy of as many sources as the representation has features, the most relevant.
        penalty: of the Lasso; see `ordinate.analyze.active_mtrl.ActiveMTRL`.
    """

    rule: str
    known: bool = False
    few: bool = False
    penalty: float | str = 0.0


_ARMS = {
    "l1": Buyer("l1"),
    "l2": Buyer("l2"),
    "uniform": Buyer("uniform"),
    "known l1": Buyer("l1", known=True),
    "known l2": Buyer("l2", known=True),
    "few l1": Buyer("l1", few=True),
    "few l2": Buyer("l2", few=True),
    "lasso": Buyer("l1", penalty="auto"),
    "lasso cv": Buyer("l1", penalty="cv"),
}


def buyer_arm(name: str) -> Arm:
    """The arm of a name: a rule, `known`, `few` or `lasso` with it.

    Raises:
        InputError: no such arm.
    """
    buyer = _ARMS[choose("arm", name, _ARMS)]
    return Arm(name, partial(_as_is, buyer), role="method" if buyer.rule == "l1" else "baseline")


def _as_is(buyer: Buyer) -> Buyer:
    return buyer


class SourceSampling(Task):
    """An arm's `make()` gives a `Buyer`. The seed draws the problem and the samples."""

    name = "source-sampling"
    metrics: tuple[Metric, ...] = (
        Metric("risk", higher_is_better=False, meaning="excess risk on the target"),
        Metric("representation", higher_is_better=False, meaning="the part of it that the best head on the representation would leave"),
        Metric("sources", higher_is_better=False, meaning="with a relevance that is not zero"),
        Metric("cost", higher_is_better=False, meaning="samples bought"),
    )

    def __init__(
        self,
        problem: Callable[[int], LinearSources],
        *,
        budgets: tuple[int, ...] = (8_000,),
        target: int = 300,
        explored: int = 40,
        minimum: int = 10,
        title: str = "Linear source tasks",
    ) -> None:
        """
        Args:
            problem: from a seed to the tasks.
            budgets: samples in all, ascending; the metrics are of the last. With three or more there is a metric ``"exponent"``: the slope of log budget in log eps, eps² the representation's part of the risk.
            target: samples of the target.
            explored: samples of every source that arms without knowledge explore with.
            minimum: the least samples of every source.
            title: one line for people.

        Raises:
            InputError: no budget, or budgets that do not ascend.
        """
        if not budgets or list(budgets) != sorted(set(budgets)):
            raise InputError(f"budgets ascend, and there is one at least, not {budgets}")
        self.problem, self.budgets, self.target, self.explored, self.minimum, self.title = (
            problem,
            budgets,
            target,
            explored,
            minimum,
            title,
        )
        if len(budgets) >= 3:
            self.metrics = (*self.metrics, Metric("exponent", higher_is_better=False, meaning="of the budget in eps"))

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "SourceSampling":
        """On a generated problem, or on films.

        Args:
            data: ``"strong-and-weak"`` (the default), ``"near-duplicates"``, or interactions with ratings: ``"ml-100k"`` or a folder.
            setting: its scale decides on the size.
            strict: nothing in the data is passed over in any case.
        """
        name = data or "strong-and-weak"
        if name in INSTANCES:
            d, T, budget = setting.pick(smoke=(12, 15, 2_000), full=(30, 40, 8_000))
            return cls(partial(INSTANCES[name], inputs=d, tasks=T), budgets=(budget,), title=f"Linear source tasks: {name}")
        if name not in NAMED_INTERACTIONS and "/" not in name:
            choose("problem (or folder of interactions)", name, (*INSTANCES, *NAMED_INTERACTIONS))
        films = rated_films(name, folder=setting.data_dir)
        # 50 samples a source in all and 20 of the target, as in the recipe; 20 of the 50 explore
        return cls(lambda seed: films, budgets=(50 * len(films.sources),), target=20, explored=20, minimum=2, title=f"Films of {name}")

    def arm(self, name: str) -> Arm:
        """A rule: `l1`, `l2`, `uniform`; `known l1`, `known l2`; `few l1`, `few l2`; `lasso`, `lasso cv`."""
        return buyer_arm(name)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Buy, learn and judge at every budget."""
        buyer: Buyer = arm.make()
        problem = self.problem(run.seed)
        known = _known(buyer, problem)
        risks, parts, chosen, cost = [], [], 0.0, 0.0
        for budget in self.budgets:
            sampler = SourceSampler(problem, run.seed)
            tasks = len(problem.sources)
            found = ActiveMTRL(
                LinearMTRL(problem.rank, intercept=False),
                budget,
                tasks=tasks,
                explore=self.explored * tasks / budget,
                rule=buyer.rule,
                penalty=buyer.penalty,
                k_tasks=problem.rank if buyer.few else None,
                minimum=self.minimum,
                known=known,
                seed=run.seed,
            ).fit(sampler, sampler(TARGET, self.target))
            learner: Any = found.learner_
            risks.append(excess_risk(learner.B @ found.head_, problem.target, problem.covariance))
            parts.append(representation_risk(learner.B, problem.target, problem.covariance))
            chosen, cost = float((found.relevance_ != 0).sum()), float(found.allocation_.sum())
        metrics = {"risk": risks[-1], "representation": parts[-1], "sources": chosen, "cost": cost}
        curves = {}
        if len(self.budgets) >= 3:
            eps = [math.sqrt(part) for part in parts]
            metrics["exponent"] = _slope([math.log(each) for each in eps], [math.log(budget) for budget in self.budgets])
            curves = {"budget by eps": sorted(zip(eps, map(float, self.budgets), strict=True))}
        return Outcome(metrics, curves=curves)


def _known(buyer: Buyer, problem: LinearSources) -> torch.Tensor | None:
    if buyer.rule == "uniform":
        return torch.ones(len(problem.sources), dtype=torch.float64)
    W, w = problem.heads()
    return relevance(W, w, 1 if buyer.rule == "l1" else 2, project=True) if buyer.known else None


def _slope(x: list[float], y: list[float]) -> float:
    across, up = sum(x) / len(x), sum(y) / len(y)
    return sum((a - across) * (b - up) for a, b in zip(x, y, strict=True)) / sum((a - across) ** 2 for a in x)


TASKS = {SourceSampling.name: SourceSampling}
