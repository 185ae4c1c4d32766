r"""How redundant members of a concatenation are: on the task that they were trained for, and on another.

For every two members: linear CKA, and how well a linear map of one's features predicts the other's, :math:`R^2` on rows that the map has not seen. For every member: what a linear probe of all members loses when this one is left
out, in accuracy. Members that hold the same information by other coordinates have a high :math:`R^2` and a small gain; the paper's thesis is that the gain is small on the source and large on a target.

Source: the thesis of Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023; the measures are those of `ordinate.analyze.similarity`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ordinate.analyze.linear_probe import L2_GRID, LinearProbe
from ordinate.analyze.similarity import linear_cka, regression_similarity
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["Redundancy", "RedundancyReport", "redundancy", "redundancy_report"]


@dataclass(frozen=True)
class Redundancy:
    """On one task, for n members.

    Attributes:
        cka: (n, n), symmetric, 1 on the diagonal.
        predicted: (n, n), the :math:`R^2` of predicting member j (column) from member i (row), held out.
        each: (n,), the probe's accuracy on each member alone.
        together: on all of them.
        gains: (n,), the accuracy on all minus that without member i.
    """

    cka: Float[Tensor, "members members"]
    predicted: Float[Tensor, "members members"]
    each: Float[Tensor, " members"]
    together: float
    gains: Float[Tensor, " members"]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "cka": self.cka.tolist(),
            "predicted": self.predicted.tolist(),
            "each": self.each.tolist(),
            "together": self.together,
            "gains": self.gains.tolist(),
        }


@dataclass(frozen=True)
class RedundancyReport:
    """On the source and on the target."""

    source: Redundancy
    target: Redundancy

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"source": self.source.to_json(), "target": self.target.to_json()}


def redundancy(
    train: Sequence[Float[Tensor, "rows _"]],
    labels: Int64[Tensor, " as_many"],
    test: Sequence[Float[Tensor, "tested _"]],
    test_labels: Int64[Tensor, " as_many_tested"],
    *,
    l2: Sequence[float] = L2_GRID,
) -> Redundancy:
    """How redundant members are on one task.

    Args:
        train: every member's features (N, D_i) of the rows that maps and probes are fitted on.
        labels: (N,).
        test: every member's features (M, D_i) of those that they are scored on.
        test_labels: (M,).
        l2: penalties that the probes choose from.

    Raises:
        InputError: fewer than two members, unequal numbers of members or rows, or a member without variance.
    """
    n = len(train)
    if n < 2 or len(test) != n:
        raise InputError(f"redundancy is between two or more members, the same for both sets of rows: there are {n} and {len(test)}")
    sizes = {len(part) for part in train}, {len(part) for part in test}
    if sizes != ({len(labels)}, {len(test_labels)}):
        raise InputError(
            f"every member has a vector for each of {len(labels)} and {len(test_labels)} labels, not {sizes[0]} and {sizes[1]}"
        )
    cka, predicted = torch.eye(n, dtype=torch.float64), torch.eye(n, dtype=torch.float64)
    for i in range(n):
        for j in range(i):
            cka[i, j] = cka[j, i] = linear_cka(train[i], train[j])
            predicted[i, j], predicted[j, i] = regression_similarity(train[i], train[j], held_out=(test[i], test[j]))

    def accuracy(members: Sequence[int]) -> float:
        a, b = (torch.cat([parts[i].double() for i in members], dim=1).numpy() for parts in (train, test))
        return float(LinearProbe(l2).fit(a, labels.numpy()).score(b, test_labels.numpy()))

    together = accuracy(range(n))
    without = torch.tensor([accuracy([j for j in range(n) if j != i]) for i in range(n)], dtype=torch.float64)
    each = torch.tensor([accuracy([i]) for i in range(n)], dtype=torch.float64)
    return Redundancy(cka, predicted, each, together, together - without)


def redundancy_report(
    source: Sequence[Float[Tensor, "rows _"]],
    source_labels: Int64[Tensor, " rows"],
    target: Sequence[Float[Tensor, "others _"]],
    target_labels: Int64[Tensor, " others"],
    *,
    fitted: float = 0.5,
    l2: Sequence[float] = L2_GRID,
    seed: int = 0,
) -> RedundancyReport:
    """How redundant members are on the task that they were trained for, and on another.

    Args:
        source: every member's features of the source's rows, see `ordinate.analyze.feature_cache.cached_features`.
        source_labels: of those rows.
        target: of the target's rows.
        target_labels: of those.
        fitted: the share of rows that maps and probes are fitted on; the others score.
        l2: penalties that the probes choose from.
        seed: of that choice of rows.

    Raises:
        InputError: see :func:`redundancy`, or a share that leaves no rows.
    """
    found = []
    for name, members, labels in (("source", source, source_labels), ("target", target, target_labels)):
        order = torch.randperm(len(labels), generator=generator(seed, "redundancy", name))
        count = round(fitted * len(labels))
        if not 2 <= count <= len(labels) - 2:
            raise InputError(f"a share of {fitted} of {len(labels)} rows leaves too few to fit, or to score")
        a, b = order[:count], order[count:]
        found.append(redundancy([each[a] for each in members], labels[a], [each[b] for each in members], labels[b], l2=l2))
    return RedundancyReport(*found)
