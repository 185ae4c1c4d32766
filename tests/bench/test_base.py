import pytest

from ordinate.bench.base import Timing, fitted_exponents


def test_exponents_are_those_of_contenders_with_three_sizes_or_more() -> None:
    cubes = [Timing("cubes", size, 1e-9 * size**3) for size in (8, 16, 32, 64)]
    pair = [Timing("pair", size, 1.0) for size in (8, 16)]
    alone = [Timing("alone", None, 1.0)]
    found = fitted_exponents([*cubes, *pair, *alone])
    assert list(found) == ["cubes"]
    assert found["cubes"] == pytest.approx((3.0, 3.0, 3.0))


def test_small_sizes_can_be_left_out_of_the_fit() -> None:
    rows = [Timing("late", size, max(1.0, size**2 / 256)) for size in (4, 8, 16, 32, 64)]
    assert fitted_exponents(rows)["late"][0] < 1.9
    assert fitted_exponents(rows, start=16)["late"][0] == pytest.approx(2.0)
