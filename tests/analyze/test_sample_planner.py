import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordinate.analyze.risk_bound import excess_risk_bound, log_bracketing_number, rademacher_complexity
from ordinate.analyze.sample_planner import Fit, SamplePlanner
from ordinate.ground.errors import InputError

MS, NS = (100, 400, 1600), (50, 200, 800)


def runs(a: float = 3.0, p: float = 1.0, b: float = 2.0, q: float = 0.8, c: float = 0.0) -> list[tuple[int, int, float]]:
    truth = Fit(a, p, b, q, c)
    return [(m, n, truth.risk(m, n)) for m in MS for n in NS]


def planner(**changed: float) -> SamplePlanner:
    return SamplePlanner(resamples=0).fit(runs(**changed))


@pytest.mark.parametrize("truth", [{}, {"p": 0.5, "q": 0.5}, {"c": 0.02}, {"a": 0.5, "b": 9.0, "c": 0.01}], ids=str)
def test_a_curve_without_noise_is_found(truth: dict[str, float]) -> None:
    fit = planner(**truth).fit_
    expected = {"a": 3.0, "p": 1.0, "b": 2.0, "q": 0.8, "c": 0.0} | truth
    for m, n in ((50, 50), (10_000, 20), (300, 10_000)):
        assert fit.risk(m, n) == pytest.approx(Fit(**expected).risk(m, n), rel=0.02)
    assert fit.c == pytest.approx(expected["c"], abs=1e-3)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(0.3, 1.5), st.floats(0.3, 1.5), st.floats(0.0, 0.1), st.floats(0.01, 1.0))
def test_a_plan_meets_the_target_exactly_and_lagranges_condition(
    cost_m: float, cost_n: float, p: float, q: float, c: float, room: float
) -> None:
    chosen = SamplePlanner()
    chosen.fit_, chosen.alone_ = Fit(3.0, p, 2.0, q, c), None
    plan = chosen.plan(c + room, cost_m, cost_n)
    assert chosen.predict(plan.m, plan.n) == pytest.approx(c + room, rel=1e-6) and plan.risk == pytest.approx(c + room, rel=1e-6)
    left, right = cost_m * plan.m ** (p + 1) / (3.0 * p), cost_n * plan.n ** (q + 1) / (2.0 * q)
    assert left == pytest.approx(right, rel=1e-6)
    for factor in (0.9, 1.1):  # no neighbour that reaches the target is cheaper
        m = plan.m * factor
        rest = room - 3.0 * m**-p
        if rest > 0:
            assert cost_m * m + cost_n * (2.0 / rest) ** (1 / q) >= plan.cost * (1 - 1e-9)


def test_dearer_labels_are_replaced_by_rows() -> None:
    cheap, dear = (planner().plan(0.02, 1.0, price) for price in (1.0, 1000.0))
    assert dear.n < cheap.n and dear.m > cheap.m
    assert cheap.cost_low == cheap.cost == cheap.cost_high and cheap.supervised is None


def test_labels_alone_are_known_from_runs_without_rows() -> None:
    found = SamplePlanner(resamples=0).fit([*runs(q=1.0), (0, 100, 0.2), (0, 1000, 0.02)])
    assert found.predict(0, 500) == pytest.approx(20 / 500) and found.alone_ == pytest.approx((20.0, 1.0))
    assert found.saved_labels(1600, 200) == pytest.approx(20 / found.predict(1600, 200) - 200)
    assert found.crossover(100) == pytest.approx(3.0 / (20 / 100 - 2 / 100), rel=0.05)
    assert found.plan(0.01, 1, 1).supervised == pytest.approx(2000)
    worse = SamplePlanner(resamples=0).fit([*runs(b=50.0, q=1.0), (0, 100, 0.2), (0, 1000, 0.02)])
    assert worse.crossover(100) == math.inf
    assert SamplePlanner(resamples=0).fit([(m, n, 2 / n) for m, n, _ in runs()] + [(0, 10, 1.0), (0, 100, 0.1)]).crossover(
        20
    ) == pytest.approx(0.0, abs=1.0)


