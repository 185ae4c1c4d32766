import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from ordinate.analyze.relevance import relevance
from ordinate.analyze.sample_plan import RULES, allocate, carried_noise, plan_samples, predicted_risk, required_budget
from ordinate.ground.errors import InputError

NU = torch.tensor([2.0, -1.0, 0.0, 1.0], dtype=torch.float64)


def heads(K: int, T: int, seed: int) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(K, T, dtype=torch.float64, generator=chance), torch.randn(K, dtype=torch.float64, generator=chance)


@given(
    st.lists(st.floats(-3, 3).map(lambda x: round(x, 2)), min_size=1, max_size=8).filter(any),
    st.integers(0, 400),
    st.sampled_from(RULES),
    st.integers(0, 5),
    st.one_of(st.none(), st.integers(0, 60)),
)
@settings(max_examples=200)
def test_numbers_sum_to_the_budget_within_their_bounds(nu: list[float], more: int, rule: str, minimum: int, cap: int | None) -> None:
    tasks, budget = len(nu), minimum * len(nu) + more + 1
    caps = None if cap is None else torch.arange(tasks) * 7 + cap + minimum
    relevances = torch.tensor(nu, dtype=torch.float64)
    if caps is not None:
        share = torch.ones(tasks) if rule == "uniform" else relevances
        assume(float(torch.where(share != 0, caps, minimum).sum()) >= budget)
    n = allocate(relevances, budget, rule, minimum=minimum, caps=caps)
    assert int(n.sum()) == budget and int(n.min()) >= minimum
    assert caps is None or bool((n <= caps).all())
    free = (n > minimum) & (n < (torch.full((tasks,), 10**9) if caps is None else caps))
    if int(free.sum()) > 1 and rule != "uniform":  # shares of sources at no bound are by the rule, up to the rounding
        share = relevances.abs()[free] ** (1 if rule == "l1" else 2)
        for a in range(len(share)):
            for b in range(len(share)):
                assert float(n[free][a]) + 1.01 >= (float(n[free][b]) - 1.01) * float(share[a] / share[b])


@given(st.lists(st.floats(0.1, 9).map(lambda x: round(x, 1)), min_size=2, max_size=6), st.integers(50, 500), st.integers(0, 3))
def test_with_prices_the_budget_is_spent_to_less_than_the_dearest_sample(costs: list[float], budget: int, minimum: int) -> None:
    price = torch.tensor(costs, dtype=torch.float64)
    assume(float(price.sum()) * minimum <= budget)
    n = allocate(torch.ones(len(costs)), budget, minimum=minimum, costs=price)
    spent = float((n * price).sum())
    assert budget - max(costs) - 1e-6 < spent <= budget + 1e-6 and int(n.min()) >= minimum


def test_rules_by_hand() -> None:
    assert allocate(NU, 100).tolist() == [50, 25, 0, 25]
    assert allocate(NU, 120, "l2").tolist() == [80, 20, 0, 20]
    assert allocate(NU, 100, "uniform").tolist() == [25, 25, 25, 25]
    assert allocate(NU, 103).sum() == 103
    assert allocate(NU, 100, minimum=20).tolist() == [40, 20, 20, 20]
    assert allocate(NU, 100, caps=torch.tensor([40, 40, 40, 40])).tolist() == [40, 30, 0, 30]
    assert allocate(torch.tensor([1.0, 1.0]), 100, costs=torch.tensor([1.0, 4.0])).tolist() == [
        34,
        16,
    ]  # twice as many of what costs a quarter


@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 999))
@settings(max_examples=40)
def test_budgets_are_those_of_the_table(K: int, more: int, seed: int) -> None:
    W, w = heads(K, K + more, seed)
    one, two = relevance(W, w), relevance(W, w, 2)
    eps, T = 0.3, K + more
    l1, l2 = float(one.abs().sum()) ** 2 / eps**2, int((two != 0).sum()) * float(two.square().sum()) / eps**2
    assert required_budget(one, eps) == pytest.approx(l1)
    assert required_budget(two, eps, "l2") == pytest.approx(l2)
    assert required_budget(two, eps, "uniform") == pytest.approx(T * float(two.square().sum()) / eps**2)
    assert l1 <= float(two.abs().sum()) ** 2 / eps**2 + 1e-9 and float(two.abs().sum()) ** 2 / eps**2 <= l2 + 1e-9
    # and such a budget does carry as little
    n = one.abs() / float(one.abs().sum()) * l1
    assert carried_noise(one, n) == pytest.approx(eps**2)


def test_with_prices_the_budget_is_the_weighted_norm_s() -> None:
    costs = torch.tensor([1.0, 4.0, 9.0, 16.0])
    assert required_budget(NU, 0.5, costs=costs) == pytest.approx((2 + 2 + 4) ** 2 / 0.25)
    # no other way to share costs less
    chance = torch.Generator().manual_seed(0)
    for _ in range(50):
        n = torch.rand(4, generator=chance, dtype=torch.float64) + 0.01
        assert carried_noise(NU, n) * float((costs * n).sum()) >= (2 + 2 + 4) ** 2 - 1e-9


