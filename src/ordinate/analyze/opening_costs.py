r"""Which source tasks to open where each costs something to begin with: :math:`C_t` once, and :math:`c_t` a sample.

With the noise carried to the target held at :math:`V = \epsilon^2` (:mod:`ordinate.analyze.sample_plan`), the cost of a set of opened sources S is

.. math:: \sum_{t \in S} C_t + \Bigl(\sum_{t \in S} \sqrt{c_t}\, |\nu_t|\Bigr)^2 / \epsilon^2, \qquad W \nu = w,\; \nu_t = 0 \text{ outside } S.

For a given S the second part is a linear program with an optimum at a vertex, which opens no more than K sources of S: so the best plan is among the bases, the sets of K independent heads. Where there are few of those, all are tried.
Where there are many, the jump is replaced by its slope at the present solution, :math:`C_t |\nu_t| / (|\nu_t^{\text{now}}| + \delta)`, and the weighted linear program is solved again until it stays (reweighted 1-norm: Candes, Wakin and
Boyd, 2008), from several starts; a solution is then improved by exchanging one source at a time.

Source: Wang et al., "Improved active multi-task representation learning via Lasso" (ICML 2023), the section on sampling costs: sparse relevances are the right family for concave costs. The algorithm here is our own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import comb

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ordinate.analyze.relevance import check_costs, relevance
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["OpeningPlan", "plan_openings"]

_MOST_TRIED = 200_000
_BLOCK = 20_000
_REWEIGHTINGS = 30
_ZERO = 1e-10
_SOLVED = 1e-6


@dataclass(frozen=True)
class OpeningPlan:
    """A plan.

    Attributes:
        relevance: (T,) nu, zero for what is not opened.
        samples: (T,) real numbers of samples.
        cost: of opening and sampling.
        bound: a lower bound on the cost of any plan: samples alone, and the cheapest source opened.
        gap: how far the cost is above the bound, as a part of the cost.
        exhaustive: whether every basis was tried, so that the plan is the best there is.
    """

    relevance: Float64[Tensor, " tasks"]
    samples: Float64[Tensor, " tasks"]
    cost: float
    bound: float
    gap: float
    exhaustive: bool


def plan_openings(
    W: Float[Tensor, "features tasks"],
    w: Float[Tensor, " features"],
    eps: float,
    opening: Float[Tensor, " tasks"],
    *,
    costs: Float[Tensor, " tasks"] | None = None,
    exhaustive: bool | None = None,
    restarts: int = 8,
    seed: int = 0,
    project: bool = False,
) -> OpeningPlan:
    """The cheapest sources and numbers of samples for V = eps².

    Args:
        W: (K, T) heads of the sources.
        w: (K,) head of the target.
        eps: positive.
        opening: (T,) 0 or more, to open each source.
        costs: (T,) positive, of a sample of each source; ones by default.
        exhaustive: try every basis; by default where there are at most 200,000.
        restarts: of the reweighted programs, from random weights.
        seed: of those.
        project: see `ordinate.analyze.relevance.relevance`.

    Raises:
        InputError: see `relevance`; opening costs that are negative or not finite; eps that is not positive; a target whose head is zero.
    """
    tasks = W.shape[1]
    price = torch.ones(tasks, dtype=torch.float64) if costs is None else costs.double()
    check_costs(price, tasks)
    if opening.shape != (tasks,) or not bool((opening.isfinite() & (opening >= 0)).all()):
        raise InputError(f"opening costs are {tasks} numbers of 0 or more, one a source")
    if eps <= 0 or restarts < 0:
        raise InputError(f"eps must be positive and restarts 0 or more, not {eps} and {restarts}")
    linear = relevance(W, w, costs=price, project=project)
    if not bool(linear.any()):
        raise InputError("the target's head is zero: no source is relevant to it")
    jump, root = opening.double(), price.sqrt()
    left, values, right = torch.linalg.svd(W.double(), full_matrices=False)
    kept = values > _ZERO * values.max()
    rows, target = right[kept], (left[:, kept].mT @ w.double()) / values[kept]

    def cost(nu: Tensor) -> Tensor:
        open_ = nu.abs() > _ZERO * nu.abs().amax(dim=-1, keepdim=True)
        return (jump * open_).sum(dim=-1) + (root * nu.abs()).sum(dim=-1).square() / eps**2

    tried = exhaustive if exhaustive is not None else comb(tasks, len(target)) <= _MOST_TRIED
    if tried:
        nu, _ = _cheapest(rows, target, _all_bases(rows), cost)
    else:
        nu = _reweighted(rows, target, linear, jump, root, eps, restarts, seed, cost)
    total = float(cost(nu))
    bound = float((root * linear.abs()).sum()) ** 2 / eps**2 + float(jump.min())
    samples = nu.abs() / root * float((root * nu.abs()).sum()) / eps**2
    return OpeningPlan(nu, samples, total, bound, max(0.0, total - bound) / total, tried)


def _cheapest(rows: Tensor, target: Tensor, bases: Tensor, cost: Callable[[Tensor], Tensor]) -> tuple[Tensor, float]:
    """The cheapest solution (T,) on one of the bases (B, r), and its cost; infinite where none of them is independent."""
    best, lowest = torch.zeros(rows.shape[1], dtype=torch.float64), float("inf")
    for block in bases.split(_BLOCK):
        matrices = rows[:, block].transpose(0, 1)
        solved, wrong = torch.linalg.solve_ex(matrices, target[None, :, None].expand(len(block), -1, 1))
        values = solved[:, :, 0]
        usable = (wrong == 0) & ((matrices @ solved)[:, :, 0] - target).abs().amax(dim=1).lt(_SOLVED)
        nu = torch.zeros(len(block), rows.shape[1], dtype=torch.float64).scatter(1, block, values)
        prices = torch.where(usable, cost(nu), torch.inf)
        place = int(prices.argmin())
        if float(prices[place]) < lowest:
            best, lowest = nu[place], float(prices[place])
    return best, lowest


def _all_bases(rows: Tensor) -> Tensor:
    return torch.tensor(list(combinations(range(rows.shape[1]), len(rows))))


def _reweighted(
    rows: Tensor,
    target: Tensor,
    linear: Tensor,
    jump: Tensor,
    root: Tensor,
    eps: float,
    restarts: int,
    seed: int,
    cost: Callable[[Tensor], Tensor],
) -> Tensor:
    chance = generator(seed, "openings")
    starts = [linear] + [
        relevance(rows, target, costs=root.square() * torch.randn(len(root), dtype=torch.float64, generator=chance).exp(), project=True)
        for _ in range(restarts)
    ]
    best, lowest = linear, float(cost(linear))
    for nu in starts:
        for _ in range(_REWEIGHTINGS):
            sampled = 2 * float((root * nu.abs()).sum()) * root / eps**2
            weights = sampled + jump / (nu.abs() + 1e-3 * nu.abs().max())
            after = relevance(rows, target, costs=weights.square(), project=True)
            stays = bool(torch.equal(after != 0, nu != 0))
            nu = after
            if stays:
                break
        nu, price = _exchanged(rows, target, nu, cost)
        if price < lowest:
            best, lowest = nu, price
    return best


def _exchanged(rows: Tensor, target: Tensor, nu: Tensor, cost: Callable[[Tensor], Tensor]) -> tuple[Tensor, float]:
    """The solution with one source after another exchanged for a cheaper one, until none is."""
    lowest = float(cost(nu))
    while True:
        basis = _basis(rows, nu)
        others = [task for task in range(rows.shape[1]) if task not in basis]
        if not others:
            return nu, lowest
        bases = torch.tensor([[other if task == out else task for task in basis] for out in basis for other in others])
        found, price = _cheapest(rows, target, bases, cost)
        if price >= lowest * (1 - 1e-12):
            return nu, lowest
        nu, lowest = found, price


def _basis(rows: Tensor, nu: Tensor) -> list[int]:
    """Independent sources, as many as there are constraints, with those that nu uses among them."""
    basis: list[int] = []
    for task in nu.abs().argsort(descending=True, stable=True).tolist():
        if int(torch.linalg.matrix_rank(rows[:, [*basis, task]])) > len(basis):
            basis.append(task)
        if len(basis) == len(rows):
            break
    return basis
