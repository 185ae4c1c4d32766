"""What it saves to compute features once, to fit a whole grid of penalties from one decomposition, and to run members as one batched module.

- Probe grids: a logistic probe at seven penalties on 2,000 images of 784 pixels and a concatenation of four perceptrons of 512 units. By ordinate: features out of the cache, then the grid through one decomposition. The peers: the
  networks run again at every penalty, with the same probe; and scikit-learn's logistic regression at every penalty, on the cached features.
- Ridge grids: as many penalties in closed form, through one decomposition and by one solution each.
- Members: the vectors of eight perceptrons of 784-256-256-64, by `torch.func.vmap` over stacked weights and by a loop over the members.

The median over rounds is taken, in each of which every contender has its turn.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ordinate.analyze.feature_cache import cached_features
from ordinate.analyze.linear_probe import L2_GRID, LinearProbe
from ordinate.analyze.probes import RidgeProbe
from ordinate.bench.base import Bench, BenchResult, Timing
from ordinate.data.batches import TensorSource
from ordinate.experiment.measure import measure_time
from ordinate.models.concatenated import Concat
from ordinate.models.encoding import encode_all
from ordinate.models.mlp import MLP
from ordinate.train.ensemble import Ensemble

__all__ = ["BENCHES", "members_by_loop", "probe_again"]

SIDE, CLASSES = 28, 10


def _member(hidden: int, features: int) -> MLP:
    return MLP(CLASSES, SIDE, hidden=(hidden, hidden), num_features=features).eval()


def _source(rows: int) -> TensorSource:
    chance = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (rows,), generator=chance)
    centres = torch.randn(CLASSES, 1, SIDE, SIDE, generator=chance)
    return TensorSource(image=centres[labels] + 2 * torch.randn(rows, 1, SIDE, SIDE, generator=chance), label=labels)


def probe_again(members: Sequence[MLP], source: TensorSource, solver: str = "newton") -> list[LinearProbe]:
    """The peer of a grid on cached features: the networks run at every penalty."""
    concat, labels = Concat(members), source.tensors["label"].numpy()
    return [LinearProbe(value, solver).fit(encode_all(concat, source.tensors["image"]).numpy(), labels) for value in L2_GRID]


def members_by_loop(members: Sequence[MLP], x: Tensor) -> Tensor:
    """The peer of a batched module: one member after another, (n, B, d)."""
    return torch.stack([member.embed(x) for member in members])


def _in_turns(calls: dict[str, Callable[[], Any]], repeats: int, device: str) -> dict[str, float]:
    """The median seconds of each call, one of each in every round, so that a machine that slows down touches all alike."""
    seconds = {name: [measure_time(call, repeats=1, warmup=1, device=device)] for name, call in calls.items()}
    for _ in range(repeats - 1):
        for name, call in calls.items():
            seconds[name].append(measure_time(call, repeats=1, warmup=0, device=device))
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def _cached(members: Sequence[MLP], source: TensorSource, folder: Path) -> tuple[Any, Any]:
    features, labels = cached_features(members, source, folder)
    return features.numpy(), labels.numpy()


def _grids(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    torch.manual_seed(0)
    members = [_member(512, 16) for _ in range(4)]
    for count in sizes or ((500,) if quick else BENCHES["probe-grids"].sizes):
        source = _source(count)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            features, labels = _cached(members, source, folder)
            calls: dict[str, Callable[[], Any]] = {
                "ordinate, the cached features": partial(_cached, members, source, folder),
                "the features again, at every penalty": partial(_encoded_again, members, source),
                "ordinate, cached features and one decomposition": partial(_whole_grid, members, source, folder),
                "networks and probe at every penalty": partial(probe_again, members, source),
                "scikit-learn on cached features": partial(_scikit, features, labels),
            }
            watch(f"grids of {len(L2_GRID)} penalties on {count} rows")
            rows += [Timing(name, count, seconds) for name, seconds in _in_turns(calls, 3, device).items()]
    return BenchResult(
        rows,
        peer="networks and probe at every penalty",
        size_name="rows",
        remarks=[f"{len(L2_GRID)} penalties; 4 networks of 784-512-512-16; scikit-learn's is L-BFGS with its own tolerance"],
    )


def _encoded_again(members: Sequence[MLP], source: TensorSource) -> list[Tensor]:
    return [encode_all(Concat(members), source.tensors["image"]) for _ in L2_GRID]


def _whole_grid(members: Sequence[MLP], source: TensorSource, folder: Path) -> list[tuple[Tensor, Tensor]]:
    return LinearProbe().path(*_cached(members, source, folder), L2_GRID)


def _scikit(features: Any, labels: Any) -> list[Any]:
    return [LogisticRegression(C=1 / (len(features) * value), max_iter=1000).fit(features, labels) for value in L2_GRID]


def _ridges(x: Any, y: Any) -> list[RidgeProbe]:
    return [RidgeProbe(value).fit(x, y) for value in L2_GRID]


def _ridge(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for width in sizes or ((64,) if quick else BENCHES["ridge-grids"].sizes):
        chance = torch.Generator().manual_seed(0)
        x = torch.randn(1000 if quick else 5000, width, generator=chance, dtype=torch.float64).numpy()
        y = torch.randint(CLASSES, (len(x),), generator=chance).numpy()
        calls: dict[str, Callable[[], Any]] = {
            "ordinate, one decomposition": partial(LinearProbe(solver="ridge").path, x, y, L2_GRID),
            "a solution each": partial(_ridges, x, y),
        }
        watch(f"ridge grids of {width} features")
        rows += [Timing(name, width, seconds) for name, seconds in _in_turns(calls, 3 if quick else 7, device).items()]
    return BenchResult(rows, peer="a solution each", size_name="features", remarks=[f"{len(L2_GRID)} penalties, float64"])


def _members(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    torch.manual_seed(0)
    members = [_member(256, 64).to(device) for _ in range(8)]
    ensemble = Ensemble(members).to(device)
    for batch in sizes or ((16,) if quick else BENCHES["batched-members"].sizes):
        x = torch.randn(batch, 1, SIDE, SIDE, device=device)
        calls: dict[str, Callable[[], Any]] = {
            "one batched module": partial(ensemble.apply_to_each, MLP.embed, x),
            "a loop over members": partial(members_by_loop, members, x),
        }
        watch(f"eight members on batches of {batch}")
        with torch.no_grad():
            rows += [Timing(name, batch, seconds) for name, seconds in _in_turns(calls, 7 if quick else 31, device).items()]
    return BenchResult(rows, peer="a loop over members", size_name="rows", remarks=["eight perceptrons of 784-256-256-64"])


BENCHES = {
    "probe-grids": Bench("Probes over a grid of penalties on cached features, against running the networks again", _grids, (1000, 4000)),
    "ridge-grids": Bench("Ridge probes over a grid of penalties by one decomposition, against a solution each", _ridge, (64, 256, 1024)),
    "batched-members": Bench("Eight members as one batched module, against a loop over them", _members, (1, 16, 128)),
}
