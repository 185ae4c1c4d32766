import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.data.planar import PROBLEMS, sample
from ordinate.generate.constraints import CONSTRAINTS, hull, no_repeat, tour, triangles
from ordinate.generate.decoding import beam_search, greedy
from ordinate.models.pointer_network import PointerNetwork


def allowed(constraint: object, prefix: list[int], n: int, width: int | None = None) -> list[int]:
    possible = torch.arange((width or n) + 1)[None] <= n
    mask = constraint(torch.tensor([prefix], dtype=torch.int64), possible)  # type: ignore[operator]
    return mask[0].nonzero().flatten().tolist()


def test_no_repeat_forbids_what_was_emitted_and_never_the_end() -> None:
    assert allowed(no_repeat, [], 3) == [0, 1, 2, 3]
    assert allowed(no_repeat, [2, 1], 3) == [0, 3]
    assert allowed(no_repeat, [2, 1, 3], 3, width=5) == [0]


def test_a_tour_ends_after_all_points_and_not_before() -> None:
    assert allowed(tour, [], 3, width=5) == [1, 2, 3]
    assert allowed(tour, [3, 1], 3, width=5) == [2]
    assert allowed(tour, [3, 1, 2], 3, width=5) == [0]


def test_a_hull_has_three_points_or_more() -> None:
    assert allowed(hull, [4, 1], 4) == [2, 3]
    assert allowed(hull, [4, 1, 2], 4) == [0, 3]


def test_triangles_are_three_increasing_points_at_a_time() -> None:
    assert allowed(triangles, [], 4, width=6) == [1, 2]
    assert allowed(triangles, [2], 4, width=6) == [3]
    assert allowed(triangles, [1], 4, width=6) == [2, 3]
    assert allowed(triangles, [1, 2], 4, width=6) == [3, 4]
    assert allowed(triangles, [1, 2, 4], 4, width=6) == [0, 1, 2]


def test_a_constraint_changes_nothing_that_it_is_given() -> None:
    for constraint in (no_repeat, tour, hull, triangles):
        prefix, possible = torch.tensor([[1, 2]]), torch.ones(1, 5, dtype=torch.bool)
        constraint(prefix, possible)
        assert possible.all() and prefix.tolist() == [[1, 2]]


@given(
    name=st.sampled_from(["tour", "hull", "no-repeat", "triangles"]),
    low=st.integers(3, 5),
    more=st.integers(0, 4),
    width=st.integers(1, 3),
    seed=st.integers(0, 50),
)
@settings(max_examples=30)
def test_whatever_the_network_says_the_answer_is_of_the_kind(name: str, low: int, more: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    data = sample("hull", (low, low + more), 5, seed)
    most = PROBLEMS["delaunay"].longest(low + more)
    beams = beam_search(
        PointerNetwork(hidden=6, spread=2.0),
        {"points": data.points, "lengths": data.lengths},
        width=width,
        most=most,
        constraint=CONSTRAINTS[name],
    )
    for answer, n in zip(beams.best().symbols.tolist(), data.lengths.tolist(), strict=True):
        points = list(itertools.takewhile(bool, answer))
        assert all(1 <= point <= n for point in points)
        if name == "triangles":
            assert all(a < b < c for a, b, c in zip(points[::3], points[1::3], points[2::3], strict=False))
            assert len(points) % 3 == 0 or len(points) == most
        else:
            assert len(set(points)) == len(points)
            assert name != "tour" or sorted(points) == list(range(1, n + 1))
            assert name != "hull" or len(points) >= 3


@pytest.mark.parametrize("width", [1, 3])
def test_an_untrained_network_without_the_constraint_does_not_tour(width: int) -> None:
    """What the constraint is for: the test above is not met by chance."""
    torch.manual_seed(0)
    points = torch.rand(50, 6, 2)
    model = PointerNetwork(hidden=6, spread=2.0)
    answers = greedy(model, {"points": points}, most=7).symbols
    tours = torch.nn.functional.pad(answers, (0, 7 - answers.shape[1])).sort(dim=1).values == torch.arange(7)
    assert not tours.all(dim=1).any()
