import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ordinate.data.tours import (
    SOLVERS,
    christofides,
    distances,
    greedy_edge,
    held_karp,
    nearest_neighbour,
    random_tours,
    tour_lengths,
    two_opt,
)
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator


def instances(count: int, n: int, seed: int = 0) -> Tensor:
    return distances(torch.rand(count, n, 2, generator=generator("tours", n, seed)))


def brute_force(distance: Tensor) -> Tensor:
    n = distance.shape[1]
    tours = torch.tensor([(0, *rest) for rest in itertools.permutations(range(1, n))])
    lengths = torch.stack([tour_lengths(table.expand(len(tours), n, n), tours) for table in distance])
    return lengths.min(dim=1).values


@pytest.mark.parametrize("n", range(2, 9))
def test_held_karp_is_brute_force(n: int) -> None:
    distance = instances(6, n)
    torch.testing.assert_close(tour_lengths(distance, held_karp(distance)), brute_force(distance))


@pytest.mark.parametrize("n", [4, 7])
def test_held_karp_takes_distances_that_are_not_symmetric(n: int) -> None:
    distance = torch.rand(5, n, n, dtype=torch.float64)
    torch.testing.assert_close(tour_lengths(distance, held_karp(distance)), brute_force(distance))


def test_the_tour_of_points_on_a_circle_is_the_circle() -> None:
    angle = torch.arange(13) * (2 * math.pi / 13)
    order = torch.randperm(13)
    points = torch.stack((angle.cos(), angle.sin()), dim=-1)[order][None]
    tour = held_karp(distances(points))
    step = (order[tour[0]].diff() % 13).unique()
    assert len(step) == 1 and step.item() in (1, 12)


def test_a_batch_larger_than_what_is_solved_together_is_as_its_rows() -> None:
    distance = instances(40, 10)  # 2^9 * 9 * 40 is less than a table, and 2^11 * 11 * 14 more
    assert torch.equal(held_karp(distance), torch.cat([held_karp(row[None]) for row in distance]))
    wide = instances(14, 12)
    assert torch.equal(held_karp(wide), torch.cat([held_karp(row[None]) for row in wide]))


@pytest.mark.parametrize("name", sorted(SOLVERS))
@given(n=st.integers(2, 9), count=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_every_solver_gives_tours_from_city_0_and_none_beats_the_optimum(name: str, n: int, count: int, seed: int) -> None:
    distance = instances(count, n, seed)
    tours = SOLVERS[name](distance)
    assert torch.equal(tours.sort(dim=1).values, torch.arange(n).expand(count, n)) and not tours[:, 0].any()
    best = tour_lengths(distance, held_karp(distance))
    assert (tour_lengths(distance, tours) >= best - 1e-12).all()


def test_nearest_neighbour_goes_to_the_nearest() -> None:
    points = torch.tensor([[[0.0, 0.0], [0.9, 0.0], [0.1, 0.0], [0.4, 0.0]]])
    assert nearest_neighbour(distances(points)).tolist() == [[0, 2, 3, 1]]


def test_greedy_edge_takes_the_shortest_edges_first() -> None:
    points = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 0.1], [1.0, 0.1]]])
    tour = greedy_edge(distances(points))[0].tolist()
    edges = {frozenset(pair) for pair in itertools.pairwise([*tour, tour[0]])}
    assert {frozenset((0, 2)), frozenset((1, 3))} <= edges


@given(n=st.integers(2, 20), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_2_opt_never_lengthens_keeps_the_start_and_ends_where_no_reversal_helps(n: int, seed: int) -> None:
    distance = instances(3, n, seed)
    before = random_tours(distance, generator(seed))
    after = two_opt(distance, before)
    assert (tour_lengths(distance, after) <= tour_lengths(distance, before) + 1e-12).all()
    assert torch.equal(after.sort(dim=1).values, torch.arange(n).expand(3, n)) and torch.equal(after[:, 0], before[:, 0])
    for low, high in itertools.combinations(range(1, n), 2):
        turned = torch.cat((after[:, :low], after[:, low : high + 1].flip(1), after[:, high + 1 :]), dim=1)
        assert (tour_lengths(distance, turned) >= tour_lengths(distance, after) - 1e-9).all()


def test_2_opt_uncrosses_a_bow_tie() -> None:
    distance = distances(torch.tensor([[[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]]))
    assert tour_lengths(distance, two_opt(distance, torch.tensor([[0, 1, 2, 3]]))).item() == pytest.approx(4.0)


@pytest.mark.parametrize("n", [3, 6, 11])
def test_christofides_is_within_one_and_a_half_of_the_optimum(n: int) -> None:
    distance = instances(12, n)
    assert (tour_lengths(distance, christofides(distance)) <= 1.5 * tour_lengths(distance, held_karp(distance)) + 1e-12).all()


def test_christofides_takes_cities_that_coincide() -> None:
    distance = distances(torch.tensor([[[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]]))
    assert tour_lengths(distance, christofides(distance)).item() <= 1.5 * (2 + math.sqrt(2))


def test_random_tours_are_seeded_and_start_at_city_0() -> None:
    distance = instances(200, 5)
    one, again = random_tours(distance, generator(1)), random_tours(distance, generator(1))
    assert torch.equal(one, again) and not one[:, 0].any() and len(one.unique(dim=0)) == 24


def test_expected_lengths_at_n_5() -> None:
    """The mean optimum of 5 uniform cities is 2.12 (Table 2 of the paper); a random tour is about half as long again."""
    distance = instances(2000, 5)
    optimum = tour_lengths(distance, held_karp(distance)).mean().item()
    assert optimum == pytest.approx(2.124, abs=0.03)
    assert tour_lengths(distance, random_tours(distance, generator(0))).mean().item() / optimum == pytest.approx(1.22, abs=0.05)


@pytest.mark.parametrize(
    ("distance", "message"),
    [
        (torch.zeros(1, 1, 1), "at least 2 cities"),
        (torch.full((1, 3, 3), math.nan), "finite"),
    ],
)
@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_bad_distances_are_refused_by_every_solver(name: str, distance: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SOLVERS[name](distance)


def test_held_karp_refuses_more_than_20_cities() -> None:
    with pytest.raises(InputError, match="21 cities are more than 20"):
        held_karp(torch.ones(1, 21, 21))
