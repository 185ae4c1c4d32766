import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.analyze.tours import tour_metrics, valid_tours
from ordinate.data.planar import Tour, sample


@pytest.mark.parametrize(
    ("predicted", "valid"),
    [
        ([1, 2, 3, 0], True),
        ([3, 1, 2, 0], True),
        ([1, 2, 3, 1, 0], True),  # closed
        ([1, 2, 3], True),
        ([1, 2, 3, 0, 2], True),
        ([1, 2, 0, 3], False),
        ([1, 2, 2, 0], False),
        ([1, 2, 3, 2, 0], False),
        ([1, 2, 3, 1, 1, 0], False),
        ([1, 2, 1, 0], False),
        ([1, 2, 4, 0], False),
        ([1, 2, 3, 4, 0], False),
        ([0, 1, 2, 3], False),
    ],
)
def test_valid_tours_of_three_cities(predicted: list[int], valid: bool) -> None:
    assert valid_tours(torch.tensor([predicted]), torch.tensor([3])).item() is valid


@given(low=st.integers(2, 6), more=st.integers(0, 3), seed=st.integers(0, 50))
@settings(max_examples=20)
def test_the_optimum_has_the_ratio_1_and_nothing_less(low: int, more: int, seed: int) -> None:
    data = sample("tsp", (low, low + more), 20, seed)
    found = tour_metrics(data.points, data.lengths, data.targets, data.targets)
    assert found["validity"] == 100 and found["ratio"] == pytest.approx(1)
    near = Tour(solver="nearest-neighbour", closed=True).targets(data.points, data.lengths)
    assert tour_metrics(data.points, data.lengths, near, data.targets)["ratio"] >= 1 - 1e-9


def test_only_tours_are_measured() -> None:
    points = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]] * 2)
    lengths, best = torch.tensor([4, 4]), torch.tensor([[1, 2, 3, 4, 0]] * 2)
    found = tour_metrics(points, lengths, torch.tensor([[1, 3, 2, 4, 0], [1, 2, 3, 3, 0]]), best)
    assert found == {"validity": 50, "length": pytest.approx(2 + 2 * math.sqrt(2)), "ratio": pytest.approx((1 + math.sqrt(2)) / 2)}
    assert tour_metrics(points, lengths, torch.tensor([[1, 0], [2, 0]]), best) == {"validity": 0, "length": math.inf, "ratio": math.inf}
