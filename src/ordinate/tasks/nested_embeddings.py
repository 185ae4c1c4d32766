"""Nested embeddings: an encoder trained on images by each arm's objective, and what every prefix of its embedding is good for.

All arms start from the same encoder, see the same batches and take the same steps. At each size the prefix is judged by the 1-nearest-neighbour accuracy and by a linear probe, fitted on the training images
and scored on held-out ones; at the trained sizes and between them. Arms with nested classifiers are judged by those too: each size's accuracy, what an oracle that picks the size would reach, and the
confidence cascade, whose thresholds are fitted on a fifth of the held-out images and scored on the rest. Arms may have their embeddings shortened afterwards, by principal components and the like.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from ordinate.adapt.cascade import ConfidenceCascade
from ordinate.adapt.retrofit import retrofit
from ordinate.adapt.shorten import shortener
from ordinate.analyze.nesting import oracle_routing, size_curve
from ordinate.analyze.probes import NeighbourProbe, RidgeProbe
from ordinate.data.augment import Augmentation
from ordinate.data.batches import Shuffled, Source, TensorSource
from ordinate.data.images import ImageData, open_images
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.base import VisionEncoder
from ordinate.nn.nested_head import FixedFeatureHead, check_dims
from ordinate.objectives.base import Objective
from ordinate.objectives.classification import Classification
from ordinate.objectives.matryoshka import NestedClassification
from ordinate.tasks.training import arm_recipe, make_seeded, train_arm
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "Contender", "NestedEmbeddings", "embed_source", "fixed_feature", "nested", "plain", "retrofitted", "take_some"]

_AT_ONCE = 512
_HELD_OUT_SHARE = 5


@dataclass
class Contender:
    """What an arm makes of the task's encoder.

    Attributes:
        stages: what it is trained on, one after another, each for the task's number of steps: from the encoder, which a stage may change, to the objective.
        shorten: ways to shorten the embedding after training (see `ordinate.adapt.shorten`) that are measured too.
    """

    stages: list[Callable[[VisionEncoder], Objective]]
    shorten: Sequence[str] = field(default_factory=tuple)


def plain(shorten: Sequence[str] = ()) -> Callable[[], Contender]:
    """Classification at the full size alone."""
    return lambda: Contender([lambda encoder: Classification()], shorten)


def nested(dims: Sequence[int], **options: Any) -> Callable[[], Contender]:
    """Classification at every size; `options` are those of `NestedClassification`."""
    return lambda: Contender([lambda encoder: NestedClassification.for_model(encoder, dims=dims, **options)])


def fixed_feature(size: int) -> Callable[[], Contender]:
    """FF-m: classification from the first `size` features alone."""

    def narrow(encoder: VisionEncoder) -> Objective:
        encoder.head = FixedFeatureHead(size, encoder.num_classes)
        return Classification()

    return lambda: Contender([narrow])


def retrofitted(dims: Sequence[int], **options: Any) -> Callable[[], Contender]:
    """Plain training, then as much again with a nested head; `options` are those of `retrofit`."""
    return lambda: Contender([lambda encoder: Classification(), lambda encoder: retrofit(encoder, dims, **options)])


class NestedEmbeddings(Task):
    """What every prefix of an embedding is good for. An arm's `make` takes nothing and gives a `Contender`."""

    name = "nested-embeddings"

    def __init__(
        self,
        data: str | ImageData,
        encoder: Callable[..., VisionEncoder],
        dims: Sequence[int],
        *,
        between: Sequence[int] = (),
        steps: int = 330,
        batch_size: int = 128,
        lr: float = 1e-3,
        most_trained: int | None = None,
        most_tested: int | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        """
        Args:
            data: images, by name or path, or opened already.
            encoder: makes the encoder from `num_classes`, `image_size` and `in_chans`.
            dims: the sizes at which embeddings are judged; the last is the encoder's width.
            between: further sizes at which the nearest neighbours are judged.
            steps: optimizer steps of each stage.
            batch_size: images a step.
            lr: the peak learning rate of AdamW, alike for all arms.
            most_trained: train on at most this many images, chosen by a fixed seed.
            most_tested: score on at most this many images.
            augment: of the training batches.
        """
        self.given = data
        self.encoder = encoder
        self.dims = check_dims(dims)
        self.between = tuple(between)
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.most_trained = most_trained
        self.most_tested = most_tested
        self.augment = augment
        self.title = f"Nested embeddings of {data if isinstance(data, str) else data.name}"
        self.metrics = tuple(
            Metric(f"{probe}@{size}", "%", meaning=text.format(size)) for probe, text in _PROBES.items() for size in self.dims
        )

    @cached_property
    def data(self) -> ImageData:
        """The images, opened when they are first needed."""
        return open_images(self.given) if isinstance(self.given, str) else self.given

    @cached_property
    def train(self) -> TensorSource:
        """The training images in memory."""
        return take_some(self.data.train, self.most_trained, "trained")

    @cached_property
    def test(self) -> TensorSource:
        """The held-out images in memory."""
        return take_some(self.data.test, self.most_tested, "tested")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train and score one arm at one seed."""
        channels, height, width = self.data.shape
        image_size = height if height == width else (height, width)
        make = partial(self.encoder, num_classes=len(self.data.classes), image_size=image_size, in_chans=channels)
        encoder = make_seeded(make, run.seed)
        if encoder.num_features != self.dims[-1]:
            raise InputError(f"the encoder's embedding is {encoder.num_features} wide, and the largest size is {self.dims[-1]}")
        contender: Contender = arm.make()
        recipe = arm_recipe(Recipe(steps=self.steps, lr=self.lr), arm, run)
        batches = Shuffled(self.train, min(self.batch_size, len(self.train)), run.seed, augment=self.augment)
        curves: dict[str, list[tuple[float, float]]] = {}
        parameters, flops = None, None
        for number, stage in enumerate(contender.stages):
            objective = make_seeded(partial(stage, encoder), run.seed)
            place = run.folder / f"stage-{number}" if run.folder else None
            trained = train_arm(encoder, objective, batches, recipe, Run(run.seed, run.setting, place, run.resume, run.progress))
            curves |= {name if number == 0 else f"{name} (stage {number + 1})": points for name, points in trained.history.curves.items()}
            parameters, flops = trained.parameters, trained.flops
        metrics = self._score(encoder, objective, contender, run)
        for probe in _PROBES:
            curves[f"{probe} by size"] = [(size, metrics[f"{probe}@{size}"]) for size in self.dims]
        return Outcome(metrics, curves=curves, parameters=parameters, flops=flops)

    @torch.no_grad()
    def _score(self, encoder: VisionEncoder, objective: Objective, contender: Contender, run: Run) -> dict[str, float]:
        (z, labels), (tested, test_labels) = (embed_source(encoder, source, run.setting.device) for source in (self.train, self.test))
        known = (z, labels, tested, test_labels)
        found = {f"knn@{size}": 100 * value for size, value in size_curve(*known, sorted({*self.dims, *self.between})).items()}
        found |= {f"linear@{size}": 100 * value for size, value in size_curve(*known, self.dims, RidgeProbe).items()}
        for method in contender.shorten:
            for size in self.dims[:-1]:
                short = shortener(method, size, run.seed).fit(z.numpy())
                probe = NeighbourProbe().fit(short.transform(z.numpy()), labels)
                right = torch.from_numpy(probe.predict(short.transform(tested.numpy()))) == test_labels
                found[f"{method}@{size}"] = 100 * float(right.double().mean())
        if isinstance(objective, NestedClassification):
            return found | _score_heads(encoder, objective, tested, test_labels, run.seed)
        head: nn.Linear = encoder.head  # type: ignore[assignment]
        right = head(tested.to(head.weight.device)).argmax(dim=1).cpu() == test_labels
        return found | {f"head@{head.in_features}": 100 * float(right.double().mean())}

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "NestedEmbeddings":
        """On a named dataset or a folder with one subfolder a class; the encoder is a perceptron with 64 features.

        Args:
            data: ``"digits"`` by default.
            setting: its scale decides how many images and steps are taken.
            strict: a corrupt image is an error.
        """
        from ordinate.models.mlp import MLP

        images = open_images(data or "digits", strict=strict)
        return cls(
            images,
            partial(MLP, hidden=[256], num_features=64),
            (4, 8, 16, 32, 64),
            steps=setting.pick(smoke=100, full=1000),
            most_trained=setting.pick(smoke=2000, full=20_000),
            most_tested=setting.pick(smoke=500, full=5000),
        )

    def arm(self, name: str) -> Arm:
        """``nested``, ``nested-tied``, ``nested-boosted``, ``plain``, or ``fixed-M`` with a size M."""
        known = {
            "nested": nested(self.dims),
            "nested-tied": nested(self.dims, tied=True),
            "nested-boosted": nested(self.dims, weights="8boost"),
            "plain": plain(),
            **{f"fixed-{size}": fixed_feature(size) for size in self.dims[:-1]},
        }
        if name not in known:
            raise InputError(f"task {self.name!r} has no arm {name!r}: it has {', '.join(known)}")
        return Arm(name, known[name], role="method" if name.startswith("nested") else "baseline")


_PROBES = {
    "knn": "of held-out images whose nearest training image by the first {} features has their class",
    "linear": "of held-out images that a linear probe on the first {} features classifies rightly",
}


def take_some(source: Source, most: int | None, purpose: str) -> TensorSource:
    """At most `most` rows of a source, in memory; which they are is decided by `purpose` alone."""
    rows = torch.arange(len(source))
    if most is not None and most < len(rows):
        rows = torch.randperm(len(rows), generator=generator(purpose))[:most].sort().values
    return TensorSource(**source.take(rows))


def embed_source(encoder: VisionEncoder, source: TensorSource, device: str) -> tuple[Tensor, Tensor]:
    """The embeddings (N, d) of a source's images, on the CPU, and their labels (N,)."""
    images, labels = source.tensors["image"], source.tensors["label"]
    return torch.cat([encoder.embed(part.to(device)).cpu() for part in images.split(_AT_ONCE)]), labels


def _score_heads(encoder: nn.Module, objective: NestedClassification, z: Tensor, labels: Tensor, seed: int) -> dict[str, float]:
    """The nested classifiers on held-out embeddings: each size, the oracle, and the cascade."""
    device = next(encoder.parameters()).device
    probabilities = torch.stack(objective.logits(encoder, z.to(device))).softmax(dim=2).cpu()
    correct = probabilities.argmax(dim=2) == labels
    oracle = oracle_routing(correct, objective.dims)
    order = torch.randperm(len(labels), generator=generator(seed, "cascade"))
    held, rest = order[: len(order) // _HELD_OUT_SHARE], order[len(order) // _HELD_OUT_SHARE :]
    cascade = ConfidenceCascade(objective.dims).fit(probabilities[:, held], labels[held])
    predicted, levels = cascade.predict(probabilities[:, rest])
    return {
        **{f"head@{size}": 100 * float(right.double().mean()) for size, right in zip(objective.dims, correct, strict=True)},
        "oracle": 100 * oracle.accuracy,
        "oracle_gain": 100 * oracle.gain,
        "cascade": 100 * float((predicted == labels[rest]).double().mean()),
        "cascade_full": 100 * float(correct[-1, rest].double().mean()),
        "cascade_dim": cascade.expected_dim(levels),
        "cascade_dim_cumulative": cascade.expected_dim(levels, cumulative=True),
    }


TASKS = {NestedEmbeddings.name: NestedEmbeddings}
