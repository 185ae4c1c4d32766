r"""Plans of samples without any learning: what different rules need for the same precision, on heads drawn at random. Every number is exact for its draw.

Kinds of instances, one an arm:

- ``random``: T heads in K dimensions, standard normal, and a target's;
- ``near duplicates``: :func:`ordinate.data.linear_sources.near_duplicates`;
- ``two prices``: random heads, whose samples cost 1 or 10;
- ``openings``: random heads that cost something to open as well.

Source: Wang et al., "Improved active multi-task representation learning via Lasso" (ICML 2023), Theorem 3.4 and the section on costs.
"""

from functools import partial

import torch
from torch import Tensor

from ordinate.analyze.lasso import lasso
from ordinate.analyze.opening_costs import plan_openings
from ordinate.analyze.relevance import relevance
from ordinate.analyze.sample_plan import required_budget
from ordinate.data.linear_sources import near_duplicates
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import choose
from ordinate.ground.seeds import derive, generator

__all__ = ["TASKS", "SamplingPlans"]

KINDS = ("random", "near duplicates", "two prices", "openings")
_DEAR = 10.0
_SAME = 1e-9


class SamplingPlans(Task):
    """An arm's `make()` gives the name of a kind of instances. The seed draws them."""

    name = "sampling-plans"
    metrics = (
        Metric("ratio", unit="x", higher_is_better=False, meaning="median of what the L1 rule needs over what the other rule needs"),
        Metric("worst", unit="x", higher_is_better=False, meaning="the largest of them"),
        Metric("nonzeros", higher_is_better=False, meaning="the most sources that the linear program uses"),
        Metric(
            "lasso nonzeros",
            higher_is_better=False,
            meaning="the most sources that the Lasso uses, over penalties from 0.01 to 0.5 of the largest",
        ),
        Metric("optimal", unit="%", meaning="of the plans found step by step, those as cheap as the best of all"),
    )

    def __init__(self, *, features: int = 4, tasks: int = 40, draws: int = 200, small: tuple[int, int, int] = (3, 12, 40)) -> None:
        """
        Args:
            features: K.
            tasks: T.
            draws: instances a seed.
            small: (K, T, draws) of the instances with opening costs, which are also solved by trying everything.
        """
        self.features, self.tasks, self.draws, self.small = features, tasks, draws, small
        self.title = f"Plans for {tasks} sources in {features} dimensions"

    def arm(self, name: str) -> Arm:
        """A kind of instances; see the module."""
        return Arm(choose("kind of instances", name, KINDS), partial(str, name))

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Draw and plan."""
        kind: str = arm.make()
        chance = generator(run.seed, "plans", kind)
        features, tasks, draws = self.small if kind == "openings" else (self.features, self.tasks, self.draws)
        ratios, most, most_lasso, optimal = [], 0, 0, 0
        for draw in range(draws):
            W, w = self._heads(kind, features, tasks, derive(run.seed, draw), chance)
            nu = relevance(W, w)
            most = max(most, int((nu != 0).sum()))
            most_lasso = max(most_lasso, _lasso_nonzeros(W, w))
            if kind == "two prices":
                costs = torch.where(torch.rand(tasks, generator=chance) < 0.5, 1.0, _DEAR).double()
                shared = float((costs * nu.abs()).sum() * nu.abs().sum())  # the samples of the unweighted plan, at these prices
                ratios.append(required_budget(relevance(W, w, costs=costs), 1.0, costs=costs) / shared)
            elif kind == "openings":
                # as dear as the samples of a source: neither part decides alone
                opening = float(nu.abs().sum()) ** 2 * torch.rand(tasks, dtype=torch.float64, generator=chance)
                best, found = (plan_openings(W, w, 1.0, opening, exhaustive=every, seed=draw).cost for every in (True, False))
                ratios.append(found / best)
                optimal += found <= best * (1 + _SAME)
            else:
                ratios.append(required_budget(nu, 1.0) / required_budget(relevance(W, w, 2), 1.0, "l2"))
        return Outcome(
            {
                "ratio": float(torch.tensor(ratios).median()),
                "worst": max(ratios),
                "nonzeros": float(most),
                "lasso nonzeros": float(most_lasso),
                "optimal": 100.0 * optimal / draws if kind == "openings" else 100.0,
            }
        )

    def _heads(self, kind: str, features: int, tasks: int, seed: int, chance: torch.Generator) -> tuple[Tensor, Tensor]:
        if kind == "near duplicates":
            return near_duplicates(seed, rank=features, tasks=tasks).heads()
        W = torch.randn(features, tasks, dtype=torch.float64, generator=chance)
        return W, torch.randn(features, dtype=torch.float64, generator=chance)


def _lasso_nonzeros(W: Tensor, w: Tensor) -> int:
    largest = float((W.mT @ w).abs().max())
    penalties = largest * torch.tensor([0.01, 0.03, 0.1, 0.3, 0.5], dtype=torch.float64)
    return int((lasso(W, w[:, None].expand(-1, len(penalties)), penalties) != 0).sum(dim=0).max())


TASKS = {SamplingPlans.name: SamplingPlans}
