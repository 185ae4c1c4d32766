import pytest

from ordinate.experiment.comparison import Row, Table
from ordinate.experiment.trend import across, crossing, rising, spread
from ordinate.ground.errors import InputError

SERIES = {"a 1": (1.0, 4.0), "a 2": (2.0, 3.0), "a 4": (8.0, 2.0)}
TABLE = Table([Row(arm, seed, {"loss": value}) for arm, values in SERIES.items() for seed, value in enumerate(values)])


def test_a_metric_across_arms_is_one_tuple_a_seed() -> None:
    assert across(TABLE, list(SERIES), "loss") == [(1.0, 2.0, 8.0), (4.0, 3.0, 2.0)]
    with pytest.raises(InputError, match="no arm"):
        across(TABLE, ["b"], "loss")


def test_what_rises_has_rank_correlation_one_and_what_falls_minus_one() -> None:
    assert rising("x", {"a 1": 1, "a 2": 2, "a 4": 4}, "loss", at_least=0.5).values(TABLE) == pytest.approx([1.0, -1.0])
    still = Table([Row(arm, 0, {"loss": 3.0}) for arm in SERIES])
    assert rising("x", {"a 1": 1, "a 2": 2, "a 4": 4}, "loss", at_least=0.5).values(still) == [0.0]


def test_the_spread_is_the_largest_over_the_smallest() -> None:
    assert spread("x", list(SERIES), "loss", at_most=4).values(TABLE) == [8.0, 2.0]


@pytest.mark.parametrize(("level", "where"), [(4.0, 4.0), (1.0, 1.0), (0.5, 1.0), (16.0, 8.0), (100.0, 8.0)])
def test_a_level_is_passed_where_the_logarithms_meet(level: float, where: float) -> None:
    assert crossing([1, 2, 8], [1.0, 2.0, 8.0], level) == pytest.approx(where)


def test_a_crossing_needs_ascending_sizes_and_positive_numbers() -> None:
    for sizes, values, level in (([2, 1], [1.0, 2.0], 1.0), ([1], [1.0], 1.0), ([1, 2], [1.0], 1.0)):
        with pytest.raises(InputError, match="ascending sizes"):
            crossing(sizes, values, level)
    with pytest.raises(InputError, match="must be positive"):
        crossing([1, 2], [0.0, 2.0], 1.0)
