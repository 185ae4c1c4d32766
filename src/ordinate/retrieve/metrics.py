r"""How good a ranking is, when what counts as relevant is having the query's label.

With :math:`h_j \in \{0, 1\}` saying whether the j-th result is relevant, and R the number of relevant rows in the database,

.. math:: \mathrm{precision}@k = \frac1k \sum_{j \le k} h_j, \qquad \mathrm{AP}@k = \frac1k \sum_{j \le k} h_j\, \mathrm{precision}@j, \qquad \mathrm{recall}@k = \frac1R \sum_{j \le k} h_j .

AP@k is divided by k and not by min(k, R), as in Kusupati et al., "Matryoshka Representation Learning", 2022, section 4.3. All functions average over the queries and are computed in float64.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["hit_rate", "hits_of", "knn_vote", "mean_average_precision", "precision", "recall", "relevant_counts", "retrieval_metrics"]


def hits_of(
    ids: Int[Tensor, "queries results"], query_labels: Int[Tensor, " queries"], database_labels: Int[Tensor, " rows"]
) -> Bool[Tensor, "queries results"]:
    """Whether each result has its query's label; a result of -1 (not found) has not.

    Args:
        ids: (Q, K), rows of the database, best first.
        query_labels: (Q,).
        database_labels: (N,).

    Raises:
        InputError: shapes that do not fit, or a row that the database does not have.
    """
    if len(query_labels) != len(ids):
        raise InputError(f"{len(ids)} queries have {len(query_labels)} labels")
    if ids.numel() and int(ids.max()) >= len(database_labels):
        raise InputError(f"the results name row {int(ids.max())}, and the database has labels for {len(database_labels)} rows")
    return (database_labels[ids.clamp_min(0)] == query_labels[:, None]) & (ids >= 0)


def relevant_counts(query_labels: Int[Tensor, " queries"], database_labels: Int[Tensor, " rows"]) -> Int[Tensor, " queries"]:
    """How many rows of the database have each query's label, (Q,) int64."""
    most = int(torch.cat([query_labels, database_labels]).max()) + 1
    return torch.bincount(database_labels, minlength=most)[query_labels]


def precision(hits: Bool[Tensor, "queries results"], k: int) -> float:
    """The fraction of the first k results that are relevant."""
    return float(_first(hits, k).double().mean())


def mean_average_precision(hits: Bool[Tensor, "queries results"], k: int) -> float:
    """mAP@k: the precision at the place of every hit among the first k, summed and divided by k."""
    first = _first(hits, k).double()
    at_place = first.cumsum(dim=1) / torch.arange(1, k + 1, device=hits.device)
    return float((at_place * first).sum(dim=1).mean() / k)


def recall(hits: Bool[Tensor, "queries results"], k: int, relevant: Int[Tensor, " queries"]) -> float:
    """The fraction of the relevant rows that are among the first k results.

    Args:
        hits: (Q, K).
        k: how many results count.
        relevant: (Q,), how many relevant rows the database has; see `relevant_counts`. Queries without any are left out.

    Raises:
        InputError: no query has a relevant row.
    """
    found = _first(hits, k).double().sum(dim=1)
    some = relevant > 0
    if not some.any():
        raise InputError("no query has a relevant row in the database: recall is not defined")
    return float((found[some] / relevant[some]).mean())


def hit_rate(hits: Bool[Tensor, "queries results"], k: int = 1) -> float:
    """The fraction of the queries with a relevant row among the first k results; k = 1 is top-1 accuracy."""
    return float(_first(hits, k).any(dim=1).double().mean())


def retrieval_metrics(
    ids: Int[Tensor, "queries results"], query_labels: Int[Tensor, " queries"], database_labels: Int[Tensor, " rows"], k: int = 10
) -> dict[str, float]:
    """All of them at once: ``map``, ``precision``, ``recall``, ``hit_rate`` at k, and ``top1``.

    Args:
        ids: (Q, K), K >= k, rows of the database, best first.
        query_labels: (Q,).
        database_labels: (N,).
        k: how many results count.

    Raises:
        InputError: shapes that do not fit, k out of range, or no relevant row for any query.
    """
    hits = hits_of(ids, query_labels, database_labels)
    return {
        "map": mean_average_precision(hits, k),
        "precision": precision(hits, k),
        "recall": recall(hits, k, relevant_counts(query_labels, database_labels)),
        "hit_rate": hit_rate(hits, k),
        "top1": hit_rate(hits, 1),
    }


def knn_vote(ids: Int[Tensor, "queries results"], database_labels: Int[Tensor, " rows"]) -> Int[Tensor, " queries"]:
    """The label (Q,) that most of each query's results have; between equals, the label of the nearest."""
    labels = database_labels[ids]
    votes = torch.zeros(len(ids), int(database_labels.max()) + 1, dtype=torch.int64, device=ids.device)
    votes.scatter_add_(1, labels, torch.ones_like(labels))
    of_result = votes.gather(1, labels)
    # Scores fall with the place by less than one vote, so that only equal counts are decided by it.
    places = torch.arange(labels.shape[1], device=ids.device)
    best = (of_result * (labels.shape[1] + 1) - places).argmax(dim=1, keepdim=True)
    return labels.gather(1, best)[:, 0]


def _first(hits: Tensor, k: int) -> Tensor:
    if not 1 <= k <= hits.shape[1]:
        raise InputError(f"k must be between 1 and the {hits.shape[1]} results of each query, not {k}")
    return hits[:, :k]
