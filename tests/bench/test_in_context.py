"""The peers of the in-context benches do the same work."""

import pytest
import torch
from sklearn.linear_model import Ridge as OneRidge

from ordinate.analyze.in_context.model import ModelPredictor
from ordinate.analyze.in_context.predictors import Ridge
from ordinate.bench.base import get_bench
from ordinate.bench.in_context import asked_one_by_one, fitted_one_by_one
from ordinate.models.in_context_transformer import InContextTransformer


def test_fits_one_by_one_are_the_same() -> None:
    x, y = torch.randn(2, 5, 3), torch.randn(2, 5)
    torch.testing.assert_close(fitted_one_by_one(lambda pairs: OneRidge(0.2, fit_intercept=False), x, y), Ridge(0.2)(x, y))


def test_queries_one_by_one_are_the_same() -> None:
    x, y, queries = torch.randn(2, 4, 3), torch.randn(2, 4), torch.randn(2, 4, 3, 3)
    model = InContextTransformer(token_width=4, hidden=8, layers=2, heads=2, max_length=9).eval()
    torch.testing.assert_close(
        asked_one_by_one(model, x, y, queries).double(), ModelPredictor(model).answer(x, y, queries), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(("name", "size"), [("in-context-predictors", 4), ("in-context-queries", 3)])
def test_the_benches_run(name: str, size: int) -> None:
    said: list[str] = []
    result = get_bench(name).run([size], "cpu", True, said.append)
    assert {row.size for row in result.rows} == {size} and result.peer in {row.contender for row in result.rows}
    assert all(row.seconds > 0 for row in result.rows) and len(said) == len(result.rows)
