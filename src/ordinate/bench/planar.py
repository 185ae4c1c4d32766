"""Pointer networks and their data against straightforward code: a teacher-forced training step, exact tours, and the making of hulls.

The peers are direct readings of the formulas, written here. A training step loops over the points and over the steps of the answer, and projects the memories anew at each of them; its attention is batched over the
memories, as it is in the code that people use. Held and Karp's recursion runs over a dictionary keyed by frozen sets. Hulls are found and put in order one at a time.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import torch
from scipy.spatial import ConvexHull
from torch import Tensor, nn

from ordinate.bench.base import Bench, BenchResult, Timing, fitted_exponents
from ordinate.data.planar import Hull, PlanarData
from ordinate.data.tours import distances, held_karp
from ordinate.experiment.measure import measure_peak_memory, measure_time
from ordinate.ground.errors import InputError
from ordinate.models.pointer_network import PointerDecoder, PointerNetwork
from ordinate.objectives.pointing import Pointing

__all__ = ["BENCHES", "LoopedPointer", "held_karp_by_sets", "hulls_one_by_one"]

BATCH = 128
HIDDEN = 256
TOURS = 64


class LoopedPointer(nn.Module):
    """The peer of a training step: the same network with the same weights, one cell call a point and a step, and a mask that grows with every row's answer."""

    def __init__(self, network: PointerNetwork) -> None:
        super().__init__()
        if not isinstance(network.decoder, PointerDecoder):
            raise InputError("the loop is written for the pointer alone")
        self.head, self.end, self.go = network.decoder.head, network.decoder.end, network.go
        self.encoder = _cell(network.encoder)
        self.decoder = _cell(network.decoder.lstm)

    def forward(self, points: Tensor, target: Tensor) -> Tensor:
        """The log-probabilities (B,) of answers, all of n points."""
        batch = len(points)
        h = c = points.new_zeros(batch, self.encoder.hidden_size)
        states = [self.end.expand(batch, -1)]
        for point in points.unbind(dim=1):
            h, c = self.encoder(point, (h, c))
            states.append(h)
        memory = torch.stack(states, dim=1)
        fed, total = self.go.expand(batch, -1), points.new_zeros(batch)
        running = torch.ones(batch, dtype=torch.bool, device=points.device)
        for symbol in target.unbind(dim=1):
            h, c = self.decoder(fed, (h, c))
            scores = self.head.score(torch.tanh(self.head.key(memory) + self.head.query(h)[:, None]))[..., 0]
            chosen = scores.log_softmax(dim=1).gather(1, symbol[:, None])[:, 0]
            total = total + torch.where(running, chosen, 0.0)
            running = running & (symbol != 0)
            fed = points[torch.arange(batch), (symbol - 1).clamp(min=0)]
        return total


def _cell(kernel: nn.LSTM) -> nn.LSTMCell:
    cell = nn.LSTMCell(kernel.input_size, kernel.hidden_size)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in kernel.state_dict().items()})
    return cell


def held_karp_by_sets(distance: Tensor) -> list[int]:
    """The peer of `held_karp`: one instance (n, n), a dictionary from (set, last city) to (cost, city before)."""
    table, n = distance.tolist(), len(distance)
    best = {(frozenset((city,)), city): (table[0][city], 0) for city in range(1, n)}
    for size in range(2, n):
        for subset in map(frozenset, combinations(range(1, n), size)):
            for last in subset:
                rest = subset - {last}
                best[subset, last] = min((best[rest, city][0] + table[city][last], city) for city in rest)
    subset = frozenset(range(1, n))
    last = min(subset, key=lambda city: best[subset, city][0] + table[city][0])
    tour = []
    while subset:
        tour.append(last)
        subset, last = subset - {last}, best[subset, last][1]
    return [0, *reversed(tour)]


