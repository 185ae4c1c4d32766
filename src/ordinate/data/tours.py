r"""Tours through points in the plane: the exact one by dynamic programming, and the classical approximations.

Held and Karp's recursion over subsets :math:`S` of the cities other than the first, with last city :math:`j \in S`,

.. math:: C(S, j) = \min_{i \in S \setminus j} C(S \setminus j, i) + d_{ij},

takes :math:`O(2^n n^2)` time and :math:`O(2^n n)` memory. All subsets of one size depend only on those one smaller: each layer is a single gather, sum and minimum over (subsets, last, previous, examples).

The approximations are those that the paper measures against: two of :math:`O(n^2)`, which it does not name (here: nearest neighbour, and nearest neighbour improved by 2-opt; greedy edge is given too),
and Christofides' of :math:`O(n^3)`, never longer than 1.5 times the optimum.

Every solver takes distances (B, n, n) and gives tours (B, n): 0-based, each row starting at city 0. Distances are double precision throughout, since ties in single precision would decide tours.

Sources: Held, Karp (1962); Christofides (1976); Vinyals et al., Pointer Networks (NIPS 2015), section 3.3.
"""

from collections.abc import Callable, Iterator
from functools import cache

import networkx as nx
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = [
    "SOLVERS",
    "christofides",
    "distances",
    "greedy_edge",
    "held_karp",
    "nearest_neighbour",
    "random_tours",
    "tour_lengths",
    "two_opt",
]

LARGEST = 20
TABLE_ELEMENTS = 1 << 18  # numbers in the table of the examples that are solved together: they stay in the processor's cache
TINY = 1e-300  # a distance that is not zero and adds nothing
KEPT = 14  # up to so many cities, the subsets are listed once and kept
LAYER_ELEMENTS = 1 << 25  # numbers gathered at once from a layer


def distances(points: Float[Tensor, "batch n dim"]) -> Float[Tensor, "batch n n"]:
    """Euclidean distances between the points of each row, in double precision."""
    points = points.double()
    return (points[:, :, None] - points[:, None]).norm(dim=-1)


def tour_lengths(distance: Float[Tensor, "batch n n"], tours: Int[Tensor, "batch n"]) -> Float[Tensor, " batch"]:
    """The length of each closed tour."""
    rows = torch.arange(len(tours), device=tours.device)[:, None]
    return distance[rows, tours, tours.roll(-1, dims=1)].sum(dim=1)


def _check(distance: Tensor) -> None:
    if distance.ndim != 3 or distance.shape[1] != distance.shape[2]:
        raise InputError(f"distances are (batch, n, n), not {tuple(distance.shape)}")
    if distance.shape[1] < 2:
        raise InputError(f"a tour needs at least 2 cities, not {distance.shape[1]}")
    if not bool(torch.isfinite(distance).all()):
        raise InputError("distances must be finite: a coordinate is NaN or infinite")


