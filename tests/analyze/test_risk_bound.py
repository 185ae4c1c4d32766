import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordinate.analyze.risk_bound import excess_risk_bound, instance_order, log_bracketing_number, rademacher_complexity
from ordinate.ground.errors import InputError


def test_a_case_worked_by_hand() -> None:
    bound = excess_risk_bound(400, 100, rademacher=0.1, log_bracketing=3.0, kappa=2.0, loss_bound=5.0, delta=math.exp(-1.0))
    assert bound.head == pytest.approx(0.2)
    assert bound.pretraining == pytest.approx(12 * 2 * 5 * math.sqrt(4.0 / 400))
    assert bound.confidence == pytest.approx(2 * 5 * math.sqrt((math.log(4) + 1) / 200))
    assert bound.total == pytest.approx(bound.head + bound.pretraining + bound.confidence) and bound.bottleneck == "unlabelled"


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.floats(0.5, 5))
def test_four_times_the_data_halve_their_terms(m: int, n: int, kappa: float) -> None:
    one = excess_risk_bound(m, n, rademacher=rademacher_complexity(3, n), log_bracketing=7.0, kappa=kappa)
    more = excess_risk_bound(4 * m, 4 * n, rademacher=rademacher_complexity(3, 4 * n), log_bracketing=7.0, kappa=kappa)
    assert more.total == pytest.approx(one.total / 2)


def test_an_uninformative_model_has_no_bound() -> None:
    assert excess_risk_bound(100, 100, rademacher=0.1, log_bracketing=1.0, kappa=math.inf).total == math.inf


def test_orders_of_the_instances() -> None:
    assert instance_order("factor", d=40, latents=3, m=1200, n=300) == pytest.approx((math.sqrt(0.1), 0.1, math.sqrt(40 / 300)))
    assert instance_order("mixture", d=20, latents=8, m=1600, n=800)[2] == pytest.approx(math.sqrt(160 / 800))
    assert log_bracketing_number(10, 100, 2.0) == pytest.approx(10 * math.log(200)) and log_bracketing_number(10, 1, 0.1) == 0.0


def test_what_is_out_of_range_is_refused() -> None:
    fine = {"rademacher": 0.1, "log_bracketing": 1.0}
    for call in (
        lambda: excess_risk_bound(0, 1, **fine),
        lambda: excess_risk_bound(1, 0, **fine),
        lambda: excess_risk_bound(1, 1, **fine, delta=1.0),
        lambda: excess_risk_bound(1, 1, **fine, kappa=0.0),
        lambda: excess_risk_bound(1, 1, **fine, loss_bound=0.0),
        lambda: excess_risk_bound(1, 1, rademacher=-1.0, log_bracketing=1.0),
        lambda: log_bracketing_number(0, 1),
        lambda: rademacher_complexity(0, 1),
        lambda: instance_order("sums", d=1, latents=1, m=1, n=1),
        lambda: instance_order("factor", d=1, latents=1, m=0, n=1),
    ):
        with pytest.raises(InputError):
            call()
