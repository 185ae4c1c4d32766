r"""The feature-bias suite: train any encoder to tell several features of its input that are independent, equally predictive and equally well learnt, and see how unequally it represents them (Lampinen, Chan and Hermann, 2024).

Several networks of one architecture are trained on one data set at once (see :mod:`ordinate.train.ensemble`), or one after another where they cannot be batched. On the way and at the end, each is asked for the accuracy of every output and for the
part of each layer's variance that every feature explains, on balanced test examples: half to fit the regression, half to measure it. A ratio of features is only of interest where all are learnt, so every network knows whether it has *mastered* all.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ordinate.analyze.capture import collect
from ordinate.analyze.representations import pooling
from ordinate.analyze.variance_explained import Encoding
from ordinate.data.batches import Shuffled, TensorSource
from ordinate.data.controlled.curriculum import Weighted
from ordinate.experiment.verdict import Interval, interval
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive
from ordinate.objectives.features import FeatureLoss
from ordinate.train.ensemble import Ensemble, fit_ensemble
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe

__all__ = ["BiasReport", "Controlled", "FeatureBiasSuite", "Moments", "accuracies", "predictions"]

AT_ONCE = 1024


@runtime_checkable
class Sample(Protocol):
    """Inputs, the features that they show, and what is taught."""

    @property
    def x(self) -> Tensor: ...
    @property
    def features(self) -> Tensor: ...
    @property
    def targets(self) -> Tensor: ...


@runtime_checkable
class Controlled(Protocol):
    """Data with known features: those of `ordinate.data.controlled`, or your own."""

    @property
    def classes(self) -> tuple[int, ...]:
        """How many classes each feature has."""

    def sample(self, n: int, *, train: bool = True, draw: int = 0) -> Sample:
        """n examples; balanced and clean ones where `train` is False."""


@dataclass(frozen=True)
class Moments:
    """What was seen at one step of training, of E networks, L layers and F features.

    Attributes:
        step: how many steps were done.
        accuracy: (E, F) of the outputs on test examples.
        variance: (E, L, F) the part of the layer's variance that a feature explains.
        unique: (E, L, F) what the joint fit loses without it.
        joint: (E, L) what all explain together.
        total: (E, L) the layer's variance; `variance` times it is on the fixed scale that curves over steps need.
        density: (E, L, F) units of which a feature explains more than a tenth.
    """

    step: int
    accuracy: Float64[Tensor, "members features"]
    variance: Float64[Tensor, "members layers features"]
    unique: Float64[Tensor, "members layers features"]
    joint: Float64[Tensor, "members layers"]
    total: Float64[Tensor, "members layers"]
    density: Int64[Tensor, "members layers features"]


@dataclass(frozen=True)
class BiasReport:
    """What the suite found.

    Attributes:
        layers: their names.
        moments: of training, the last at its end.
        models: the trained networks, in evaluation mode.
        mastery: the accuracy that counts as mastered.
    """

    layers: tuple[str, ...]
    moments: tuple[Moments, ...]
    models: tuple[nn.Module, ...]
    mastery: float = 0.99

    @property
    def end(self) -> Moments:
        """The last moment."""
        return self.moments[-1]

    @property
    def mastered(self) -> Bool[Tensor, " members"]:
        """Which networks have learnt every feature."""
        return (self.end.accuracy >= self.mastery).all(dim=1)

    def ratios(self, first: int, second: int, layer: int = -1) -> list[float]:
        """For each network that mastered all features, how many times the variance of the second feature the first explains."""
        chosen = self.end.variance[self.mastered][:, layer]
        return (chosen[:, first] / chosen[:, second]).tolist()

    def bias(self, first: int, second: int, layer: int = -1) -> Interval:
        """The mean of `ratios` with its 95 % bootstrap interval over networks (infinite ends for fewer than five).

        Raises:
            InputError: no network mastered all features.
        """
        found = self.ratios(first, second, layer)
        if not found:
            best = self.end.accuracy.amin(dim=1).max()
            raise InputError(
                f"no network has learnt every feature to {self.mastery}: the best has {float(best):.3f} on its worst; train for longer"
            )
        return interval(found, "bootstrap")

    def curve(self, feature: int, layer: int = -1, *, fixed: bool = False) -> list[tuple[float, float]]:
        """(step, mean over networks of the part explained), or with `fixed` over the variance at the end, so that parts of different steps compare."""
        last = self.end.total[:, layer]
        found = []
        for moment in self.moments:
            part = moment.variance[:, layer, feature]
            found.append((float(moment.step), float((part * moment.total[:, layer] / last if fixed else part).mean())))
        return found

    def before_learning(self, watched: int, other: int, layer: int = -1, *, half: float = 0.75) -> list[float]:
        """For each network, the part that `watched` explained at the last moment at which the accuracy on `other` was not yet above `half`; NaN where there was none."""
        found = []
        for member in range(len(self.models)):
            early = [each for each in self.moments if float(each.accuracy[member, other]) <= half]
            found.append(float(early[-1].variance[member, layer, watched]) if early else math.nan)
        return found

    def to_json(self) -> dict[str, Any]:
        """JSON values; of each quantity a list over networks, then layers, then features."""
        return {
            "layers": list(self.layers),
            "mastered": self.mastered.tolist(),
            "moments": [
                {
                    "step": each.step,
                    "accuracy": each.accuracy.tolist(),
                    "variance": each.variance.tolist(),
                    "unique": each.unique.tolist(),
                    "joint": each.joint.tolist(),
                    "total": each.total.tolist(),
                    "density": each.density.tolist(),
                }
                for each in self.moments
            ],
        }


@torch.no_grad()
def predictions(model: nn.Module, x: Tensor, loss: FeatureLoss, device: str = "cpu") -> Int64[Tensor, "rows features"]:
    """The class of every output for inputs (n, ...)."""
    return torch.cat([loss.predict(model(part.to(device))).cpu() for part in x.split(AT_ONCE)])


def accuracies(model: nn.Module, x: Tensor, features: Tensor, loss: FeatureLoss, device: str = "cpu") -> Float64[Tensor, " features"]:
    """The accuracy of every output."""
    return (predictions(model, x, loss, device) == features).double().mean(dim=0)


@dataclass(frozen=True)
class FeatureBiasSuite:
    """What is trained and where it is looked at.

    Attributes:
        make: `make(outputs)` gives a network from inputs as the data have them to that many logits: one for a feature of two classes, C for one of C.
        data: see `Controlled`.
        layers: where to look, by name; see `ordinate.analyze.capture`.
        members: how many networks, which differ in their first weights.
        recipe: how they are trained.
        examples: how many to train on.
        tested: how many to test on, half of them to fit regressions.
        batch_size: examples a step.
        every: steps between two looks; None looks at the end only.
        weights: of every feature in the loss, 0 for one that is not taught; 1 for all by default.
        stages: (steps, weights), what is taught first; see `Weighted`.
        pool: how an activation becomes a vector an example: a name of `ordinate.analyze.representations.pooling`, or a function.
        mastery: the accuracy that counts as mastered.
        together: train the networks as one batched call; networks with batch statistics, and those for whose operations torch has no batched form (attention on a CPU), are better trained one after another.
    """

    make: Callable[[int], nn.Module]
    data: Controlled
    layers: tuple[str, ...]
    members: int = 5
    recipe: Recipe = field(default_factory=lambda: Recipe(steps=3000, schedule="constant"))
    examples: int = 16_000
    tested: int = 8_000
    batch_size: int = 128
    every: int | None = None
    weights: tuple[float, ...] | None = None
    stages: tuple[tuple[int, tuple[float, ...]], ...] = ()
    pool: str | Callable[[Tensor], Tensor] = "positions"
    mastery: float = 0.99
    together: bool = True

    def run(self, seed: int = 0, *, device: str = "cpu", progress: bool = False) -> BiasReport:
        """Train and look.

        Args:
            seed: of the first weights and the order of the examples; the examples are those of the data's own seed.
            device, progress: see :func:`ordinate.train.fit.fit`.

        Raises:
            InputError: no networks, a layer that they haven't, or one whose activation has no representation under `pool`.
        """
        if self.members < 1 or not self.layers:
            raise InputError(f"a suite needs at least one network and one layer, not {self.members} and {list(self.layers)}")
        loss = FeatureLoss(self.data.classes)
        train, test = self.data.sample(self.examples), self.data.sample(self.tested, train=False)
        half = len(test.x) // 2
        encoding = Encoding(test.features[:half], test.features[half:])
        rows = Shuffled(TensorSource(x=train.x, target=train.targets), self.batch_size, seed)
        batches = Weighted(rows, self.weights or (1.0,) * len(self.data.classes), self.stages)
        ensemble = Ensemble.make(lambda: self.make(loss.outputs), [derive(seed, "member", number) for number in range(self.members)])
        moments: list[Moments] = []

        def look(step: int, models: Sequence[nn.Module]) -> Moments:
            return _look(step, models, self, loss, test, encoding, device)

        if self.together and not any(isinstance(module, _BatchNorm) for module in ensemble.modules()):

            def watch(judged: nn.Module) -> dict[str, float]:
                step = min(self.recipe.steps, (len(moments) + 1) * (self.every or self.recipe.steps))
                moments.append(look(step, [ensemble.member(number).eval() for number in range(self.members)]))
                return {}

            fit_ensemble(
                ensemble, loss, batches, self.recipe, seed=seed, device=device,
                evaluate=watch, evaluate_every=self.every, progress=progress,
            )  # fmt: skip
            models = [ensemble.member(number).eval() for number in range(self.members)]
        else:
            models, seen = [ensemble.member(number) for number in range(self.members)], []
            for number, model in enumerate(models):
                mine: list[Moments] = []

                def watch_one(judged: nn.Module, mine: list[Moments] = mine) -> dict[str, float]:
                    step = min(self.recipe.steps, (len(mine) + 1) * (self.every or self.recipe.steps))
                    mine.append(look(step, [judged]))
                    return {}

                fit(
                    model.train(), loss, batches, self.recipe, seed=derive(seed, "member", number), device=device,
                    evaluate=watch_one, evaluate_every=self.every, progress=progress,
                )  # fmt: skip
                seen.append(mine)
            moments = [_joined(each) for each in zip(*seen, strict=True)]
        return BiasReport(self.layers, tuple(moments), tuple(models), self.mastery)


def _look(
    step: int, models: Sequence[nn.Module], suite: FeatureBiasSuite, loss: FeatureLoss, test: Sample, encoding: Encoding, device: str
) -> Moments:
    half = len(test.x) // 2
    accuracy, found = [], []
    for model in models:
        phis = collect(
            model,
            suite.layers,
            [part.to(device) for part in test.x.split(AT_ONCE)],
            reduce=pooling(suite.pool) if isinstance(suite.pool, str) else suite.pool,
        )
        accuracy.append(accuracies(model, test.x, test.features, loss, device))
        found.append([encoding.explain(phis[layer][:half], phis[layer][half:]) for layer in suite.layers])
    return Moments(
        step,
        torch.stack(accuracy),
        torch.stack([torch.stack([each.per_feature for each in layers]) for layers in found]),
        torch.stack([torch.stack([each.unique for each in layers]) for layers in found]),
        torch.tensor([[each.joint for each in layers] for layers in found], dtype=torch.float64),
        torch.tensor([[each.total for each in layers] for layers in found], dtype=torch.float64),
        torch.tensor([[each.density() for each in layers] for layers in found]),
    )


def _joined(parts: Sequence[Moments]) -> Moments:
    """Moments of the same step, of one network each, as one."""
    return Moments(
        parts[0].step,
        torch.cat([part.accuracy for part in parts]),
        torch.cat([part.variance for part in parts]),
        torch.cat([part.unique for part in parts]),
        torch.cat([part.joint for part in parts]),
        torch.cat([part.total for part in parts]),
        torch.cat([part.density for part in parts]),
    )
