import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from torch import Tensor

from ordinate.data.planar import (
    PROBLEMS,
    DegenerateError,
    Hull,
    PlanarData,
    Tour,
    Triangulation,
    answer_lengths,
    from_lowest,
    incenters,
    jitter,
    label,
    sample,
    signed_areas,
)
from ordinate.data.tours import distances, held_karp, tour_lengths
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

GRID = torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0))


def answers(data: PlanarData) -> list[list[int]]:
    return [row[:count].tolist() for row, count in zip(data.targets, answer_lengths(data.targets).tolist(), strict=True)]


def circumcircle(corners: Tensor) -> tuple[Tensor, Tensor]:
    a, b, c = corners.double()
    centre = torch.linalg.solve(2 * torch.stack((b - a, c - a)), torch.stack((b @ b - a @ a, c @ c - a @ a)))
    return centre, (a - centre).norm()


@given(low=st.integers(3, 12), more=st.integers(0, 8), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_hulls_are_the_extreme_points_counter_clockwise_from_the_lowest_slot(low: int, more: int, seed: int) -> None:
    data = sample("hull", (low, low + more), 8, seed)
    for points, length, hull in zip(data.points, data.lengths.tolist(), answers(data), strict=True):
        points = points[:length].double()
        assert hull[0] == min(hull) and set(hull) == {int(vertex) + 1 for vertex in ConvexHull(points.numpy()).vertices}
        assert signed_areas(points[None, torch.tensor(hull) - 1]).item() > 0
        for a, b in itertools.pairwise([*hull, hull[0]]):  # every other point lies to the left of every edge
            edge, others = points[b - 1] - points[a - 1], points - points[a - 1]
            assert (edge[0] * others[:, 1] - edge[1] * others[:, 0] >= 0).all()


def test_a_hull_by_hand_and_closed() -> None:
    points = torch.tensor([[[0.5, 0.5], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    assert Hull().targets(points).tolist() == [[2, 4, 3, 5, 0]]
    assert Hull(closed=True).targets(points).tolist() == [[2, 4, 3, 5, 2, 0]]


def test_points_on_an_edge_are_no_vertices() -> None:
    assert Hull().targets(GRID[None]).tolist() == [[1, 7, 9, 3, 0]]


@given(low=st.integers(3, 9), more=st.integers(0, 4), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_triangulations_have_empty_circles_and_eulers_number_of_triangles(low: int, more: int, seed: int) -> None:
    data = sample("delaunay", (low, low + more), 4, seed)
    hulls = answer_lengths(Hull().targets(data.points, data.lengths)).tolist()
    for points, length, answer, hull in zip(data.points, data.lengths.tolist(), answers(data), hulls, strict=True):
        assert len(answer) == 3 * (2 * length - 2 - hull) <= PROBLEMS["delaunay"].longest(length) - 1
        points = points[:length].double()
        for triangle in torch.tensor(answer).view(-1, 3):
            assert triangle[0] < triangle[1] < triangle[2]
            centre, radius = circumcircle(points[triangle - 1])
            assert ((points - centre).norm(dim=1) >= radius - 1e-6).all()


def test_triangles_are_sorted_by_their_incenters() -> None:
    data = sample("delaunay", 9, 20, 0)
    for points, answer in zip(data.points, answers(data), strict=True):
        centres = incenters(points[torch.tensor(answer).view(-1, 3) - 1].double()).tolist()
        assert centres == sorted(centres)


def test_a_random_order_has_the_same_triangles() -> None:
    data = sample("delaunay", 8, 50, 0)
    shuffled = Triangulation(order="random", seed=1).targets(data.points)
    assert not torch.equal(shuffled, data.targets)
    base = shuffled[:, :-1].view(50, -1, 3)
    codes = [
        (each[..., 0] * 100 + each[..., 1] * 10 + each[..., 2]).sort(dim=1).values for each in (base, data.targets[:, :-1].view(50, -1, 3))
    ]
    assert torch.equal(*codes)


def test_the_incenter_of_the_3_4_5_triangle() -> None:
    corners = torch.tensor([[[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]]])
    for order in itertools.permutations(range(3)):
        torch.testing.assert_close(incenters(corners[:, list(order)]), torch.tensor([[1.0, 1.0]]))


@given(
    low=st.integers(2, 7),
    more=st.integers(0, 2),
    seed=st.integers(0, 99),
    solver=st.sampled_from(["held-karp", "nearest-neighbour", "christofides"]),
)
@settings(max_examples=20)
def test_tours_start_at_slot_1_and_run_counter_clockwise(low: int, more: int, seed: int, solver: str) -> None:
    data = sample(Tour(solver=solver), (low, low + more), 5, seed)
    for points, length, tour in zip(data.points, data.lengths.tolist(), answers(data), strict=True):
        assert tour[0] == 1 and sorted(tour) == list(range(1, length + 1))
        assert signed_areas(points[None, torch.tensor(tour) - 1].double()).item() >= 0
        if solver == "held-karp":
            table = distances(points[None, :length])
            torch.testing.assert_close(tour_lengths(table, torch.tensor([tour]) - 1), tour_lengths(table, held_karp(table)))


def test_a_tour_without_area_takes_the_lower_slot_first() -> None:
    points = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [1.0, 0.0]]])
    assert Tour().targets(points).tolist() == [[1, 2, 3, 0]]
    assert Tour(closed=True).targets(points).tolist() == [[1, 2, 3, 1, 0]]


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_padding_changes_no_answer(name: str) -> None:
    data = sample(name, (4, 8), 12, 0)
    for row, length in enumerate(data.lengths.tolist()):
        alone = PROBLEMS[name].targets(data.points[row : row + 1, :length])[0]
        padded = data.targets[row]
        assert padded[: len(alone)].tolist() == alone.tolist() and not padded[len(alone) :].any()


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_samples_are_seeded_and_fill_the_range(name: str) -> None:
    one, again, other = sample(name, (4, 6), 60, 3), sample(name, (4, 6), 60, 3), sample(name, (4, 6), 60, 4)
    assert torch.equal(one.points, again.points) and torch.equal(one.targets, again.targets) and not torch.equal(one.points, other.points)
    assert set(one.lengths.tolist()) == {4, 5, 6} and one.points.dtype == torch.float32
    assert one.points.min() >= 0 and one.points.max() <= 1
    assert one.targets.shape[1] <= PROBLEMS[name].longest(6) and (one.targets[:, -1] == 0).all()


def test_the_points_do_not_depend_on_the_problem() -> None:
    assert torch.equal(sample("hull", 5, 4, 0).points, sample(Tour(solver="nearest-neighbour"), 5, 4, 0).points)


def test_a_batch_is_no_wider_than_it_needs() -> None:
    data = sample("hull", (3, 9), 40, 0)
    small = (data.lengths <= 4).nonzero().flatten()
    batch = data.take(small)
    assert batch["points"].shape == (len(small), 4, 2) and batch["lengths"].max() == 4
    assert batch["target"].shape[1] == answer_lengths(batch["target"]).max() + 1
    assert torch.equal(batch["target"], data.targets[small, : batch["target"].shape[1]])


@pytest.mark.parametrize(
    ("problem", "points", "why"),
    [
        (Hull(), [[0, 0], [1, 1], [2, 2]], "on a line"),
        (Triangulation(), [[0, 0], [1, 1], [2, 2], [3, 3]], "on a line"),
        (Hull(), [[0, 0], [1, 0], [0, 1], [1, 0]], "coincide"),
        (Triangulation(), [[0, 0], [1, 0], [0, 1], [0, 0]], "coincide"),
        (Tour(), [[0, 0], [0, 0]], "coincide"),
        (Triangulation(), [[0, 0], [1, 0], [1, 1], [0, 1]], "on a circle"),
        (Triangulation(), [[0.1, 0.7], [0.7, -0.1], [-0.1, -0.7], [-0.7, 0.1], [0.0, 0.0], [3.0, 3.1]], None),
    ],
)
def test_points_without_a_unique_answer_are_refused_with_their_instance(
    problem: Hull | Triangulation | Tour, points: list[list[float]], why: str | None
) -> None:
    fine = torch.rand(1, len(points), 2)
    batch = torch.cat((fine, torch.tensor([points], dtype=torch.float32)))
    if why is None:  # cocircular, with a point inside: the circle is not empty
        problem.targets(batch)
        return
    with pytest.raises(DegenerateError, match=rf"{why}.* \(instance 1\)") as raised:
        problem.targets(batch)
    assert raised.value.rows.tolist() == [1]


@given(problem=st.sampled_from(sorted(PROBLEMS)), seed=st.integers(0, 20))
@settings(max_examples=15)
def test_degenerate_points_are_jittered_and_then_solved(problem: str, seed: int) -> None:
    points = torch.stack((GRID, torch.rand(9, 2), GRID.roll(1, 0) * 0))
    data = label(problem, points, torch.tensor([9, 9, 4]), seed=seed)
    assert (data.points[0] - GRID).abs().max() <= 1e-3 and torch.equal(data.points[1], points[1])
    assert torch.equal(PROBLEMS[problem].targets(data.points, data.lengths), data.targets)


def test_jitter_moves_the_rows_asked_for() -> None:
    points = torch.zeros(3, 4, 2)
    moved = jitter(points, generator(0), torch.tensor([1]), size=0.5)
    assert not moved[0].any() and not moved[2].any() and 0.1 < moved[1].abs().max() <= 0.5 and not points.any()
    assert (jitter(points, generator(0)) != 0).any(dim=(1, 2)).all()


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_bad_input_is_refused(name: str) -> None:
    problem = PROBLEMS[name]
    few = problem.smallest - 1
    with pytest.raises(InputError, match=f"needs at least {problem.smallest} points"):
        problem.targets(torch.rand(2, few, 2))
    with pytest.raises(InputError, match="NaN or infinite"):
        problem.targets(torch.tensor([[[0.0, math.nan], [1.0, 0.0], [0.0, 1.0]]]))
    with pytest.raises(InputError, match="no more than the 4 that are given"):
        problem.targets(torch.rand(1, 4, 2), torch.tensor([5]))
    with pytest.raises(InputError, match="or more points"):
        sample(name, (few, 9), 4, 0)
    with pytest.raises(InputError, match="not 9 to 5"):
        sample(name, (9, 5), 4, 0)
    with pytest.raises(InputError, match="at least one instance"):
        sample(name, 5, 0, 0)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="unknown problem 'hulk'"):
        sample("hulk", 5, 1, 0)
    with pytest.raises(InputError, match="unknown solver"):
        Tour(solver="heldkarp")
    with pytest.raises(InputError, match="unknown order of triangles"):
        Triangulation(order="area")
    with pytest.raises(InputError, match="2 sets of points, 1 lengths and 2 answers"):
        PlanarData(torch.rand(2, 3, 2), torch.tensor([3]), torch.zeros(2, 1, dtype=torch.int64))


def test_signed_areas_follow_the_direction_and_ignore_padding() -> None:
    square = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0], [0.0, 2.0]]])
    assert signed_areas(square).item() == 4.0 and signed_areas(square.flip(1)).item() == -4.0


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6, unique=True), st.integers(0, 5), st.integers(0, 3))
def test_rotations_come_back_from_the_lowest(slots: list[int], turn: int, padding: int) -> None:
    turn %= len(slots)
    lowest = slots.index(min(slots))
    rows = torch.tensor([slots + [0] * padding, slots[turn:] + slots[:turn] + [0] * padding])
    expected = slots[lowest:] + slots[:lowest] + [0] * padding
    assert from_lowest(rows, torch.tensor([len(slots)] * 2)).tolist() == [expected, expected]
