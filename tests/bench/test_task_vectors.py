"""The peers of the task-vector benches do the same work."""

import torch

from ordinate.adapt.composed_model import ComposedModel
from ordinate.bench.base import get_bench
from ordinate.bench.task_vectors import SummedModel
from tests.adapt.small import bank_of, network, set_coefficients


def test_sums_give_the_same_outputs_and_gradients() -> None:
    model, x = network(), torch.randn(5, 4)
    bank = bank_of(model)
    ours, theirs = ComposedModel(model, bank), SummedModel(model, list(bank.values()))
    values = torch.randn_like(ours.coef)
    for each in (ours, theirs):
        set_coefficients(each, values)
    torch.testing.assert_close(ours(x), theirs(x))
    for each in (ours, theirs):
        each(x).square().sum().backward()
    torch.testing.assert_close(ours.coef.grad, theirs.coef.grad, atol=1e-4, rtol=1e-4)


def test_the_benches_are_there() -> None:
    assert {get_bench(name).sizes[-1] for name in ("composed-step", "low-rank-vectors")} == {21}
