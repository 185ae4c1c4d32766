import pytest
import torch

from ordinate.bench.base import get_bench
from ordinate.bench.kernel_machines import DoublyStochasticProcess, objective_by_inverses
from ordinate.models.deep_kernel_machine import DeepKernelMachine


def data(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, 8, dtype=torch.float64), torch.randn(rows, 1, dtype=torch.float64)


def test_the_peer_computes_the_same_objective() -> None:
    x, y = data(9)
    machine = DeepKernelMachine(9, 8, 1, kernels=("sqexp", "sqexp"), nu=0.7).initialise(x, y)
    with torch.no_grad():
        for parameter in machine.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    torch.testing.assert_close(objective_by_inverses(machine), machine.objective(), atol=1e-7, rtol=1e-7)


def test_the_doubly_stochastic_process_bounds_the_evidence_and_learns() -> None:
    x, y = data(40)
    y = torch.sin(2 * x[:, :1])
    process = DoublyStochasticProcess(8, 12)
    with torch.no_grad():
        before = sum(float(process.elbo(x, y, 40)) for _ in range(8))
    optimizer = torch.optim.Adam(process.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        (-process.elbo(x, y, 40)).backward()
        optimizer.step()
    with torch.no_grad():
        assert sum(float(process.elbo(x, y, 40)) for _ in range(8)) > before + 2
    assert all(parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()) for parameter in process.parameters())


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("kernel-machine", 12),
        ("kernel-machine-sparse", 6),
        ("kernel-machine-rows", 80),
        ("kernel-machine-splits", 8),
        ("kernel-machine-predictions", 12),
    ],
)
def test_the_benches_run(name: str, size: int) -> None:
    said: list[str] = []
    result = get_bench(name).run([size], "cpu", True, said.append)
    assert {row.size for row in result.rows} == {size} and result.peer in {row.contender for row in result.rows}
    assert len(result.rows) == len(said) == 2 and all(row.seconds > 0 for row in result.rows)
