r"""From samples at hand to a plan of which to buy: what source tasks share is learnt, the target's head is fitted on it, and the budget is shared by the relevance that this gives.

Inputs are standardised over the sources' rows, every task has an intercept, and the heads stand on orthonormal features. How good the plan is beside others is said by the budgets that they need to carry as little noise to the
target: for an even spread that is with the best relevance for it, the one of smallest 2-norm.

Source: Wang et al., "Improved active multi-task representation learning via Lasso" (ICML 2023), section 4, phase 1.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ordinate.analyze.active_mtrl import choose_penalty, estimate_relevance
from ordinate.analyze.relevance import outside, relevance
from ordinate.analyze.sample_plan import allocate, carried_noise, plan_samples, required_budget
from ordinate.data.task_table import TaskTable
from ordinate.ground.errors import InputError, choose
from ordinate.models.linear_mtrl import LinearMTRL

__all__ = ["SampleStudy", "study_samples"]


@dataclass(frozen=True)
class SampleStudy:
    """What was found.

    Attributes:
        sources: their names.
        at_hand: (T,) samples of each.
        relevance: (T,).
        allocation: (T,) samples to buy of each.
        cost: of them.
        rivals: rule -> what it would need for the same noise at the target, in the budget's units.
        noise: standard deviation of the target's residuals.
        remarks: one line each.
    """

    sources: list[str]
    at_hand: Int64[Tensor, " sources"]
    relevance: Float64[Tensor, " sources"]
    allocation: Int64[Tensor, " sources"]
    cost: float
    rivals: dict[str, float]
    noise: float
    remarks: list[str]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        rows = zip(self.sources, self.at_hand.tolist(), self.relevance.tolist(), self.allocation.tolist(), strict=True)
        return {
            "sources": [{"task": name, "at hand": here, "relevance": nu, "samples": n} for name, here, nu, n in rows],
            "cost": self.cost,
            "budget for the same precision": self.rivals,
            "noise": self.noise,
            "remarks": self.remarks,
        }


def study_samples(
    table: TaskTable,
    target: str,
    budget: float,
    features: int,
    *,
    rule: str = "l1",
    penalty: float | str = 0.0,
    minimum: int = 0,
    costs: Float64[Tensor, " sources"] | None = None,
    caps: Float64[Tensor, " sources"] | None = None,
) -> SampleStudy:
    """Plan what to buy for a target.

    Args:
        table: samples of the sources and the target.
        target: the target's name; all other tasks are sources.
        budget: samples to buy; with costs, what may be spent.
        features: K that the tasks share.
        rule: ``"l1"``, ``"l2"`` or ``"uniform"``.
        penalty: of the Lasso for ``"l1"``: 0 for the linear program, ``"cv"`` for cross-validation, or a number.
        minimum: the least samples to buy of each source.
        costs, caps: (T,) of the sources in the table's order; see `ordinate.analyze.sample_plan.allocate`.

    Raises:
        InputError: no such target, fewer sources than features, a penalty that is none, or a budget that does not do; see `allocate`.
    """
    choose("task", target, table.names)
    if not (penalty == "cv" or (isinstance(penalty, int | float) and penalty >= 0)):
        raise InputError(f"the penalty is 0 or more, or 'cv', not {penalty!r}")
    wanted = table.task == table.names.index(target)
    sources = [name for name in table.names if name != target]
    spread = table.X[~wanted].std(dim=0, correction=0) if bool((~wanted).any()) else torch.ones(table.X.shape[1], dtype=torch.float64)
    X = (table.X - table.X[~wanted].mean(dim=0)) / torch.where(spread > 0, spread, 1.0)
    learner = LinearMTRL(features)
    learner.begin(len(sources))
    at_hand = torch.zeros(len(sources), dtype=torch.int64)
    for number, name in enumerate(sources):
        rows = table.task == table.names.index(name)
        learner.add(number, X[rows], table.y[rows])
        at_hand[number] = int(rows.sum())
    learner.learn()
    w, level = learner.fit_head(X[wanted], table.y[wanted])
    W = learner.heads
    residual = table.y[wanted] - learner.encode(X[wanted]) @ w - level
    noise = float((residual.square().sum() / max(1, int(wanted.sum()) - features - 1)).sqrt())
    strength = choose_penalty(learner, X[wanted], table.y[wanted], costs=costs) if penalty == "cv" and rule == "l1" else penalty
    if rule == "l1" and strength == 0:
        plan = plan_samples(W, w, budget, minimum=minimum, costs=costs, caps=caps, project=True)
        nu, allocation, cost = plan.relevance, plan.allocation, plan.cost
    else:
        nu = estimate_relevance(W, w, rule, penalty=float(strength), costs=costs if rule == "l1" else None)
        allocation = allocate(nu, budget, rule, minimum=minimum, costs=costs, caps=caps)
        cost = float((allocation if costs is None else allocation * costs).sum())
    return SampleStudy(
        sources,
        at_hand,
        nu,
        allocation,
        cost,
        _rivals(W, w, nu, allocation, rule, costs),
        noise,
        _remarks(W, w, at_hand, features, int(wanted.sum())),
    )


def _rivals(W: Tensor, w: Tensor, nu: Tensor, allocation: Tensor, rule: str, costs: Tensor | None) -> dict[str, float]:
    even = relevance(W, w, 2, project=True)
    carried = carried_noise(even if rule == "uniform" else nu, allocation)
    if not 0 < carried < float("inf"):
        return {}
    eps = carried**0.5
    best = relevance(W, w, costs=costs, project=True)
    return {
        "l1": required_budget(best, eps, "l1", costs=costs),
        "l2": required_budget(even, eps, "l2", costs=costs),
        "uniform": required_budget(even, eps, "uniform", costs=costs),
    }


def _remarks(W: Tensor, w: Tensor, at_hand: Tensor, features: int, target: int) -> list[str]:
    remarks = []
    if int(at_hand.min()) < 2 * features:
        remarks.append(
            f"{int((at_hand < 2 * features).sum())} sources have fewer than {2 * features} samples, two for each feature: their heads, and the plan with them, are rough; set --minimum to keep exploring"
        )
    if len(at_hand) == features:
        remarks.append("there are as many sources as features: the relevance is unique, and the rules l1 and l2 start from the same")
    missed = outside(W, w)
    if missed > 1e-8:
        remarks.append(f"{missed:.1%} of the target's head is no combination of the sources': more samples of them will not teach it")
    if target < features + 1:
        remarks.append(f"the target has {target} samples for {features} features and an intercept: its head is not determined")
    return remarks
