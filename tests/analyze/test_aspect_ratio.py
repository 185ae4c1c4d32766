import math

import pytest

from ordinate.analyze.aspect_ratio import best_ratio, gamma_for, optimal_depth
from ordinate.analyze.criticality import find_criticality
from ordinate.ground.errors import InputError


@pytest.mark.parametrize(
    ("name", "n_out", "ratio"),
    [("relu", 1, 4 / 115), ("linear", 1, 4 / 46), ("tanh", 1, 6 / 23), ("relu", 10, 0.016), ("tanh", 10, 0.12)],
)
def test_the_best_ratio_of_depth_to_width(name: str, n_out: int, ratio: float) -> None:
    report = find_criticality(name)
    assert best_ratio(report, n_out) == pytest.approx(ratio)
    assert optimal_depth(200, n_out, report) == pytest.approx(200 * ratio)


@pytest.mark.parametrize("name", ["relu", "linear", "tanh", "gelu", "abs", "leaky-relu"])
@pytest.mark.parametrize("skewed", [True, False])
def test_with_the_weight_that_is_given_the_depth_is_the_best_one(name: str, skewed: bool) -> None:
    report = find_criticality(name)
    for depth in (40, 100):
        gamma = gamma_for(depth, 200, 10, report, skewed=skewed)
        assert 0 < gamma < 1
        assert best_ratio(report, 10, gamma, skewed=skewed) == pytest.approx(depth / 200, rel=1e-6)
        assert best_ratio(report, 10, (1 + gamma) / 2, skewed=skewed) > depth / 200


def test_the_weight_in_closed_form() -> None:
    wanted = 4 / (23 * 0.5)
    assert gamma_for(100, 200, 1, find_criticality("tanh")) == pytest.approx((1 - 1.5 * wanted) ** 0.25)
    assert gamma_for(100, 200, 1, find_criticality("linear")) == pytest.approx(math.sqrt(math.sqrt(1 - wanted / 2)))


def test_a_network_that_is_not_too_deep_needs_no_connection() -> None:
    assert gamma_for(10, 200, 1, find_criticality("tanh")) == 0.0


def test_numbers_out_of_range_and_activations_without_a_fixed_point_are_refused() -> None:
    tanh = find_criticality("tanh")
    with pytest.raises(InputError, match="at least one output"):
        best_ratio(tanh, 0)
    with pytest.raises(InputError, match="two neurons"):
        optimal_depth(1, 1, tanh)
    with pytest.raises(InputError, match=r"\[0, 1\)"):
        best_ratio(tanh, 1, 1.0)
    with pytest.raises(InputError, match="softplus cannot be made critical"):
        optimal_depth(100, 1, find_criticality("softplus"))
    with pytest.warns(UserWarning, match=r"above 0\.5"):
        gamma_for(90, 100, 1, tanh)
