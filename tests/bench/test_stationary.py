"""The peers of the benches of stationary features do the same work."""

import pytest
import torch

from ordinate.analyze.compatibility import compatibility_matrix
from ordinate.bench.base import get_bench
from ordinate.bench.stationary import MU, hoc_by_rows, matrix_by_pairs
from ordinate.models.mlp import MLP
from ordinate.objectives.stationary import HOCLoss


def test_the_loop_over_rows_is_the_contrastive_term() -> None:
    new, old, labels = torch.randn(9, 4), torch.randn(9, 4), torch.arange(9) % 3
    torch.testing.assert_close(hoc_by_rows(new, old, labels), HOCLoss(MU, same_class="exclude")(new, old, labels))


def test_embedding_for_each_pair_gives_the_same_matrix() -> None:
    models = [MLP(num_classes=0, image_size=4, hidden=[6], num_features=3).eval() for _ in range(3)]
    queries, gallery, labels = torch.randn(12, 1, 4, 4), torch.randn(8, 1, 4, 4), torch.arange(12) % 4
    with torch.no_grad():
        once = compatibility_matrix(
            [model.embed(queries) for model in models], [model.embed(gallery) for model in models], labels, labels[:8]
        )
    assert torch.equal(matrix_by_pairs(models, queries, gallery, labels, labels[:8]), once)


@pytest.mark.parametrize(("name", "size"), [("simplex-logits", 16), ("hoc", 12), ("compatibility-matrix", 2)])
def test_the_benches_run(name: str, size: int) -> None:
    said: list[str] = []
    result = get_bench(name).run([size], "cpu", True, said.append)
    assert {row.size for row in result.rows} == {size} and result.peer in {row.contender for row in result.rows}
    assert all(row.seconds > 0 for row in result.rows) and len(said) == len(result.rows)
