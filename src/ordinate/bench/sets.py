"""Set models against what people use: the Process block against torch_geometric's Set2Set, a training step of Read-Process-Write against a loop over its steps, and a step of the search over orders against one without.

All contenders of a bench compute the same. The looped writer is a direct reading of the formulas, written here: one cell call a step, and the memories projected anew for every glimpse and every pointer.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from ordinate.bench.base import Bench, BenchResult, Timing
from ordinate.data.sorting import sorting_batch
from ordinate.experiment.measure import measure_peak_memory, measure_time
from ordinate.ground.errors import require
from ordinate.models.placed_language_model import PlacedLanguageModel
from ordinate.models.read_process_write import Glimpse, ReadProcessWrite
from ordinate.nn.set_process import SetProcess
from ordinate.objectives.order_search import OrderSearch
from ordinate.objectives.pointing import Pointing

__all__ = ["BENCHES", "LoopedWriter", "ragged_sets"]

DIM = 64
STEPS = 5
SMALLEST, LARGEST = 5, 50
BATCH = 128


def ragged_sets(count: int) -> tuple[Tensor, Tensor]:
    """As many sets of 5 to 50 elements in one list: x (M, 64) and the set of each (M,)."""
    draws = torch.Generator().manual_seed(count)
    sizes = torch.randint(SMALLEST, LARGEST + 1, (count,), generator=draws)
    return torch.randn(int(sizes.sum()), DIM, generator=draws), torch.repeat_interleave(torch.arange(count), sizes)


class LoopedWriter(nn.Module):
    """The peer of a training step: the same network with the same weights, a symbol at a time."""

    def __init__(self, network: ReadProcessWrite) -> None:
        super().__init__()
        self.network = network
        kernel = network.lstm
        self.cell = nn.LSTMCell(kernel.input_size, kernel.hidden_size)
        self.cell.load_state_dict({name.removesuffix("_l0"): value for name, value in kernel.state_dict().items()})

    def forward(self, points: Tensor, target: Tensor) -> Tensor:
        """The log-probabilities (B,) of answers that name all n elements and END."""
        network, batch = self.network, len(points)
        lengths = torch.full((batch,), points.shape[1], device=points.device)
        memory, h, c = network.reader(points, lengths)
        states = torch.cat((network.end.expand(batch, 1, -1), memory), dim=1)
        fed, total = network.go.expand(batch, -1), points.new_zeros(batch)
        for symbol in target.unbind(dim=1):
            h, c = self.cell(fed, (h, c))
            query = h
            for glimpse in cast(Sequence[Glimpse], network.glimpses):
                weights = _scores(glimpse.head, states, query).softmax(dim=1)
                query = torch.tanh(glimpse.join(torch.cat((query, (weights[:, None] @ states)[:, 0]), dim=1)))
            total = total + _scores(network.head, states, query).log_softmax(dim=1).gather(1, symbol[:, None])[:, 0]
            fed = states[torch.arange(batch), symbol]
        return total


def _scores(head: Any, states: Tensor, query: Tensor) -> Tensor:
    return head.score(torch.tanh(head.key(states) + head.query(query)[:, None]))[..., 0]


def _set2set(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    theirs = require("torch_geometric.nn.aggr", "graphs").Set2Set(DIM, STEPS).to(device)
    ours = SetProcess(DIM, STEPS).to(device)
    ours.load_state_dict(theirs.state_dict())
    rows: list[Timing] = []
    for count in sizes or ((256,) if quick else BENCHES["set2set"].sizes):
        x, index = (each.to(device) for each in ragged_sets(count))
        x.requires_grad_()
        calls: dict[str, Callable[[], Tensor]] = {
            "ordinate": partial(_summary, ours, x, index, count),
            "torch_geometric": partial(theirs, x, index, dim_size=count),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {count} sets")
            with torch.no_grad():
                forward = measure_time(call, repeats=3 if quick else 21, warmup=2, device=device)
            both = partial(_train, call)
            seconds = measure_time(both, repeats=3 if quick else 21, warmup=2, device=device)
            rows.append(
                Timing(contender, count, seconds, None if quick else measure_peak_memory(both, device), {"forward alone, s": forward})
            )
    return BenchResult(
        rows, peer="torch_geometric", size_name="sets", remarks=[f"{STEPS} steps, sets of {SMALLEST} to {LARGEST}, forward and backward"]
    )


def _writer(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for n in sizes or ((5, 20) if quick else BENCHES["read-process-write-step"].sizes):
        torch.manual_seed(0)
        network = ReadProcessWrite(in_dim=1, dim=DIM, steps=STEPS).to(device)
        looped = LoopedWriter(network).to(device)
        batch = {name: value.to(device) for name, value in sorting_batch((n, n), BATCH, torch.Generator().manual_seed(n)).items()}
        calls: dict[str, Callable[[], Tensor]] = {
            "ordinate": partial(Pointing(), network, batch),
            "loop": partial(looped, batch["points"], batch["target"]),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {n} elements")
            both = partial(_train, call)
            seconds = measure_time(both, repeats=3 if quick else 7, device=device)
            rows.append(Timing(contender, n, seconds, None if quick else measure_peak_memory(both, device)))
    return BenchResult(rows, peer="loop", size_name="elements")


def _search(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    values = 500
    for n in sizes or ((3, 5) if quick else BENCHES["order-search-step"].sizes):
        torch.manual_seed(0)
        model = PlacedLanguageModel(values, n, dim=DIM).to(device)
        draws = torch.Generator().manual_seed(n)
        items = (torch.randint(values, (BATCH, n), generator=draws) + values * torch.arange(n)).to(device)
        for mode in ("given", "sample", "max"):
            watch(f"{mode}, sets of {n}")
            both = partial(_train, partial(OrderSearch(mode, warmup=0), model, {"items": items}))
            rows.append(Timing(mode, n, measure_time(both, repeats=3 if quick else 7, device=device)))
    return BenchResult(
        rows,
        peer="given",
        size_name="elements",
        remarks=["sample asks for all pairs of a word and a position at every step; max scores n! orders"],
    )


def _summary(block: SetProcess, x: Tensor, index: Tensor, count: int) -> Tensor:
    return block.from_index(x, index, count).summary


def _train(call: Callable[[], Tensor]) -> None:
    call().sum().backward()


BENCHES = {
    "set2set": Bench("The Process block on ragged sets, against torch_geometric's Set2Set", _set2set, (64, 256, 1024)),
    "read-process-write-step": Bench(
        "A teacher-forced training step of Read-Process-Write, against a loop over its steps", _writer, (5, 10, 20, 50)
    ),
    "order-search-step": Bench(
        "A training step with a sampled order and with the best of all, against one in a given order", _search, (3, 5)
    ),
}
