import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.analyze.polygons import hull_metrics, is_simple_polygon, perimeters, trace
from ordinate.data.planar import sample, signed_areas

SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("vertices", "simple"),
    [
        (SQUARE, True),
        (SQUARE[::-1], True),
        ([[0, 0], [1, 1], [1, 0], [0, 1]], False),  # a bow-tie
        ([[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]], True),  # not convex
        ([[0, 0], [4, 0], [4, 4], [2, 0], [0, 4]], False),  # a corner touches an edge
        ([[0, 0], [4, 0], [4, 4], [2, -1], [0, 4]], False),
        ([[0, 0], [2, 0], [1, 0]], False),  # flat
        ([[0, 0], [2, 0], [1, 0], [1, 2]], False),  # an edge folds back
        ([[0, 0], [1, 0], [2, 0], [1, 2]], True),  # a corner in the middle of a side
        ([[0, 0], [1, 0], [1, 0], [0, 1]], False),  # an edge without length
        ([[0, 0], [2, 0], [1, 1], [2, 2], [0, 2], [1, 1]], False),  # a corner is visited twice
        ([[0, 0], [1, 0]], False),
        ([[0, 0]], False),
    ],
)
def test_simple_polygons_are_told_from_others(vertices: list[list[float]], simple: bool) -> None:
    for turn in range(len(vertices)):
        turned = torch.tensor(vertices[turn:] + vertices[:turn], dtype=torch.float32)
        assert is_simple_polygon(turned[None]).item() is simple
        padded = torch.cat((turned, turned[:1].expand(3, 2)))
        assert is_simple_polygon(padded[None], torch.tensor([len(vertices)])).item() is simple


def test_the_true_hull_is_simple_and_of_random_orders_of_four_points_two_thirds_cross_or_not() -> None:
    data = sample("hull", (3, 30), 200, 0)
    assert is_simple_polygon(trace(data.points, data.targets), (data.targets != 0).sum(dim=1)).all()
    convex = torch.tensor(SQUARE)
    orders = torch.tensor(list(itertools.permutations(range(4))))
    assert is_simple_polygon(convex[orders]).double().mean().item() == pytest.approx(1 / 3)


def test_many_polygons_are_as_each_alone() -> None:
    vertices, counts = torch.rand(300, 120, 2), torch.randint(3, 7, (300,))  # more than are taken at once
    together = is_simple_polygon(vertices, counts)
    assert together.tolist() == [
        is_simple_polygon(each[None, :count]).item() for each, count in zip(vertices, counts.tolist(), strict=True)
    ]
    assert 0.2 < together.double().mean().item() < 0.9


def test_perimeters_and_traces() -> None:
    points = torch.tensor([SQUARE, SQUARE])
    slots = torch.tensor([[1, 2, 3, 4, 1, 0], [2, 3, 4, 0, 1, 3]])
    outline = trace(points, slots)
    assert outline[1].tolist() == [[1, 0], [1, 1], [0, 1], [1, 0], [1, 0], [1, 0]]
    assert perimeters(outline).tolist() == pytest.approx([4.0, 2 + math.sqrt(2)])
    assert signed_areas(outline).tolist() == pytest.approx([1.0, 0.5])


@given(low=st.integers(3, 9), more=st.integers(0, 6), turn=st.integers(0, 9), seed=st.integers(0, 50))
@settings(max_examples=25)
def test_a_turned_hull_is_right_and_a_reversed_one_is_not(low: int, more: int, turn: int, seed: int) -> None:
    data = sample("hull", (low, low + more), 20, seed)
    turned, reverse = torch.zeros_like(data.targets), torch.zeros_like(data.targets)
    for row, answer in enumerate(data.targets.tolist()):
        slots = list(itertools.takewhile(bool, answer))
        shift = turn % len(slots)
        turned[row, : len(slots)] = torch.tensor(slots[shift:] + slots[:shift])
        reverse[row, : len(slots)] = torch.tensor(slots[::-1])
    assert hull_metrics(data.points, turned, data.targets) == {"accuracy": 100, "area": pytest.approx(100), "not simple": 0}
    assert hull_metrics(data.points, reverse, data.targets) == {"accuracy": 0, "area": pytest.approx(100), "not simple": 0}


def test_a_closing_repetition_and_what_follows_the_end_do_not_count() -> None:
    points = torch.tensor([SQUARE])
    true = torch.tensor([[1, 2, 3, 4, 0]])
    for predicted in ([1, 2, 3, 4, 1, 0], [1, 2, 3, 4, 0, 3], [3, 4, 1, 2, 3, 0, 0], [1, 2, 3, 4]):
        assert hull_metrics(points, torch.tensor([predicted]), true)["accuracy"] == 100
    assert hull_metrics(points, true, torch.tensor([[1, 2, 3, 4, 1, 0]]))["accuracy"] == 100


def test_areas_are_averaged_over_the_simple_polygons_alone() -> None:
    points = torch.tensor([SQUARE] * 4)
    true = torch.tensor([[1, 2, 3, 4, 0]] * 4)
    predicted = torch.tensor([[1, 2, 3, 4, 0], [1, 2, 3, 0, 0], [1, 3, 2, 4, 0], [0, 1, 2, 3, 4]])
    assert hull_metrics(points, predicted, true) == {"accuracy": 25, "area": pytest.approx(75), "not simple": 50}
    assert hull_metrics(points[2:], predicted[2:], true[2:]) == {"accuracy": 0, "area": 0, "not simple": 100}