@given(st.integers(0, 999), st.integers(100, 5_000))
@settings(max_examples=40)
def test_no_other_numbers_carry_less_noise(seed: int, budget: int) -> None:
    W, w = heads(3, 8, seed)
    nu = relevance(W, w)
    n = budget * nu.abs() / nu.abs().sum()
    assert carried_noise(nu, n) == pytest.approx(float(nu.abs().sum()) ** 2 / budget)
    used = torch.nonzero(nu)[:, 0]
    step = torch.randn(len(used), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for size in (1e-3, 1e-1):
        other = n.clone()
        other[used] += size * float(n[used].min()) * (step - step.mean()) / step.abs().max().clamp(min=1e-9)
        assert carried_noise(nu, other) >= carried_noise(nu, n) - 1e-9


def test_the_bound_has_its_two_parts() -> None:
    n = torch.tensor([50, 25, 0, 25])
    assert carried_noise(NU, n) == pytest.approx(16 / 100)
    assert predicted_risk(NU, n, 4, 30, 0.5, 300) == pytest.approx(0.25 * 4 * (30 * 0.16 + 1 / 300))
    assert carried_noise(NU, torch.tensor([1, 0, 1, 1])) == math.inf


@given(st.integers(1, 3), st.integers(1, 6), st.integers(0, 999), st.booleans())
@settings(max_examples=25)
def test_bounds_are_planned_for_jointly(K: int, more: int, seed: int, priced: bool) -> None:
    W, w = heads(K, K + more, seed)
    T = K + more
    costs = torch.rand(T, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.2 if priced else None
    price = torch.ones(T, dtype=torch.float64) if costs is None else costs
    budget = 60.0 * T
    plan = plan_samples(W, w, budget, minimum=5, caps=torch.full((T,), 500), costs=costs)
    assert plan.gap < 1e-4 and plan.left_out < 1e-8
    assert float((price * plan.samples).sum()) == pytest.approx(min(budget, 500 * float(price.sum())), rel=1e-6)
    assert float(plan.samples.min()) >= 5 - 1e-9 and float(plan.samples.max()) <= 500 + 1e-9
    assert float((W @ plan.relevance - w).abs().max()) < 1e-6
    assert plan.carried == pytest.approx(carried_noise(plan.relevance, plan.samples))

    def value(x):
        return float(w @ torch.linalg.solve((W * torch.from_numpy(x)) @ W.mT, w))

    found = minimize(
        value,
        plan.samples.numpy() * 0.5 + 0.5 * (budget / float(price.sum())),
        bounds=[(5, 500)] * T,
        constraints={"type": "eq", "fun": lambda x: float(price.numpy() @ x) - budget},
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-12},
    )
    assert plan.carried <= found.fun * (1 + 1e-3)


def test_without_bounds_in_the_way_the_plan_is_the_linear_program_s() -> None:
    W, w = heads(3, 9, 4)
    plan = plan_samples(W, w, 1_000)
    torch.testing.assert_close(plan.relevance, relevance(W, w))
    assert plan.gap == 0 and plan.cost == 1_000 and plan.allocation.tolist() == allocate(plan.relevance, 1_000).tolist()
    capped = plan_samples(W, w, 1_000, caps=torch.full((9,), 200))
    assert int(capped.allocation.max()) <= 200 and int(capped.allocation.sum()) == 1_000 and capped.carried >= plan.carried


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: allocate(NU, 100, "l3"), "unknown rule"),
        (lambda: allocate(NU, 39, minimum=10), "take 40, and the budget is 39"),
        (lambda: allocate(NU, 0), "the budget is 0"),
        (lambda: allocate(NU, 10.5), "whole number"),
        (lambda: allocate(NU, 100, minimum=-1), "0 or more"),
        (lambda: allocate(NU, 100, costs=-torch.ones(4)), "4 positive numbers"),
        (lambda: allocate(NU, 100, costs=torch.ones(3)), "4 positive numbers"),
        (lambda: allocate(torch.zeros(4), 100), "no source is relevant"),
        (lambda: allocate(torch.full((4,), torch.nan), 100), "finite"),
        (lambda: allocate(NU, 100, caps=torch.tensor([10, 10, 1000, 10])), "the caps allow 30 samples of relevant sources"),
        (lambda: allocate(NU, 100, minimum=5, caps=torch.tensor([4, 100, 100, 100])), "none below the minimum of 5"),
        (lambda: required_budget(NU, 0.0), "eps must be positive"),
        (lambda: predicted_risk(NU, torch.ones(4), 4, 30, 0.5, 0), "the target has no samples"),
        (lambda: predicted_risk(NU, torch.ones(4), 0, 30, 0.5, 1), "inputs and features"),
        (lambda: plan_samples(torch.eye(2, 4), torch.zeros(2), 100), "head is zero"),
        (
            lambda: plan_samples(torch.eye(2, 4), torch.ones(2), 100, caps=torch.tensor([100, 0, 100, 100])),
            "fewer sources than the target's head needs",
        ),
    ],
)
def test_bad_input_is_refused(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()
