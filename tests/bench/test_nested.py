"""The peers of the nested benches do the same work."""

import pytest
import torch

from ordinate.bench.base import get_bench
from ordinate.bench.nested import nested_vectors, rerank_by_loop, tied_by_slices
from ordinate.nn.nested_head import MatryoshkaHead
from ordinate.retrieve.nested_index import NestedIndex


def test_tied_logits_by_slices_are_the_same() -> None:
    head, z = MatryoshkaHead([2, 4, 8], 3, tied=True), torch.randn(5, 8)
    for ours, theirs in zip(head(z), tied_by_slices(head, z), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_loop_over_queries_sorts_as_the_index_does() -> None:
    database, queries = nested_vectors(200, 32, 0), nested_vectors(6, 32, 1)
    index = NestedIndex(database, [8, 32])
    ids = index.search(queries, 20, 8).ids
    looped = rerank_by_loop(database.numpy(), queries.numpy(), ids.numpy(), 32)
    assert torch.equal(index.adaptive(queries, 20, 20, 8).ids, torch.from_numpy(looped))


def test_the_first_dimensions_tell_most() -> None:
    variance = nested_vectors(2000, 64, 0).var(dim=0)
    assert variance[:8].mean() > 4 * variance[32:].mean()


@pytest.mark.parametrize(("name", "size"), [("nested-heads", 16), ("nested-search", 300), ("nested-rerank", 32)])
def test_the_benches_run(name: str, size: int) -> None:
    said: list[str] = []
    result = get_bench(name).run([size], "cpu", True, said.append)
    assert {row.size for row in result.rows} == {size} and result.peer in {row.contender for row in result.rows}
    assert all(row.seconds > 0 for row in result.rows) and said
    found = {row.contender: row.extra.get("found", 1.0) for row in result.rows}
    assert found.get("faiss, full", 1.0) > 0.99 and found.get("ordinate, 16, then full", 1.0) > 0.9
