r"""How many samples to buy from each source task, given how relevant the sources are.

With :math:`n_t` samples of source t and relevances nu, the sources' part of the target's excess risk is proportional to the noise that they carry to it,

.. math:: V(\nu, n) = \sum_t \nu_t^2 / n_t, \qquad \text{risk} \approx \sigma^2 K d\, V + \sigma^2 K / n_{\text{target}}.

For N samples in all, :math:`n_t \propto |\nu_t|` makes V smallest, :math:`\lVert \nu \rVert_1^2 / N` (Cauchy and Schwarz), and so the best nu is that of smallest 1-norm. The same precision, V = eps², takes

| rule | samples | budget for V = eps² |
|---|---|---|
| ``l1`` | :math:`n_t \propto \lvert\nu_t\rvert` | :math:`\lVert\nu\rVert_1^2 / \epsilon^2` |
| ``l2`` | :math:`n_t \propto \nu_t^2` | :math:`\lVert\nu\rVert_0 \lVert\nu\rVert_2^2 / \epsilon^2` |
| ``uniform`` | :math:`n_t = N / T` | :math:`T \lVert\nu\rVert_2^2 / \epsilon^2` |

At a cost of :math:`c_t` a sample, :math:`n_t \propto |\nu_t| / \sqrt{c_t}` and the cost is :math:`(\sum_t \sqrt{c_t} |\nu_t|)^2 / \epsilon^2`. A source that is noisier by a factor of :math:`\sigma_t^2` counts as one that is dearer by it.

No source gets fewer than a least number, n_t = max(c |nu_t|, least), so that every head stays defined; a source may have a cap. With either the best nu is no longer that of the linear program: `plan_samples` solves for both at once. For
fixed n the best nu has :math:`V = w^\top (W \operatorname{diag}(n) W^\top)^{-1} w`, which is convex in n (it is the c-optimal design of experiments, and the 1-norm's form Elfving's theorem).

Source: Wang et al., "Improved active multi-task representation learning via Lasso" (ICML 2023), Definition 2.5 and Theorem 3.4; the budgets, and the form with costs, follow from the inequality named.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ordinate.analyze.relevance import check_costs, outside, relevance
from ordinate.ground.errors import InputError, choose

__all__ = ["RULES", "SamplePlan", "allocate", "carried_noise", "plan_samples", "predicted_risk", "required_budget"]

RULES = ("l1", "l2", "uniform")
_ROUNDS = 20_000
_GAP = 1e-9


def carried_noise(nu: Float[Tensor, " tasks"], n: Tensor) -> float:
    """V = sum of nu_t² / n_t over the sources with nu_t != 0; infinite where one of them has no samples."""
    used = nu != 0
    return float((nu[used].double().square() / n[used].double()).sum())


def predicted_risk(nu: Float[Tensor, " tasks"], n: Tensor, K: int, d: int, sigma: float, n_target: int) -> float:
    """The form of the bound on the target's excess risk, sigma² K d V + sigma² K / n_target, without its constant.

    Args:
        nu: (T,) relevances.
        n: (T,) samples of each source.
        K: features of the representation.
        d: inputs.
        sigma: standard deviation of the targets' noise.
        n_target: samples of the target.

    Raises:
        InputError: no samples of the target, or a number out of range.
    """
    if n_target < 1:
        raise InputError("the target has no samples: its head cannot be fitted, whatever the sources give")
    if min(K, d) < 1 or sigma < 0:
        raise InputError(f"there must be inputs and features, and noise of 0 or more, not {d}, {K} and {sigma}")
    return sigma**2 * K * (d * carried_noise(nu, n) + 1 / n_target)


def required_budget(nu: Float[Tensor, " tasks"], eps: float, rule: str = "l1", *, costs: Float[Tensor, " tasks"] | None = None) -> float:
    """The samples that a rule needs for V = eps², as a real number; with costs, what they cost.

    Args:
        nu: (T,) relevances.
        eps: positive.
        rule: one of :data:`RULES`; see the module. With costs, ``l1`` shares by |nu_t| / sqrt(c_t), the others as they do without.
        costs: (T,) positive, of a sample of each source.

    Raises:
        InputError: an unknown rule, relevances that are not finite or all zero, or a number out of range.
    """
    if eps <= 0:
        raise InputError(f"eps must be positive, not {eps}")
    share = _shares(nu, rule, costs)
    price = torch.ones_like(share) if costs is None else costs.double()
    return carried_noise(nu, share) * float((price * share).sum()) / eps**2


def allocate(
    nu: Float[Tensor, " tasks"],
    budget: float,
    rule: str = "l1",
    *,
    minimum: int = 0,
    costs: Float[Tensor, " tasks"] | None = None,
    caps: Tensor | None = None,
) -> Int64[Tensor, " tasks"]:
    """Whole numbers of samples for given relevances.

    Args:
        nu: (T,) relevances.
        budget: samples in all, which the numbers sum to exactly; with costs, what may be spent, of which less than the dearest source's sample is left.
        rule: one of :data:`RULES`.
        minimum: the least number of samples of a source.
        costs: (T,) positive, of a sample of each source.
        caps: (T,) the largest number of samples of each source; what a capped source leaves is shared by the same rule.

    Raises:
        InputError: an unknown rule; relevances that are not finite, or all zero; a budget below what the least numbers take, or beyond what the caps allow; costs that are not positive; caps below the minimum.
    """
    share, price, least, most = _bounds(nu, budget, rule, minimum, costs, caps)
    return _rounded(_filled(share, price, least, most, float(budget)), price, most, float(budget))


@dataclass(frozen=True)
class SamplePlan:
    """A plan.

    Attributes:
        relevance: (T,) nu, the best for these numbers of samples.
        samples: (T,) real numbers of samples.
        allocation: (T,) the same as whole numbers.
        carried: V of the real numbers.
        cost: of the whole numbers; the number of samples where they cost the same.
        gap: the most by which any other plan could be better, as a part of V.
        left_out: the part of the target's head that no combination of sources gives.
    """

    relevance: Float64[Tensor, " tasks"]
    samples: Float64[Tensor, " tasks"]
    allocation: Int64[Tensor, " tasks"]
    carried: float
    cost: float
    gap: float
    left_out: float


def plan_samples(
    W: Float[Tensor, "features tasks"],
    w: Float[Tensor, " features"],
    budget: float,
    *,
    minimum: int = 0,
    costs: Float[Tensor, " tasks"] | None = None,
    caps: Tensor | None = None,
    project: bool = False,
) -> SamplePlan:
    """The relevances and numbers of samples that together carry the least noise to the target.

    Without a minimum or caps in the way it is the linear program's relevance and the ``l1`` rule. Otherwise nu and n are improved in turn, each the best for the other; both are of one convex problem, and its duality gap says when to stop.

    Args:
        W: (K, T) heads of the sources.
        w: (K,) head of the target.
        budget, minimum, costs, caps: see `allocate`.
        project: see `ordinate.analyze.relevance.relevance`.

    Raises:
        InputError: see `allocate` and `relevance`; or caps that leave fewer sources than the target's head needs.
    """
    nu = relevance(W, w, costs=costs, project=project)
    left_out = outside(W, w)
    if not bool(nu.any()):
        raise InputError("the target's head is zero: no source is relevant to it")
    _, price, least, most = _bounds(nu, budget, "l1", minimum, costs, caps, check_reach=False)
    root = price.sqrt()
    linear = float(budget) * nu.abs() / root / float((root * nu.abs()).sum())
    gap = 0.0
    if bool(((linear >= least) & (linear <= most)).all()):
        n = linear
    else:
        nu, n, gap = _joint(W.double(), w.double(), price, least, most, float(budget))
    allocation = _rounded(n, price, most, float(budget))
    return SamplePlan(nu, n, allocation, carried_noise(nu, n), float((price * allocation).sum()), gap, left_out)


def _joint(W: Tensor, w: Tensor, price: Tensor, least: Tensor, most: Tensor, budget: float) -> tuple[Tensor, Tensor, float]:
    left, values, right = torch.linalg.svd(W, full_matrices=False)
    kept = values > 1e-10 * values.max()
    rows, target = right[kept], (left[:, kept].mT @ w) / values[kept]
    n = _filled(torch.ones_like(price), price, least, most, budget)
    gap = 1.0
    for _ in range(_ROUNDS):
        factor, wrong = torch.linalg.cholesky_ex((rows * n) @ rows.mT)
        if bool(wrong):
            raise InputError("the caps leave samples of fewer sources than the target's head needs: raise some of them, or the minimum")
        pull = rows.mT @ torch.cholesky_solve(target[:, None], factor)[:, 0]
        nu, worth = n * pull, pull.square()  # worth is how fast V falls with n
        value = float((n * worth).sum())
        best = _linear(worth / price, price, least, most, budget)
        gap = max(0.0, float((worth * (best - n)).sum())) / value
        if gap <= _GAP:
            break
        n = _filled(nu.abs() / price.sqrt(), price, least, most, budget)
    return nu, n, gap


def _linear(worth: Tensor, price: Tensor, least: Tensor, most: Tensor, budget: float) -> Tensor:
    """The numbers within bounds that make the most of a worth per price: the best sources filled one after another."""
    n, left = least.clone(), budget - float((least * price).sum())
    for task in worth.argsort(descending=True, stable=True).tolist():
        more = min(left / float(price[task]), float(most[task] - least[task]))
        n[task] += more
        left -= more * float(price[task])
        if left <= 0:
            break
    return n


def _shares(nu: Tensor, rule: str, costs: Tensor | None) -> Tensor:
    """What samples are proportional to, (T,)."""
    choose("rule", rule, RULES)
    if nu.ndim != 1 or not bool(nu.isfinite().all()):
        raise InputError("relevances are (T,) finite numbers")
    if costs is not None:
        check_costs(costs, len(nu))
    if rule == "uniform":
        return torch.ones(len(nu), dtype=torch.float64)
    if not bool(nu.any()):
        raise InputError("no source is relevant: all relevances are zero; take a smaller penalty, or the uniform rule")
    nu = nu.double().abs()
    if rule == "l2":
        return nu.square()
    return nu if costs is None else nu / costs.double().sqrt()


def _bounds(
    nu: Tensor, budget: float, rule: str, minimum: int, costs: Tensor | None, caps: Tensor | None, check_reach: bool = True
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    share = _shares(nu, rule, costs)
    tasks = len(share)
    price = torch.ones(tasks, dtype=torch.float64) if costs is None else costs.double()
    if minimum < 0:
        raise InputError(f"the least number of samples is 0 or more, not {minimum}")
    least = torch.full((tasks,), float(minimum), dtype=torch.float64)
    if not budget > 0 or budget < float((least * price).sum()):
        raise InputError(
            f"{tasks} sources with at least {minimum} samples each take {float((least * price).sum()):g}, and the budget is {budget:g}"
        )
    if costs is None and budget != int(budget):
        raise InputError(f"a budget of samples is a whole number, not {budget:g}")
    most = torch.full((tasks,), torch.inf, dtype=torch.float64)
    if caps is not None:
        if caps.shape != (tasks,) or not bool((caps >= minimum).all()):
            raise InputError(f"caps are {tasks} numbers, one a source, none below the minimum of {minimum}")
        most = caps.double().floor()
    reach = float((torch.where(share > 0, most, least) * price).sum()) if check_reach else float((most * price).sum())
    if costs is None and reach < budget:
        raise InputError(
            f"the caps allow {reach:g} samples of relevant sources, and the budget is {budget:g}: lower it, or set a larger minimum"
        )
    return share, price, least, most


def _filled(share: Tensor, price: Tensor, least: Tensor, most: Tensor, budget: float) -> Tensor:
    """max(c share, least), but at most `most`, with the c at which it costs the budget; all that may be bought, where that is less."""
    positive = share > 0
    ceiling = torch.where(positive, most, least)
    if float((ceiling * price).sum()) <= budget:
        return ceiling

    def at(factor: Tensor) -> Tensor:
        return torch.where(positive, torch.maximum(factor * share, least).minimum(most), least)

    # the cost is piecewise linear in c: find the piece, then solve in it
    bends = torch.cat([least[positive] / share[positive], most[positive] / share[positive]])
    bends = torch.cat([bends[bends.isfinite()].unique(), torch.tensor([torch.inf], dtype=torch.float64)])
    low, high = 0, len(bends) - 1  # the first bend at which the budget is reached
    while low < high:
        middle = (low + high) // 2
        if float((at(bends[middle]) * price).sum()) >= budget:
            high = middle
        else:
            low = middle + 1
    before = bends[low - 1] if low else torch.zeros((), dtype=torch.float64)
    now = at(before)
    slope = positive & (before * share >= least) & (before * share < most)
    grows = float((price * share)[slope].sum())
    factor = before + (budget - float((now * price).sum())) / grows if grows > 0 else before
    return at(factor)


def _rounded(n: Tensor, price: Tensor, most: Tensor, budget: float) -> Tensor:
    """Whole numbers by the largest remainders, as far as the budget goes and no further than the caps."""
    whole = (n + 1e-9).floor()
    left = budget - float((whole * price).sum())
    for task in (n - whole).argsort(descending=True, stable=True).tolist() * 2:
        if left < float(price.min()) - 1e-9:
            break
        # a source that gets nothing of the real numbers gets nothing of what they leave
        if n[task] > 0 and whole[task] + 1 <= most[task] and price[task] <= left + 1e-9:
            whole[task] += 1
            left -= float(price[task])
    return whole.long()
