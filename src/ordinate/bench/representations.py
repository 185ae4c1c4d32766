"""Measures of representations: what features explain of several layers, against scikit-learn's regression a feature and layer; representational similarity, against SciPy's distances and rank correlation; and the suite's networks, trained together or one by one.

The peers are what one writes with the usual libraries: `LinearRegression` for each feature alone, for all, and for all but one, layer by layer; `pdist` and `spearmanr`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression
from torch import Tensor

from ordinate.analyze.feature_bias import FeatureBiasSuite
from ordinate.analyze.similarity import rdm, rsa
from ordinate.analyze.variance_explained import Encoding
from ordinate.bench.base import Bench, BenchResult, Timing, fitted_exponents
from ordinate.data.controlled.vectors import PRESETS, ControlledFeatures
from ordinate.experiment.measure import measure_time
from ordinate.nn.perceptron import Perceptron
from ordinate.train.recipe import Recipe

__all__ = ["BENCHES", "explained_at_once", "explained_by_regressions", "similarity_by_scipy", "train_suite"]

FEATURES, UNITS, LAYERS = 8, 256, 4


def explained_at_once(layers: Sequence[Tensor], features: Tensor) -> list[tuple[Tensor, float, Tensor]]:
    """Singles, joint and unique parts of every layer; the first half is fitted, the second measured."""
    half = len(features) // 2
    encoding = Encoding(features[:half], features[half:])
    found = [encoding.explain(phi[:half], phi[half:]) for phi in layers]
    return [(each.per_feature, each.joint, each.unique) for each in found]


def explained_by_regressions(layers: Sequence[Tensor], features: Tensor) -> list[tuple[Tensor, float, Tensor]]:
    """The peer of `explained_at_once`: a regression of its own for every number."""
    half = len(features) // 2
    z, count = features.numpy(), features.shape[1]
    found = []
    for phi in layers:
        y = phi.numpy()
        whole = ((y[half:] - y[:half].mean(axis=0)) ** 2).sum()

        def part(columns: list[int], y: Any = y, whole: float = whole) -> float:
            model = LinearRegression().fit(z[:half][:, columns], y[:half])
            return float(1 - ((y[half:] - model.predict(z[half:][:, columns])) ** 2).sum() / whole)

        every = list(range(count))
        joint = part(every)
        singles = torch.tensor([part([number]) for number in every])
        unique = torch.tensor([joint - part([other for other in every if other != number]) for number in every])
        found.append((singles, joint, unique))
    return found


def similarity_by_scipy(x: Tensor, y: Tensor) -> float:
    """The peer of `rsa` on two matrices of `rdm`."""
    return float(spearmanr(pdist(x.numpy(), "correlation"), pdist(y.numpy(), "correlation")).statistic)


def _similarity(x: Tensor, y: Tensor) -> float:
    return rsa(rdm(x, condensed=True), rdm(y, condensed=True))


def _explained(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows = []
    for n in sizes or ((1_000, 4_000) if quick else BENCHES["variance-explained"].sizes):
        random = torch.Generator().manual_seed(n)
        features = torch.randint(0, 2, (n, FEATURES), generator=random).double()
        layers = [
            features @ torch.randn(FEATURES, UNITS, generator=random).double() + torch.randn(n, UNITS, generator=random).double()
            for _ in range(LAYERS)
        ]
        calls: dict[str, Callable[[], Any]] = {
            "ordinate": partial(explained_at_once, layers, features),
            "scikit-learn, one by one": partial(explained_by_regressions, layers, features),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {n} examples")
            rows.append(Timing(contender, n, measure_time(call, repeats=3 if quick else 5)))
    remark = f"{LAYERS} layers of {UNITS} units, {FEATURES} features: each alone, all, and all but each; in double precision, on the CPU"
    return BenchResult(rows, "ordinate", "examples", fitted_exponents(rows), [remark])


def _rsa(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows = []
    for n in sizes or ((250, 500) if quick else BENCHES["rsa"].sizes):
        random = torch.Generator().manual_seed(n)
        x, y = (torch.randn(n, UNITS, generator=random).double() for _ in "xy")
        for contender, call in (("ordinate", partial(_similarity, x, y)), ("SciPy", partial(similarity_by_scipy, x, y))):
            watch(f"{contender}, {n} examples")
            rows.append(Timing(contender, n, measure_time(call, repeats=3 if quick else 5)))
    return BenchResult(
        rows,
        "ordinate",
        "examples",
        fitted_exponents(rows),
        [f"two representations of {UNITS} units, distances by correlation; on the CPU"],
    )


def train_suite(members: int, together: bool, steps: int = 100) -> None:
    """Perceptrons of four layers on an easy and a hard feature, as one batched call or one after another."""
    data = ControlledFeatures(PRESETS["easy and hard"])
    suite = FeatureBiasSuite(
        lambda outputs: Perceptron(32, (256, 128, 64, 64), outputs),
        data,
        ("hidden.3",),
        members,
        Recipe(steps=steps, schedule="constant"),
        examples=2_000,
        tested=400,
        together=together,
    )
    suite.run()


def _suite(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows = []
    for members in sizes or ((1, 5) if quick else BENCHES["feature-bias-suite"].sizes):
        for contender, together in (("together", True), ("one after another", False)):
            watch(f"{contender}, {members} networks")
            call = partial(train_suite, members, together, 20 if quick else 200)
            rows.append(Timing(contender, members, measure_time(call, repeats=1 if quick else 3)))
    return BenchResult(
        rows,
        "together",
        "networks",
        fitted_exponents(rows),
        ["four layers of 256 to 64, batches of 128; on the CPU, drawing and looking included"],
    )


BENCHES = {
    "variance-explained": Bench(
        "What features explain of layers, against a regression for every number", _explained, (1_000, 4_000, 16_000)
    ),
    "feature-bias-suite": Bench("Networks of one architecture trained as one call, against one after another", _suite, (1, 2, 5, 10)),
    "rsa": Bench("Representational similarity of two representations, against SciPy", _rsa, (500, 1_000, 2_000)),
}
