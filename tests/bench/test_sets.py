"""The peers of the benches of sets do the same work."""

import pytest
import torch

from ordinate.bench.base import get_bench
from ordinate.bench.sets import LoopedWriter, ragged_sets
from ordinate.data.sorting import sorting_batch
from ordinate.models.read_process_write import ReadProcessWrite


@pytest.mark.parametrize("glimpses", [0, 2])
def test_the_looped_writer_gives_the_same_log_probabilities_and_gradients(glimpses: int) -> None:
    network = ReadProcessWrite(in_dim=1, dim=8, steps=2, glimpses=glimpses)
    looped = LoopedWriter(network)
    batch = sorting_batch((5, 5), 4, torch.Generator().manual_seed(0))
    ours, theirs = network(batch["points"], batch["target"])[0], looped(batch["points"], batch["target"])
    torch.testing.assert_close(ours, theirs)
    one = torch.autograd.grad(ours.sum(), list(network.head.parameters()))
    other = torch.autograd.grad(theirs.sum(), list(network.head.parameters()))
    for mine, its in zip(one, other, strict=True):
        torch.testing.assert_close(mine, its, atol=1e-5, rtol=1e-4)


def test_ragged_sets_are_of_5_to_50() -> None:
    x, index = ragged_sets(40)
    sizes = torch.bincount(index)
    assert len(x) == len(index) and len(sizes) == 40 and int(sizes.min()) >= 5 and int(sizes.max()) <= 50


@pytest.mark.parametrize(
    ("name", "size", "peer"), [("set2set", 4, "torch_geometric"), ("read-process-write-step", 3, "loop"), ("order-search-step", 3, "given")]
)
def test_the_benches_run(name: str, size: int, peer: str) -> None:
    if name == "set2set":
        pytest.importorskip("torch_geometric", reason="torch-geometric is not installed")
    said: list[str] = []
    result = get_bench(name).run([size], "cpu", True, said.append)
    assert {row.size for row in result.rows} == {size} and result.peer == peer in {row.contender for row in result.rows}
    assert all(row.seconds > 0 for row in result.rows) and len(said) == len(result.rows)
