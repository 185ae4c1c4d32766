"""The peers of the planar benches do the same work."""

import pytest
import torch

from ordinate.bench.base import get_bench
from ordinate.bench.planar import LoopedPointer, held_karp_by_sets, hulls_one_by_one
from ordinate.data.planar import answer_lengths, sample
from ordinate.data.tours import distances, held_karp
from ordinate.ground.errors import InputError
from ordinate.models.pointer_network import PointerNetwork


def test_the_looped_pointer_gives_the_same_log_probabilities_and_gradients() -> None:
    network = PointerNetwork(hidden=8, spread=0.5)
    looped = LoopedPointer(network)
    data = sample("hull", 6, 9, 0)
    ours, theirs = network(data.points, data.targets)[0], looped(data.points, data.targets)
    torch.testing.assert_close(ours, theirs)
    ours.sum().backward()
    theirs.sum().backward()
    torch.testing.assert_close(looped.encoder.weight_hh.grad, network.encoder.weight_hh_l0.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(looped.decoder.weight_ih.grad, network.decoder.lstm.weight_ih_l0.grad, atol=1e-5, rtol=1e-4)
    with pytest.raises(InputError, match="the pointer alone"):
        LoopedPointer(PointerNetwork(hidden=8, head="seq2seq", n_max=6))


@pytest.mark.parametrize("n", [3, 5, 8])
def test_the_recursion_over_sets_finds_the_same_tours(n: int) -> None:
    tables = distances(torch.rand(4, n, 2))
    tours = held_karp(tables)
    for table, tour in zip(tables, tours.tolist(), strict=True):
        assert held_karp_by_sets(table) in (tour, [0, *reversed(tour[1:])])


def test_hulls_one_by_one_are_the_same() -> None:
    data = sample("hull", 8, 30, 0)
    ours = [row[: count + 1].tolist() for row, count in zip(data.targets, answer_lengths(data.targets).tolist(), strict=True)]
    assert hulls_one_by_one(data.points) == ours


@pytest.mark.parametrize(("name", "size"), [("pointer-step", 4), ("held-karp", 5), ("hulls", 5)])
def test_the_benches_run(name: str, size: int) -> None:
    said: list[str] = []
    result = get_bench(name).run([size], "cpu", True, said.append)
    assert {row.size for row in result.rows} == {size} and result.peer in {row.contender for row in result.rows}
    assert all(row.seconds > 0 for row in result.rows) and len(said) == len(result.rows)
