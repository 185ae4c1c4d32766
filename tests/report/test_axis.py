import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.report.axis import Axis, across_name, is_geometric, number, spans_decades

FINITE = st.floats(-1e9, 1e9).filter(lambda value: value == 0 or abs(value) > 1e-9)


@given(st.lists(FINITE, min_size=1, max_size=8))
def test_every_value_has_room_and_order_is_kept(values: list[float]) -> None:
    axis = Axis.around(values)
    places = [axis.at(value) for value in sorted(values)]
    assert all(0 < place < 1 for place in places) and places == sorted(places)


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=8))
def test_a_logarithmic_axis_puts_equal_factors_at_equal_distances(values: list[float]) -> None:
    axis = Axis.around([*values, 1.0, 10.0, 100.0], log=True)
    assert axis.at(10.0) - axis.at(1.0) == pytest.approx(axis.at(100.0) - axis.at(10.0))
    assert axis.at(0.0) == 0.0


@given(st.lists(FINITE, min_size=1, max_size=5), st.booleans(), st.integers(2, 6))
def test_ticks_are_on_the_axis_and_ascend(values: list[float], log: bool, about: int) -> None:
    axis = Axis.around([abs(value) + 1e-6 for value in values] if log else values, log=log)
    ticks = list(axis.ticks(about))
    slack = 1e-9 * max(abs(axis.low), abs(axis.high))
    assert 1 <= len(ticks) <= 2 * about + 2
    assert ticks == sorted(set(ticks)) and all(axis.low - slack <= tick <= axis.high + slack for tick in ticks)


def test_what_is_not_finite_has_no_place() -> None:
    assert Axis.around([1.0, math.inf, 2.0, math.nan]) == Axis.around([1.0, 2.0])
    for values, log in (([], False), ([math.inf], False), ([-1.0, 0.0], True)):
        with pytest.raises(InputError):
            Axis.around(values, log=log)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.12345, "0.123"),
        (-2.5, "−2.5"),
        (1234.5, "1,234"),
        (12.0, "12"),
        (3.2e7, "3.2e7"),
        (2e-5, "2e−5"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "not a number"),
    ],
)
def test_numbers_for_people(value: float, text: str) -> None:
    assert number(value) == text


def test_sizes_are_told_from_steps() -> None:
    assert is_geometric([64, 128, 256, 512]) and is_geometric([100, 200, 400])
    assert not is_geometric(range(100)) and not is_geometric([1, 2]) and not is_geometric([0, 1, 2, 4])
    assert spans_decades([1, 100]) and not spans_decades([1, 10]) and not spans_decades([0, 100]) and not spans_decades([])


def test_a_curve_says_what_it_is_drawn_over() -> None:
    assert across_name("accuracy over points", [5, 7]) == "points" and across_name("loss by epoch", range(9)) == "epoch"
    assert across_name("seconds", [64, 128, 256]) == "size" and across_name("loss", range(9)) == "step"


def test_a_logarithmic_axis_has_room_for_the_smallest_and_largest_floats() -> None:
    axis = Axis.around([1.2e-308, 1.7e308], log=True)
    assert 0 < axis.low < axis.high < float("inf") and axis.ticks()


def test_fewer_digits_than_a_number_has_before_its_point_need_no_power_of_ten() -> None:
    assert [number(value, 2) for value in (4.12, 99.4, 99.6, 106.1, 214.4)] == ["4.1", "99", "100", "106", "214"]