def test_the_bottleneck_is_the_larger_term() -> None:
    found = planner(c=0.02)
    assert found.bottleneck(10, 100_000).name == "unlabelled"
    assert found.bottleneck(1_000_000, 20).name == "labelled"
    assert found.bottleneck(1e9, 1e9).name == "floor"
    now = found.bottleneck(100, 50)
    assert now.unlabelled + now.labelled + now.floor == pytest.approx(found.predict(100, 50))


def test_noise_gives_intervals_that_hold_the_truth_and_no_floor_that_is_not_there() -> None:
    noisy = [(m, n, risk * math.exp(0.05 * math.sin(17 * m + 3 * n))) for m, n, risk in runs()]
    found = SamplePlanner(resamples=60).fit(noisy)
    assert found.intervals_["p"][0] <= 1.0 <= found.intervals_["p"][1] and found.intervals_["q"][0] <= 0.8 <= found.intervals_["q"][1]
    assert found.fit_.c == 0.0 and 0 < found.misfit_ < 0.1
    plan = found.plan(0.02, 1.0, 10.0)
    assert plan.cost_low < plan.cost_high and plan.cost_low <= plan.cost * 1.5
    again = SamplePlanner(resamples=60).fit(noisy)
    assert again.intervals_ == found.intervals_


def test_one_size_of_m_is_enough_for_a_curve_in_n() -> None:
    found = SamplePlanner(resamples=0).fit([(1000, n, 0.1 + 3 / n) for n in (10, 20, 40, 80, 160, 1000)])
    assert found.fit_.a == 0.0 and found.fit_.c == pytest.approx(0.1, abs=0.005)
    assert found.plan(0.2, 1.0, 1.0).m == 1.0


def test_the_theorys_planner_is_the_bound() -> None:
    found = SamplePlanner.theory(parameters=117, head=3, kappa=2.0, loss_bound=4.0, rows=1000)
    bound = excess_risk_bound(
        1000, 50, rademacher=rademacher_complexity(3, 50, 4.0), log_bracketing=log_bracketing_number(117, 1000), kappa=2.0, loss_bound=4.0
    )
    assert found.predict(1000, 50) == pytest.approx(bound.total)
    assert found.plan(bound.total, 1.0, 1.0).risk == pytest.approx(bound.total)


def test_what_cannot_be_planned_is_refused() -> None:
    fine = planner(c=0.02)
    for call, words in (
        (lambda: fine.plan(0.01, 1, 1), "out of reach"),
        (lambda: fine.plan(float("nan"), 1, 1), "out of reach"),
        (lambda: fine.plan(0.1, 0, 1), "prices must be positive"),
        (lambda: fine.plan(0.1, 1, -1), "prices must be positive"),
        (lambda: fine.predict(0, 10), "labels alone"),
        (lambda: fine.saved_labels(10, 10), "labels alone"),
        (lambda: fine.predict(-1, 10), "sizes"),
        (lambda: fine.bottleneck(0, 10), "sizes"),
        (lambda: SamplePlanner().plan(0.1, 1, 1), "no curve yet"),
        (lambda: SamplePlanner().fit([]), "do not fix the curve"),
        (lambda: SamplePlanner().fit(runs()[:4]), "do not fix the curve"),
        (lambda: SamplePlanner().fit([*runs(), (1, 1, 0.0)]), "above 0"),
        (lambda: SamplePlanner().fit([*runs(), (1, 0, 0.1)]), "n of 1 or more"),
        (lambda: SamplePlanner().fit([*runs(), (0, 10, 0.1)]), "two n or more"),
        (lambda: SamplePlanner().fit([*runs(), (0, 10, 0.1), (0, 20, 0.2)]), "do not get better"),
        (lambda: SamplePlanner.theory(parameters=3, head=0), "head"),
        (lambda: SamplePlanner.theory(parameters=0, head=1), "parameters"),
    ):
        with pytest.raises(InputError, match=words):
            call()