def _layers(others: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """By size from 2 on: the subsets of `others` cities as bit masks, the last cities in them, and the subsets without those."""
    masks = torch.arange(1 << others)
    bits = 1 << torch.arange(others)
    sizes = ((masks[:, None] & bits) > 0).sum(dim=1)
    for size in range(2, others + 1):
        of_size = masks[sizes == size]
        row, last = ((of_size[:, None] & bits) > 0).nonzero(as_tuple=True)
        yield of_size[row], last, of_size[row] ^ bits[last]


@cache
def _kept_layers(others: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    return list(_layers(others))


def held_karp(distance: Float[Tensor, "batch n n"]) -> Int[Tensor, "batch n"]:
    """The shortest tours, n <= 20.

    Args:
        distance: (B, n, n), symmetric or not.

    Raises:
        InputError: n < 2, n > 20 (the table would need 2^n n numbers), or a distance that is not finite.
    """
    _check(distance)
    n = distance.shape[1]
    if n > LARGEST:
        raise InputError(f"Held-Karp needs 2^n n numbers, and {n} cities are more than {LARGEST}: use an approximation")
    together = max(1, TABLE_ELEMENTS // ((n - 1) << (n - 1)))
    return torch.cat([_held_karp(part) for part in distance.split(together)])


def _held_karp(distance: Tensor) -> Tensor:
    batch, n, _ = distance.shape
    others = n - 1
    cost_of = distance.double().permute(1, 2, 0).contiguous()  # (from, to, example): the examples are contiguous in every layer
    onward = cost_of[1:, 1:].transpose(0, 1).contiguous()  # (to, from, example)
    cost = torch.full((1 << others, others, batch), float("inf"), dtype=torch.float64)
    before = torch.zeros((1 << others, others, batch), dtype=torch.int8)
    bits = 1 << torch.arange(others)
    cities = torch.arange(others)
    cost[bits, cities] = cost_of[0, 1:]
    at_once = max(1, LAYER_ELEMENTS // (others * batch))
    for layer in _kept_layers(others) if n <= KEPT else _layers(others):
        for subset, last, rest in zip(*(each.split(at_once) for each in layer), strict=True):
            value, index = (cost[rest] + onward[last]).min(dim=1)
            cost[subset, last] = value
            before[subset, last] = index.to(torch.int8)
    subset = torch.full((batch,), (1 << others) - 1)
    last = (cost[-1] + cost_of[1:, 0]).argmin(dim=0)
    rows = torch.arange(batch)
    tour = torch.zeros(batch, n, dtype=torch.int64)
    for place in range(n - 1, 0, -1):
        tour[:, place] = last + 1
        previous = before[subset, last, rows].long()
        subset = subset ^ bits[last]
        last = previous
    return tour


def nearest_neighbour(distance: Float[Tensor, "batch n n"]) -> Int[Tensor, "batch n"]:
    """From city 0 on, always to the nearest city not yet visited. O(n^2).

    Raises:
        InputError: n < 2, or a distance that is not finite.
    """
    _check(distance)
    batch, n, _ = distance.shape
    rows = torch.arange(batch)
    open_to = distance.double().clone()
    open_to[:, :, 0] = float("inf")
    tour = torch.zeros(batch, n, dtype=torch.int64)
    for place in range(1, n):
        tour[:, place] = open_to[rows, tour[:, place - 1]].argmin(dim=1)
        open_to[rows, :, tour[:, place]] = float("inf")
    return tour


def greedy_edge(distance: Float[Tensor, "batch n n"]) -> Int[Tensor, "batch n"]:
    """The shortest edges first, as long as no city gets a third and no cycle closes early. O(n^2 log n).

    Raises:
        InputError: n < 2, or a distance that is not finite.
    """
    _check(distance)
    n = distance.shape[1]
    pairs = torch.triu_indices(n, n, offset=1)
    tours = []
    for order in distance[:, pairs[0], pairs[1]].argsort(dim=1):
        neighbours: list[list[int]] = [[] for _ in range(n)]
        path = list(range(n))  # a representative of the path that a city is on
        for a, b in pairs[:, order].T.tolist():
            if len(neighbours[a]) < 2 and len(neighbours[b]) < 2 and path[a] != path[b]:
                neighbours[a].append(b)
                neighbours[b].append(a)
                joined = path[b]
                path = [path[a] if each == joined else each for each in path]
        first, last = [city for city in range(n) if len(neighbours[city]) < 2]
        neighbours[first].append(last)
        neighbours[last].append(first)
        tour = [0, neighbours[0][0]]
        while len(tour) < n:
            one, other = neighbours[tour[-1]]
            tour.append(other if one == tour[-2] else one)
        tours.append(tour)
    return torch.tensor(tours, dtype=torch.int64).reshape(-1, n)


def two_opt(distance: Float[Tensor, "batch n n"], tours: Int[Tensor, "batch n"]) -> Int[Tensor, "batch n"]:
    """Reverse the segment whose reversal shortens the tour most, until none does; a tour never gets longer. Distances must be symmetric.

    Args:
        distance: (B, n, n).
        tours: (B, n), where to begin.

    Raises:
        InputError: n < 2, or a distance that is not finite.
    """
    _check(distance)
    batch, n, _ = distance.shape
    distance = distance.double()
    rows, place = torch.arange(batch), torch.arange(n)
    tours = tours.clone()
    least = 1e-12 * distance.amax(dim=(1, 2)).clamp(min=1e-300)  # what rounding alone may promise
    # Segment [i, j], i >= 1 so that city 0 keeps its place: edges (i-1, i) and (j, j+1) become (i-1, j) and (i, j+1).
    segment = (place[:, None] >= 1) & (place[:, None] < place[None])
    active = torch.ones(batch, dtype=torch.bool)
    while bool(active.any()):
        along = distance[rows[:, None, None], tours[:, :, None], tours[:, None]]  # (B, n, n) between places
        ahead = along[:, place, (place + 1) % n]
        to_first = along[:, (place - 1) % n]  # [i, j]: from place i-1 to place j
        to_after = along[:, :, (place + 1) % n]  # [i, j]: from place i to place j+1
        change = to_first + to_after - ahead[:, (place - 1) % n][:, :, None] - ahead[:, None]
        best, where = change.masked_fill(~segment, float("inf")).flatten(1).min(dim=1)
        active = best < -least
        low, high = (where // n)[:, None], (where % n)[:, None]
        inside = (place >= low) & (place <= high) & active[:, None]
        tours = tours.gather(1, torch.where(inside, low + high - place, place))
    return tours


def christofides(distance: Float[Tensor, "batch n n"]) -> Int[Tensor, "batch n"]:
    """Christofides' tours, at most 1.5 times the optimum where the triangle inequality holds. O(n^3), through networkx.

    Raises:
        InputError: n < 2, or a distance that is not finite.
    """
    _check(distance)
    n = distance.shape[1]
    if n == 2:
        return torch.tensor([[0, 1]]).expand(len(distance), -1).clone()
    tours = []
    for table in distance.double().clamp(min=TINY).numpy():  # a zero would mean that there is no edge
        cycle = nx.approximation.christofides(nx.from_numpy_array(table))[:-1]
        start = cycle.index(0)
        tours.append(cycle[start:] + cycle[:start])
    return torch.tensor(tours, dtype=torch.int64).reshape(-1, n)


def random_tours(distance: Float[Tensor, "batch n n"], draws: torch.Generator) -> Int[Tensor, "batch n"]:
    """Uniformly random tours: what a length must be compared with at least.

    Raises:
        InputError: n < 2, or a distance that is not finite.
    """
    _check(distance)
    batch, n, _ = distance.shape
    rest = torch.rand(batch, n - 1, generator=draws).argsort(dim=1) + 1
    return torch.cat((torch.zeros(batch, 1, dtype=torch.int64), rest), dim=1)


SOLVERS: dict[str, Callable[[Tensor], Tensor]] = {
    "held-karp": held_karp,
    "nearest-neighbour": nearest_neighbour,
    "greedy-edge": greedy_edge,
    "nearest-neighbour+2-opt": lambda distance: two_opt(distance, nearest_neighbour(distance)),
    "christofides": christofides,
    "christofides+2-opt": lambda distance: two_opt(distance, christofides(distance)),
    "random": lambda distance: random_tours(distance, generator("random tours")),
}
