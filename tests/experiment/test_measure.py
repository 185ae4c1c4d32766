import pytest
import torch

from ordinate.experiment.measure import count_flops, fit_exponent, measure_peak_memory, measure_time, measure_usage
from ordinate.ground.errors import InputError


def test_the_exponent_of_a_power_law_is_found() -> None:
    sizes = [64, 128, 256, 512, 1024]
    slope, low, high = fit_exponent(sizes, [3e-6 * size**1.5 for size in sizes])
    assert slope == pytest.approx(1.5) and low <= 1.5 + 1e-9 and high >= 1.5 - 1e-9


@pytest.mark.parametrize(("sizes", "costs"), [([1, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([1, 2, 3], [1, 0, 2])])
def test_what_has_no_exponent_is_refused(sizes: list[float], costs: list[float]) -> None:
    with pytest.raises(InputError):
        fit_exponent(sizes, costs)


def test_flops_of_a_product() -> None:
    assert count_flops(lambda: torch.ones(3, 4) @ torch.ones(4, 5)) == 2 * 3 * 4 * 5


def test_memory_and_time_of_a_large_tensor() -> None:
    assert measure_peak_memory(lambda: torch.ones(64, 2**20)) > 200 * 2**20
    assert measure_time(lambda: torch.ones(10).sum(), repeats=3) > 0


def test_usage_is_filled_even_if_the_block_raises() -> None:
    with pytest.raises(RuntimeError), measure_usage() as usage:
        raise RuntimeError
    assert usage.wall_seconds > 0