def hulls_one_by_one(points: Tensor) -> list[list[int]]:
    """The peer of `Hull.targets`: each instance solved, turned and ended by itself."""
    answers = []
    for instance in points.double().numpy():
        slots = [int(vertex) + 1 for vertex in ConvexHull(instance).vertices]
        start = slots.index(min(slots))
        answers.append([*slots[start:], *slots[:start], 0])
    return answers


def _step(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for n in sizes or ((10, 50) if quick else BENCHES["pointer-step"].sizes):
        torch.manual_seed(0)
        network = PointerNetwork(hidden=HIDDEN).to(device)
        looped = LoopedPointer(network).to(device)
        batch = {name: value.to(device) for name, value in _answered(n).take(torch.arange(BATCH)).items()}
        calls = {"ordinate": partial(_train, Pointing(), network, batch), "loop": partial(_train_loop, looped, batch)}
        for contender, call in calls.items():
            watch(f"{contender}, {n} points")
            seconds = measure_time(call, repeats=3 if quick else 7, device=device)
            rows.append(Timing(contender, n, seconds, None if quick else measure_peak_memory(call, device)))
    return BenchResult(rows, peer="ordinate", size_name="points", exponents=fitted_exponents(rows))


def _answered(n: int) -> PlanarData:
    # Tours are the longest answers to a number of points; a step costs the same whether they are good or not.
    points = torch.rand(BATCH, n, 2, generator=torch.Generator().manual_seed(n))
    order = torch.arange(1, n + 1).expand(BATCH, -1)
    return PlanarData(points, torch.full((BATCH,), n), nn.functional.pad(order, (0, 1)))


def _train(objective: Pointing, network: PointerNetwork, batch: dict[str, Tensor]) -> None:
    objective(network, batch).backward()


def _train_loop(looped: LoopedPointer, batch: dict[str, Tensor]) -> None:
    (-looped(batch["points"], batch["target"]).sum() / batch["target"].numel()).backward()


def _tours(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for n in sizes or ((6, 8, 10) if quick else BENCHES["held-karp"].sizes):
        tables = distances(torch.rand(TOURS, n, 2, generator=torch.Generator().manual_seed(n)))
        calls: dict[str, tuple[Callable[[], Any], int]] = {
            "ordinate": (partial(held_karp, tables[:1]), 1),
            f"ordinate, {TOURS} at once": (partial(held_karp, tables), TOURS),
            "dictionary of sets": (partial(held_karp_by_sets, tables[0]), 1),
        }
        for contender, (call, instances) in calls.items():
            watch(f"{contender}, {n} cities")
            rows.append(Timing(contender, n, measure_time(call, repeats=3) / instances))
    return BenchResult(rows, peer="ordinate", size_name="cities", remarks=["seconds are for one instance"])


def _hulls(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    count = 2_000 if quick else 20_000
    rows: list[Timing] = []
    for n in sizes or BENCHES["hulls"].sizes:
        points = torch.rand(count, n, 2, generator=torch.Generator().manual_seed(n))
        calls: dict[str, Callable[[], Any]] = {"ordinate": partial(Hull().targets, points), "one by one": partial(hulls_one_by_one, points)}
        for contender, call in calls.items():
            watch(f"{contender}, {count} hulls of {n} points")
            seconds = measure_time(call, repeats=3)
            rows.append(Timing(contender, n, seconds, extra={"hulls a second": count / seconds}))
    return BenchResult(
        rows, peer="ordinate", size_name="points", remarks=["ordinate's time includes refusing points that coincide or lie on a line"]
    )


BENCHES = {
    "pointer-step": Bench("A teacher-forced training step of a pointer network, against a loop over its steps", _step, (5, 10, 20, 50)),
    "held-karp": Bench("Optimal tours, against Held and Karp's recursion over a dictionary of frozen sets", _tours, (6, 8, 10, 12, 13)),
    "hulls": Bench("Convex hulls as answers, against one instance at a time", _hulls, (5, 10, 50)),
}
