from inspect import unwrap

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.retrieve.metrics import (
    hit_rate,
    hits_of,
    knn_vote,
    mean_average_precision,
    precision,
    recall,
    relevant_counts,
    retrieval_metrics,
)

HITS = torch.tensor([[True, False, True, False], [False, False, False, True]])


def test_hand_worked_figures() -> None:
    assert precision(HITS, 4) == 3 / 8
    assert precision(HITS, 1) == 1 / 2
    assert mean_average_precision(HITS, 4) == pytest.approx(((1 + 2 / 3) / 4 + (1 / 4) / 4) / 2)
    assert mean_average_precision(HITS, 2) == pytest.approx((1 / 2 + 0) / 2)
    assert recall(HITS, 4, torch.tensor([4, 1])) == pytest.approx((2 / 4 + 1) / 2)
    assert recall(HITS, 4, torch.tensor([4, 0])) == pytest.approx(2 / 4)
    assert hit_rate(HITS) == 0.5 and hit_rate(HITS, 4) == 1.0


def test_ap_is_divided_by_k_and_not_by_the_number_of_relevant_rows() -> None:
    one_of_ten = torch.zeros(1, 10, dtype=torch.bool)
    one_of_ten[0, 0] = True
    assert mean_average_precision(one_of_ten, 10) == pytest.approx(0.1)


def test_labels_become_hits_and_counts() -> None:
    database = torch.tensor([0, 1, 1, 2])
    ids, queries = torch.tensor([[1, 0, 2], [3, -1, 0]]), torch.tensor([1, 2])
    assert hits_of(ids, queries, database).tolist() == [[True, False, True], [True, False, False]]
    assert relevant_counts(torch.tensor([1, 5, 0]), database).tolist() == [2, 0, 1]
    found = retrieval_metrics(ids, queries, database, k=2)
    assert found == pytest.approx({"map": 0.5, "precision": 0.5, "recall": (1 / 2 + 1) / 2, "hit_rate": 1.0, "top1": 1.0})


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=6), st.integers(1, 5))
def test_map_lies_below_precision_and_is_perfect_together_with_it(rows: list[list[bool]], k: int) -> None:
    hits = torch.tensor(rows)
    assert mean_average_precision(hits, k) <= precision(hits, k) + 1e-12
    assert (mean_average_precision(hits, k) == pytest.approx(1.0)) == (precision(hits, k) == 1.0)
    assert precision(hits, k) <= hit_rate(hits, k)


def test_neighbours_vote_and_the_nearest_breaks_ties() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2])
    ids = torch.tensor([[0, 2, 3], [4, 2, 0], [2, 0, 1], [2, 0, 4]])
    assert knn_vote(ids, labels).tolist() == [1, 2, 0, 1]


def test_bad_input_is_one_clear_line() -> None:
    labels = torch.tensor([0, 1])
    with pytest.raises(InputError, match="k must be between 1 and the 4 results"):
        precision(HITS, 5)
    with pytest.raises(InputError, match="2 queries have 3 labels"):
        unwrap(hits_of)(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), labels)
    with pytest.raises(InputError, match="name row 7"):
        hits_of(torch.full((1, 1), 7), torch.tensor([0]), labels)
    with pytest.raises(InputError, match="recall is not defined"):
        recall(HITS, 1, torch.tensor([0, 0]))
