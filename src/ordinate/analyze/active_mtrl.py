r"""Learn a representation for a target from source tasks whose samples are paid for, and decide on the way which tasks to pay.

1. **Explore**: the same number of samples of every source; learn the representation and the sources' heads; fit the target's head on it.
2. **Estimate** how relevant each source is from those heads: the linear program or the Lasso (``l1``), or the smallest 2-norm (``l2``).
3. **Buy** the rest of the budget accordingly, learn again from everything, and fit the target's head.

With more rounds the relevances are estimated again after each, and each buys twice as much as the one before. What is explored does not depend on the precision that is wanted.

Relevances found on badly estimated heads are noise: where a source was explored with fewer than 2 K samples, a tenth of the later budget is spread evenly over all sources.

Source: Wang et al., "Improved active multi-task representation learning via Lasso" (ICML 2023), section 4; several rounds as in Chen et al., "Active multi-task representation learning" (ICML 2022).
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float64, Int64
from sklearn.base import BaseEstimator
from torch import Tensor

from ordinate.analyze.relevance import relevance, relevance_lasso
from ordinate.analyze.sample_plan import RULES, allocate
from ordinate.ground.errors import InputError, choose
from ordinate.models.task_learner import TaskLearner

__all__ = ["ActiveMTRL", "BuyingRound", "choose_penalty", "estimate_relevance"]

_EVEN = 0.1  # of the budget, spread over all sources where relevances are badly known
_FOLDS = 5
_PENALTIES = 12

Sampler = Callable[[int, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class BuyingRound:
    """What was bought in a round, and what was known before it.

    Attributes:
        relevance: (T,) estimates that the round bought by; zeros for the exploration.
        bought: (T,) samples.
        penalty: the Lasso's, 0 where the linear program or another rule decided.
        remarks: what a reader should know: few samples a source, as many sources as features, ...
    """

    relevance: Float64[Tensor, " tasks"]
    bought: Int64[Tensor, " tasks"]
    penalty: float
    remarks: list[str] = field(default_factory=list)


def estimate_relevance(
    W: Float64[Tensor, "features tasks"],
    w: Float64[Tensor, " features"],
    rule: str = "l1",
    *,
    penalty: float = 0.0,
    costs: Tensor | None = None,
) -> Float64[Tensor, " tasks"]:
    """Relevances (T,) from estimated heads by a rule's own norm; ones for ``"uniform"``.

    Args:
        W: (K, T) estimated heads of the sources.
        w: (K,) estimated head of the target.
        rule: ``"l1"``, ``"l2"`` or ``"uniform"``.
        penalty: of the Lasso for ``"l1"``; 0 is the linear program. So large a penalty that nothing is left falls back to the linear program.
        costs: (T,) of a sample of each source, for ``"l1"``.

    Raises:
        InputError: see `ordinate.analyze.relevance.relevance`.
    """
    if choose("rule", rule, RULES) == "uniform":
        return torch.ones(W.shape[1], dtype=torch.float64)
    if rule == "l2":
        return relevance(W, w, 2, project=True)
    found = relevance_lasso(W, w, penalty, costs=costs) if penalty > 0 else torch.zeros(W.shape[1], dtype=torch.float64)
    return found if bool(found.any()) else relevance(W, w, costs=costs, project=True)


def choose_penalty(learner: TaskLearner, X: Tensor, y: Tensor, *, costs: Tensor | None = None) -> float:
    """The Lasso's penalty by cross-validation on the target's samples: the target's head is fitted on four fifths, replaced by the combination of sources' heads, and judged on the rest.

    Args:
        learner: has learnt.
        X: (n, ...) the target's inputs, five or more.
        y: (n,) its targets.
        costs: (T,) of a sample of each source.

    Raises:
        InputError: fewer than five samples of the target.
    """
    if len(X) < _FOLDS:
        raise InputError(f"a penalty is cross-validated on {_FOLDS} samples of the target or more, not {len(X)}: give it as a number")
    W, features = learner.heads, learner.encode(X)
    whole, _ = learner.fit_head(X, y)
    largest = float((W.mT @ whole).abs().max())
    grid = (largest * torch.logspace(-4, -0.05, _PENALTIES, dtype=torch.float64)).tolist()
    errors, fold_of = [0.0] * len(grid), torch.arange(len(X)) % _FOLDS
    for fold in range(_FOLDS):
        kept = fold_of != fold
        w, level = learner.fit_head(X[kept], y[kept])
        for place, penalty in enumerate(grid):
            head = W @ estimate_relevance(W, w, penalty=penalty, costs=costs)
            errors[place] += float((features[~kept] @ head + level - y[~kept].double()).square().sum())
    return grid[min(range(len(grid)), key=errors.__getitem__)]


class ActiveMTRL(BaseEstimator):
    """The loop, with scikit-learn's manners of arguments and fitted attributes; what it is fitted to is a sampler. See the module.

    Attributes:
        learner_: what was learnt in the end.
        head_, intercept_: of the target, (K,) and a number.
        relevance_: (T,) the last estimates.
        allocation_: (T,) samples bought of each source, exploration included.
        history_: a `BuyingRound` each round.
    """

    def __init__(
        self,
        learner: Any,
        budget: Any,
        *,
        tasks: Any,
        explore: Any = 0.1,
        rule: Any = "l1",
        rounds: Any = 2,
        penalty: Any = 0.0,
        k_tasks: Any = None,
        share: Any = "proportional",
        minimum: Any = 0,
        costs: Any = None,
        caps: Any = None,
        known: Any = None,
        reuse: Any = True,
        seed: Any = 0,
    ) -> None:
        """
        Args:
            learner: a `TaskLearner`, which is copied; K is its number of heads' features.
            budget: samples of sources in all; with costs, what may be spent.
            tasks: T, the number of sources.
            explore: the part of the budget that is explored with.
            rule: ``"l1"``, ``"l2"`` or ``"uniform"``.
            rounds: exploration included; 1 is exploration alone, the passive learner.
            penalty: of the Lasso: a number, 0 for the linear program, ``"auto"`` for sigma sqrt(K / n_target) with sigma the deviation of the target's residuals, ``"cv"`` for cross-validation.
            k_tasks: buy of the k most relevant sources alone after exploring; None for all.
            share: among those k, ``"proportional"`` by the rule, or ``"equal"``.
            minimum: of samples of every source in all.
            costs: (T,) of a sample of each source.
            caps: (T,) the most samples there are of each source.
            known: (T,) relevances that are known, so that nothing is explored: the whole budget is bought by them in one round.
            reuse: learn from the exploration's samples too in the end.
            seed: of the learner.
        """
        self.learner = learner
        self.budget = budget
        self.tasks = tasks
        self.explore = explore
        self.rule = rule
        self.rounds = rounds
        self.penalty = penalty
        self.k_tasks = k_tasks
        self.share = share
        self.minimum = minimum
        self.costs = costs
        self.caps = caps
        self.known = known
        self.reuse = reuse
        self.seed = seed

    def fit(self, sampler: Sampler, target: tuple[Tensor, Tensor]) -> "ActiveMTRL":
        """Explore, buy, learn.

        Args:
            sampler: `sampler(task, n)` gives n new samples (X (n, ...), y (n,)) of a source; it is what is paid.
            target: (X, y) samples of the target.

        Raises:
            InputError: a target without samples; a budget below what exploring or the minimum takes; numbers out of range; see also `allocate`.
        """
        X, y = target
        if not len(X):
            raise InputError("the target has no samples: neither its head nor the sources' relevance can be estimated")
        self._check()
        self.learner_: TaskLearner = deepcopy(self.learner)
        self.learner_.begin(self.tasks)
        self._spent = torch.zeros(self.tasks, dtype=torch.int64)
        self.history_: list[BuyingRound] = []
        if self.known is not None:
            nu = torch.as_tensor(self.known, dtype=torch.float64)
            self._buy(sampler, nu, self._plan(nu, float(self.budget), 0.0), 0.0, [])
        else:
            self._rounds(sampler, X, y)
        self.learner_.learn(self.seed)
        self.head_, self.intercept_ = self.learner_.fit_head(X, y)
        self.allocation_ = self._spent
        self.relevance_ = self.history_[-1].relevance
        return self

    def predict(self, X: Tensor) -> Float64[Tensor, " samples"]:
        """The target's values (n,) at inputs (n, ...)."""
        return self.learner_.encode(X) @ self.head_ + self.intercept_

    def _rounds(self, sampler: Sampler, X: Tensor, y: Tensor) -> None:
        first = self._whole(float(self.budget) * (1.0 if self.rounds == 1 else self.explore))
        start = allocate(torch.ones(self.tasks), first, "uniform", costs=self._price, caps=self._most)
        self._buy(sampler, torch.zeros(self.tasks, dtype=torch.float64), start, 0.0, [])
        later, explored = float(self.budget) - self._paid(), int(start.min())
        for turn in range(1, self.rounds):
            self.learner_.learn(self.seed)
            w, level = self.learner_.fit_head(X, y)
            penalty = self._penalty(X, y, w, level)
            nu = estimate_relevance(self.learner_.heads, w, self.rule, penalty=penalty, costs=self._price if self.rule == "l1" else None)
            remarks, even = [], 0.0
            if self.rule != "uniform" and explored < 2 * len(w):
                remarks.append(f"{explored} samples a source were explored for {len(w)} features: a tenth is spread evenly")
                even = _EVEN
            if len(w) == self.tasks:
                remarks.append("there are as many sources as features: the relevance is unique, and both norms give the same")
            # every later round buys twice as much as the one before it, and the last what is left
            last = turn == self.rounds - 1
            amount = float(self.budget) - self._paid() if last else self._whole(later * 2 ** (turn - 1) / (2 ** (self.rounds - 1) - 1))
            if last and not self.reuse:
                self.learner_.begin(self.tasks)
            self._buy(sampler, nu, self._plan(nu, amount, even), penalty, remarks)

    def _plan(self, nu: Tensor, amount: float, even: float) -> Int64[Tensor, " tasks"]:
        """What to buy for `amount`: what the minimum still asks for, a part `even` spread evenly, and the rest by the rule."""
        numbers = (self.minimum - self._spent).clamp(min=0)
        if even and (spread := self._whole(amount * even)) >= 1:
            numbers = numbers + allocate(torch.ones_like(nu), spread, "uniform", costs=self._price, caps=self._room(numbers))
        left = amount - self._price_of(numbers)
        if left <= 0:
            return numbers
        return numbers + allocate(self._chosen(nu), left, self.rule, costs=self._price, caps=self._room(numbers))

    def _chosen(self, nu: Tensor) -> Tensor:
        """The relevances of the sources that are bought from."""
        if self.k_tasks is None or self.rule == "uniform":
            return nu
        best = nu.abs().argsort(descending=True, stable=True)[: self.k_tasks]
        shares = nu[best] if self.share == "proportional" else (nu[best] != 0).double()
        return torch.zeros_like(nu).index_copy(0, best, shares)

    def _room(self, numbers: Tensor) -> Tensor | None:
        return None if self._most is None else (self._most - self._spent - numbers).clamp(min=0)

    def _whole(self, amount: float) -> float:
        """An amount that can be bought for: a whole number of samples where they cost the same."""
        return float(int(amount)) if self._price is None else amount

    def _buy(self, sampler: Sampler, nu: Tensor, numbers: Tensor, penalty: float, remarks: list[str]) -> None:
        for task, count in enumerate(numbers.tolist()):
            if count:
                X, y = sampler(task, count)
                if len(X) != count:
                    raise InputError(f"the sampler gave {len(X)} samples of source {task} where {count} were paid for: give caps")
                self.learner_.add(task, X, y)
        self._spent = self._spent + numbers
        self.history_.append(BuyingRound(nu, numbers, penalty, remarks))

    def _penalty(self, X: Tensor, y: Tensor, w: Tensor, level: float) -> float:
        if self.rule != "l1":
            return 0.0
        if self.penalty == "cv":
            return choose_penalty(self.learner_, X, y, costs=self._price)
        if self.penalty == "auto":
            residual = y.double() - self.learner_.encode(X) @ w - level
            freedom = max(1, len(y) - len(w))
            return float((residual.square().sum() / freedom).sqrt()) * (len(w) / len(y)) ** 0.5
        return float(self.penalty)

    def _price_of(self, numbers: Tensor) -> float:
        return float(numbers.sum()) if self._price is None else float((numbers * self._price).sum())

    def _paid(self) -> float:
        return self._price_of(self._spent)

    def _check(self) -> None:
        choose("rule", self.rule, RULES)
        choose("share", self.share, ("equal", "proportional"))
        if self.rounds < 1 or not 0 < self.explore < 1:
            raise InputError(f"there is at least one round, and explore lies in (0, 1), not {self.rounds} and {self.explore}")
        if not (self.penalty in ("auto", "cv") or (isinstance(self.penalty, int | float) and self.penalty >= 0)):
            raise InputError(f"the penalty is 0 or more, 'auto' or 'cv', not {self.penalty!r}")
        if self.k_tasks is not None and not 1 <= self.k_tasks <= self.tasks:
            raise InputError(f"of {self.tasks} sources 1 to {self.tasks} can be chosen, not {self.k_tasks}")
        self._price = None if self.costs is None else torch.as_tensor(self.costs, dtype=torch.float64)
        self._most = None if self.caps is None else torch.as_tensor(self.caps, dtype=torch.int64)
        explored = self.explore * self.budget / self.tasks
        if self.known is None and self._price is None and explored < 1:
            raise InputError(
                f"exploring {self.tasks} sources with {self.explore:.0%} of {self.budget} samples gives none to some: raise either"
            )
        allocate(torch.ones(self.tasks), float(self.budget), "uniform", minimum=self.minimum, costs=self._price, caps=self._most)
