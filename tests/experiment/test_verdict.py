import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ordinate.experiment.verdict import Method, combine, interval, judge
from ordinate.ground.errors import InputError


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8).filter(lambda values: np.std(values) > 1e-6))
def test_the_t_interval_is_scipys(values: list[float]) -> None:
    found = interval(values)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert math.isclose(found.low, expected.low, abs_tol=1e-6) and math.isclose(found.high, expected.high, abs_tol=1e-6)


def test_one_run_decides_nothing() -> None:
    assert judge(interval([1e9]), 0.0, None) == "inconclusive"


@pytest.mark.parametrize(
    ("values", "at_least", "at_most", "verdict"),
    [
        ([1.0, 1.1, 0.9], 0.5, None, "holds"),
        ([1.0, 1.1, 0.9], 1.5, None, "fails"),
        ([1.0, 1.1, 0.9], 1.0, None, "inconclusive"),
        ([1.0, 1.1, 0.9], None, 0.5, "fails"),
        ([1.0, 1.1, 0.9], 0.0, 2.0, "holds"),
        ([2.0, 2.0], 2.0, 2.0, "holds"),
    ],
)
def test_where_the_interval_lies_is_the_verdict(values: list[float], at_least: float | None, at_most: float | None, verdict: str) -> None:
    assert judge(interval(values), at_least, at_most) == verdict


def test_a_bootstrap_interval_lies_within_the_values() -> None:
    values = [0.0, 0.0, 0.0, 1.0, 5.0]
    found = interval(values, "bootstrap")
    assert min(values) <= found.low < found.mean < found.high <= max(values)
    assert interval(values, "bootstrap") == found


def test_a_bootstrap_of_few_values_is_as_wide_as_its_claim_to_95_percent_asks() -> None:
    draws = np.random.default_rng(0).normal(size=(150, 5))
    covered = [found.low <= 0 <= found.high for found in (interval(list(row), "bootstrap") for row in draws)]
    assert np.mean(covered) > 0.88, "a plain BCa interval covers the mean about 83 times in 100"


def test_a_bootstrap_of_too_few_values_decides_nothing() -> None:
    assert judge(interval([5.0, 5.1, 5.2, 5.3], "bootstrap"), 0.0, None) == "inconclusive"
    assert judge(interval([5.0, 5.1, 5.2, 5.3, 5.4], "bootstrap"), 0.0, None) == "holds"
    assert judge(interval([5.0, 5.0, 5.0], "bootstrap"), 0.0, None) == "holds", "values that do not differ need no resampling"


@given(st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=7), st.sampled_from(["t", "bootstrap"]))
@settings(max_examples=30)
def test_an_interval_holds_its_mean_whatever_the_values(values: list[float], method: Method) -> None:
    found = interval(values, method)
    slack = 1e-9 * max(map(abs, values))
    assert found.low - slack <= found.mean <= found.high + slack


def test_exact_and_given_need_no_seeds() -> None:
    assert judge(interval([3.0], "exact"), 3.0, 3.0) == "holds"
    assert judge(interval([1.0, 0.9, 1.1], "given"), None, 1.05) == "inconclusive"


@pytest.mark.parametrize(("values", "method"), [([], "t"), ([math.nan, 1.0], "t"), ([1.0, 2.0], "exact"), ([1.0, 2.0, 3.0], "given")])
def test_what_is_no_interval_is_refused(values: list[float], method: str) -> None:
    with pytest.raises(InputError):
        interval(values, method)  # type: ignore[arg-type]


def test_one_failing_bar_fails_a_claim_and_an_undecided_one_leaves_it_undecided() -> None:
    assert combine(["holds", "fails", "inconclusive"]) == "fails"
    assert combine(["holds", "inconclusive"]) == "inconclusive"
    assert combine(["holds", "holds"]) == "holds"
