import pytest
import torch

from ordinate.analyze.triangulations import triangulation_metrics
from ordinate.data.planar import Triangulation, sample

TRUE = torch.tensor([[1, 2, 3, 2, 3, 4, 0]])


@pytest.mark.parametrize(
    ("predicted", "accuracy", "coverage"),
    [
        ([1, 2, 3, 2, 3, 4, 0], 100, 100),
        ([2, 3, 4, 1, 2, 3, 0], 100, 100),  # any order of triangles
        ([3, 1, 2, 4, 3, 2, 0], 100, 100),  # and of corners
        ([1, 2, 3, 2, 3, 4, 1, 2, 3, 0], 100, 100),  # a set: once more changes nothing
        ([1, 2, 3, 2, 3, 4, 1, 3, 4, 0], 0, 100),  # one too many
        ([1, 2, 3, 2, 3, 4, 1, 0], 0, 100),  # a corner left over
        ([1, 2, 3, 0, 3, 4, 2], 0, 50),  # what follows the end does not count
        ([1, 2, 4, 0], 0, 0),
        ([1, 2, 0], 0, 0),
        ([0], 0, 0),
    ],
)
def test_triangulations_by_hand(predicted: list[int], accuracy: float, coverage: float) -> None:
    assert triangulation_metrics(torch.tensor([predicted]), TRUE) == {"accuracy": accuracy, "coverage": coverage}


def test_instances_count_alike_whatever_their_size() -> None:
    true = torch.tensor([[1, 2, 3, 2, 3, 4, 0], [1, 2, 3, 0, 0, 0, 0]])
    predicted = torch.tensor([[1, 2, 3, 0], [1, 2, 3, 0]])
    assert triangulation_metrics(predicted, true) == {"accuracy": 50, "coverage": 75}


def test_the_order_of_the_targets_is_not_measured() -> None:
    data = sample("delaunay", (5, 9), 40, 0)
    shuffled = Triangulation(order="random").targets(data.points, data.lengths)
    assert triangulation_metrics(shuffled, data.targets) == {"accuracy": 100, "coverage": 100}
