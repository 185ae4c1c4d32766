import pytest
import torch

from ordinate.analyze.flow import rg_flow
from ordinate.analyze.kernels import cross_averages
from ordinate.bench.base import get_bench
from ordinate.bench.criticality import average_by_average, kernel_on_a_grid, networks_one_by_one
from ordinate.nn.activations import Activation
from ordinate.nn.deep_mlp import DeepMLP
from ordinate.train.ensemble import Ensemble


def test_the_peers_compute_the_same() -> None:
    flow = rg_flow(Activation.of("tanh"), 12, 0.0, 1.0)
    for name, value in average_by_average(12).items():
        assert value == pytest.approx(float(getattr(flow, name)[-1]), rel=1e-6), name
    x = torch.randn(4, 6, dtype=torch.float64)
    kernel = 0.1 + x @ x.mT / 6
    torch.testing.assert_close(
        kernel_on_a_grid(Activation.of("gelu"), kernel), cross_averages(Activation.of("gelu"), kernel)[0], rtol=1e-6, atol=1e-8
    )
    ensemble, inputs = Ensemble.make(lambda: DeepMLP([3, 4, 2], "tanh"), range(3)), torch.randn(2, 3)
    torch.testing.assert_close(networks_one_by_one([ensemble.member(number) for number in range(3)], inputs), ensemble(inputs))


@pytest.mark.parametrize(
    ("name", "sizes", "contenders"), [("rg-flow", [4], 2), ("kernel-step", [3], 4), ("ensembles", [4], 4), ("empirical-ntk", [4], 2)]
)
def test_every_bench_times_all_its_contenders(name: str, sizes: list[int], contenders: int) -> None:
    said: list[str] = []
    result = get_bench(name).run(sizes, "cpu", True, said.append)
    assert len(result.rows) == len(said) == contenders and result.peer in {row.contender for row in result.rows}
    assert all(row.seconds > 0 and row.size == sizes[0] for row in result.rows)
