"""The peers of the bench of activations compute the same."""

import pytest
import torch

from ordinate.bench.activations import naive_norm, naive_relu
from ordinate.bench.base import get_bench
from ordinate.nn.polynomial_activations import PolyNorm, PolyReLU


@pytest.mark.parametrize(("naive", "ours"), [(naive_norm, PolyNorm()), (naive_relu, PolyReLU())])
def test_the_formula_as_it_reads_gives_the_same(naive: object, ours: torch.nn.Module) -> None:
    x = torch.randn(5, 7)
    torch.testing.assert_close(naive(x, ours.coefficients), ours(x))


@pytest.mark.parametrize("name", ["activations", "feed-forward"])
def test_the_benches_run(name: str) -> None:
    said: list[str] = []
    result = get_bench(name).run([16], "cpu", True, said.append)
    assert {row.size for row in result.rows} == {16}
    assert result.peer == "gelu" in {row.contender for row in result.rows}
    assert len(said) == len(result.rows)
