r"""Circuits as sets of edges: which edges there are, and what a model can do with the best of them alone.

A ranking of edges comes either with a score for the output as a reader, (S, S + 1), as pruning gives it, or without, (S, S), as codes give it. Without, nodes keep their edge to the output as soon as one of their edges is among the kept ones.
Edges lead forward: of two nodes only the edge from the earlier to the later counts.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ordinate.analyze.circuit_evaluation import area
from ordinate.analyze.edge_pruning import EdgeRunner
from ordinate.analyze.head_outputs import HeadedModel
from ordinate.data.contrasts import Edge
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["edge_faithfulness", "edge_grid", "kept_edges", "random_edge_area", "spread_shares"]


def edge_grid(headed: HeadedModel, edges: Iterable[Edge]) -> Float[Tensor, "sources destinations"]:
    """1 at some edges and 0 at the others: (S, S + 1), the last column the output's.

    Raises:
        InputError: a node that there is not.
    """
    places = headed.grid([]).numel()
    found = torch.zeros(places, places + 1)
    for source, destination in edges:
        found[_number(headed, source), places if destination is None else _number(headed, destination)] = 1
    return found


def _number(headed: HeadedModel, node: tuple[int, int]) -> int:
    return int(headed.grid([node]).flatten().argmax())


def kept_edges(
    before: Bool[Tensor, "sources destinations"], scores: Float[Tensor, "_ scored"], most: int
) -> Bool[Tensor, "sources destinations"]:
    """The `most` edges with the highest scores; equal ones by their place.

    Args:
        before: (S, S + 1), the edges that there are, as `EdgeRunner.before`.
        scores: (S, S) or (S, S + 1).
        most: how many are kept, of those that have a score.

    Raises:
        InputError: scores of another shape, or more edges than there are.
    """
    places = len(before)
    if scores.shape not in {(places, places), (places, places + 1)}:
        raise InputError(
            f"there must be a score for every edge, ({places}, {places}) or ({places}, {places + 1}), not {tuple(scores.shape)}"
        )
    there = before[:, : scores.shape[1]]
    if not 0 <= most <= int(there.sum()):
        raise InputError(f"there are {int(there.sum())} edges, of which {most} cannot be kept")
    best = scores[there].argsort(descending=True, stable=True)[:most]
    chosen = torch.zeros(int(there.sum()), dtype=torch.bool)
    chosen[best] = True
    kept = torch.zeros_like(before)
    kept[:, : scores.shape[1]][there] = chosen
    if scores.shape[1] == places:
        kept[:, -1] = kept[:, :-1].any(dim=1) | kept[:, :-1].any(dim=0)
    return kept


def spread_shares(edges: int, points: int) -> list[int]:
    """Numbers of edges from none to all, about equally far apart.

    Raises:
        InputError: fewer than 2 points.
    """
    if points < 2:
        raise InputError(f"a curve from no edge to all has at least 2 points, not {points}")
    return sorted({round(float(share)) for share in torch.linspace(0, edges, points)})


def edge_faithfulness(
    runner: EdgeRunner,
    scores: Float[Tensor, "sources scored"],
    kept: Sequence[int] | None = None,
    *,
    accuracy: bool = True,
    complete: bool = False,
) -> tuple[Float[Tensor, " points"], Float[Tensor, " points"]]:
    """The metric on the positives with the best edges alone: the shares of edges that are kept, and the metric there.

    Args:
        runner: of the model and the contrast; it says what stands for an edge that is taken away.
        scores: (S, S) or (S, S + 1), see `kept_edges`.
        kept: numbers of edges; None is every one from none to all.
        accuracy: the share of right answers, or else the preference in nats.
        complete: the best edges are taken away instead, and the others stay.

    Raises:
        InputError: what `kept_edges` refuses.
    """
    edges = int(runner.before[:, : scores.shape[1]].sum())
    numbers = range(edges + 1) if kept is None else kept
    found = []
    for number in numbers:
        circuit = kept_edges(runner.before, scores, number)
        logits = runner.logits(runner.before & ~circuit if complete else circuit)
        found.append(runner.contrast.accuracy(logits) if accuracy else float(runner.contrast.preference(logits).mean()))
    return torch.tensor([number / edges for number in numbers]), torch.tensor(found)


def random_edge_area(runner: EdgeRunner, *, output: bool = False, orders: int = 10, points: int = 13, seed: int = 0) -> float:
    """The mean area under the accuracy by `edge_faithfulness` of random orders of the edges.

    Args:
        runner: of the model and the contrast.
        output: the order has the edges to the output too.
        orders: how many.
        points: of each curve.
        seed: of the orders.
    """
    draws = generator(seed, "orders of edges")
    shape = (len(runner.before), len(runner.before) + output)
    numbers = spread_shares(int(runner.before[:, : shape[1]].sum()), points)
    areas = []
    for _ in range(orders):
        shares, curve = edge_faithfulness(runner, torch.rand(shape, generator=draws), numbers)
        areas.append(area(curve, shares))
    return sum(areas) / orders
