"""Class transfer: networks trained on some classes of a dataset, and what their frozen vectors are good for on the other classes, of which few labels are given.

Every arm is a way to spend the same trainings. Members are networks that differ in their seed alone; all arms of one seed share them. Widened networks have as many parameters as the members together; jointly trained ones have their very architecture.
On the source and on the target a logistic probe is fitted on each arm's vectors, its penalty chosen on held-out rows.

Source: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023, with the classes of one dataset in place of ImageNet and other datasets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from ordinate.adapt.concat import Concat, logit_ensemble
from ordinate.adapt.distil import Distillation, teacher_logits
from ordinate.adapt.members import train_members, train_members_at_once, train_snapshots
from ordinate.analyze.few_shot import episode_accuracy
from ordinate.analyze.linear_probe import LinearProbe
from ordinate.analyze.redundancy import redundancy
from ordinate.analyze.sliced_probe import SlicedProbe
from ordinate.data.augment import Augmentation, ColourJitter, Compose, HorizontalFlip, ResizedCrop, Views
from ordinate.data.batches import Shuffled, TensorSource
from ordinate.data.images import ImageData, open_images
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive, generator
from ordinate.models.base import VisionEncoder
from ordinate.models.convnet import ConvNet
from ordinate.models.encoding import Classifier, encode_all
from ordinate.models.mlp import MLP
from ordinate.models.resnet import ResNet
from ordinate.objectives.base import create_objective
from ordinate.tasks.training import make_seeded
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe

__all__ = ["FAMILIES", "PENALTIES", "TASKS", "ClassTransfer", "Pretraining", "Split", "parameters_of"]


def _perceptron(width: int, **fitted: Any) -> VisionEncoder:
    """Four hidden layers, and half as many features."""
    return MLP(hidden=(width,) * 4, num_features=max(1, width // 2), **fitted)


def _shallow(width: int, **fitted: Any) -> VisionEncoder:
    """One hidden layer, and half as many features."""
    return MLP(hidden=(width,), num_features=max(1, width // 2), **fitted)


def _convolutional(width: int, **fitted: Any) -> VisionEncoder:
    """Three stages, and as many features as channels in the last."""
    return ConvNet.small(width, **fitted)


def _residual(width: int, **fitted: Any) -> VisionEncoder:
    """Four stages of two blocks."""
    return ResNet(widths=width, **fitted)


PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""That every probe chooses from."""

FAMILIES: dict[str, Callable[..., VisionEncoder]] = {
    "perceptron": _perceptron,
    "shallow": _shallow,
    "convnet": _convolutional,
    "resnet": _residual,
}
"""Networks of one width, made from it and `num_classes`, `image_size`, `in_chans`."""


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W) and labels (N,), counted from 0, of some classes of a dataset: of the source to train on and to test with, and of the target to learn from and to test with."""

    source: TensorSource
    source_test: TensorSource
    target: TensorSource
    target_test: TensorSource
    classes: int
    target_classes: int


@lru_cache(maxsize=4)
def _opened(name: str) -> ImageData:
    return open_images(name)


def _rows(data: ImageData, labels: range, most: int, *, test: bool) -> TensorSource:
    whole = data.test if test else data.train
    chance = generator("class transfer", int(test), labels.start)
    order = torch.randperm(len(whole), generator=chance)
    kept: list[dict[str, Tensor]] = []
    for part in order.split(2048):  # read until there are enough: a dataset may be large
        batch = whole.take(part)
        mine = (batch["label"] >= labels.start) & (batch["label"] < labels.stop)
        kept.append({name: tensor[mine] for name, tensor in batch.items()})
        if sum(len(each["label"]) for each in kept) >= most:
            break
    image, label = (torch.cat([each[name] for each in kept])[:most] for name in ("image", "label"))
    if not len(label):
        raise InputError(f"{data.name} has no images of classes {labels.start} to {labels.stop - 1}")
    return TensorSource(image=image, label=label - labels.start)


@dataclass(frozen=True)
class Pretraining:
    """How members are trained on the source.

    Attributes:
        data: a dataset of images, by name or path; the first half of its classes is the source, the other the target.
        family: of `FAMILIES`.
        width: of a member.
        steps, batch_size, lr: of every training, by AdamW with a cosine schedule.
        objective: ``"classification"``, or ``"contrastive"`` without labels.
        images: of the source, at most.
        labels: of the target, at most: images that probes are fitted on.
        tested: images of each that probes are scored on, at most.
        snapshot_lr: the constant rate at which snapshots are taken.
        together: members that are trained for a seed, from which fewer are taken.
        device: where networks are trained.
    """

    data: str
    family: str
    width: int
    steps: int
    batch_size: int = 128
    lr: float = 3e-3
    objective: str = "classification"
    images: int = 4000
    labels: int = 500
    tested: int = 2000
    snapshot_lr: float = 3e-3
    together: int = 5
    device: str = "cpu"

    @property
    def split(self) -> Split:
        """The images: the same for every seed."""
        return _split(self)

    def network(self, width: int | None = None) -> VisionEncoder:
        """A network of the family with a head for the source's classes; a member's width by default."""
        data = _opened(self.data)
        channels, side, _ = data.shape
        return FAMILIES[choose("family", self.family, FAMILIES)](
            width or self.width, num_classes=len(data.classes) // 2, image_size=side, in_chans=channels
        )

    def wide_width(self, n: int) -> int:
        """The width at which one network has as many parameters as n members, as nearly as whole widths allow."""
        wanted = n * parameters_of(self.network())
        low, high = self.width, self.width * n
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if parameters_of(self.network(middle)) <= wanted else (low, middle)
        return min((low, high), key=lambda width: abs(parameters_of(self.network(width)) - wanted))

    def recipe(self) -> Recipe:
        """Of every training."""
        return Recipe(steps=self.steps, lr=self.lr, warmup=min(20, self.steps))

    def batches(self, seed: int) -> Shuffled:
        """The source in an order of the seed; in two views where training is contrastive."""
        return Shuffled(self.split.source, min(self.batch_size, len(self.split.source)), seed, augment=self._augmentation())

    def _augmentation(self) -> Augmentation | None:
        if self.objective != "contrastive":
            return None
        data = _opened(self.data)
        changes: list[Augmentation] = [ResizedCrop((0.3, 1.0))]
        if data.shape[0] == 3:
            changes += [HorizontalFlip(), ColourJitter(mean=data.mean, std=data.std)]
        return Views(query=Compose(*changes), key=Compose(*changes))

    def train(self, network: nn.Module, seed: int, recipe: Recipe | None = None) -> None:
        """Train a network on the source, in place."""
        fit(
            network,
            create_objective(self.objective, network),
            self.batches(seed),
            recipe or self.recipe(),
            seed=seed,
            device=self.device,
        )

    def members(self, n: int, seed: int) -> list[nn.Module]:
        """n members of a seed, the same whoever asks: the first few of n are those of fewer."""
        return list(_trained(self, max(n, self.together), seed))[:n]

    def snapshots(self, n: int, seed: int) -> list[nn.Module]:
        """n snapshots of one training."""
        network = make_seeded(self.network, seed)
        recipe = replace(self.recipe(), lr=self.snapshot_lr, schedule="constant")
        objective = create_objective(self.objective, network)
        return train_snapshots(network, objective, self.batches(seed), recipe, n, seed=seed, device=self.device)

    def wide(self, n: int, seed: int) -> nn.Module:
        """One network with as many parameters as n members."""
        return _wide(self, n, seed)

    def joint(self, n: int, seed: int) -> nn.Module:
        """n members with one head, trained as one network from scratch; its vectors."""
        return _joint(self, n, seed)

    def distilled(self, n: int, seed: int, *, wide: bool = False) -> nn.Module:
        """A network of a member's size, or `wide` as n members, that imitates n members on the source's images without their labels."""
        images = self.split.source.tensors["image"]
        logits = teacher_logits(self.members(n, seed), images)
        student = make_seeded(partial(self.network, self.wide_width(n) if wide else None), derive(seed, "student"))
        aim = make_seeded(partial(Distillation, student.num_features, logits.shape[2], n), seed)
        batches = Shuffled(TensorSource(image=images, teachers=logits), min(self.batch_size, len(images)), seed)
        fit(student, aim, batches, self.recipe(), seed=seed, device=self.device)
        return student.cpu()


def parameters_of(module: nn.Module) -> int:
    """How many numbers a module's parameters hold."""
    return sum(parameter.numel() for parameter in module.parameters())


@lru_cache(maxsize=4)
def _split(plan: Pretraining) -> Split:
    data = _opened(plan.data)
    half = len(data.classes) // 2
    if half < 2:
        raise InputError(f"{plan.data} has {len(data.classes)} classes: half of them must be two or more")
    a, b = range(half), range(half, len(data.classes))
    return Split(
        _rows(data, a, plan.images, test=False),
        _rows(data, a, plan.tested, test=True),
        _rows(data, b, plan.labels, test=False),
        _rows(data, b, plan.tested, test=True),
        len(a),
        len(b),
    )


@lru_cache(maxsize=8)
def _trained(plan: Pretraining, n: int, seed: int) -> tuple[nn.Module, ...]:
    seeds = [derive(seed, "member", number) for number in range(n)]
    if plan.family in ("convnet", "resnet"):  # batch statistics are a member's own, and convolutions fill a device
        return tuple(train_members(plan.network, plan.train, seeds, devices=[plan.device]))
    objective = create_objective(plan.objective, plan.network())
    return tuple(train_members_at_once(plan.network, objective, plan.batches, plan.recipe(), seeds, device=plan.device))


@lru_cache(maxsize=8)
def _wide(plan: Pretraining, n: int, seed: int) -> nn.Module:
    network = make_seeded(partial(plan.network, plan.wide_width(n)), seed)
    plan.train(network, seed)
    return network.cpu().eval()


@lru_cache(maxsize=8)
def _joint(plan: Pretraining, n: int, seed: int) -> nn.Module:
    def make() -> Classifier:
        concat = Concat([plan.network() for _ in range(n)], freeze=False)
        return Classifier(concat, nn.Linear(concat.num_features, plan.split.classes))

    network = make_seeded(make, seed)
    plan.train(network, seed)
    return network.encoder.cpu().eval()


Representation = Callable[[int], list[nn.Module]]
"""From a seed to encoders whose vectors are laid side by side."""


@dataclass(frozen=True)
class Contender:
    """What an arm is judged by.

    Attributes:
        encoders: gives the encoders of a seed.
        apart: judge each encoder by itself and average the accuracies: what one training is worth, with less noise than of one.
        slices: cut the vectors into this many equal slices, with a probe each that vote; 0 probes the whole.
        ensemble: on the source, the mean of the encoders' own logits is what counts.
    """

    encoders: Representation
    apart: bool = False
    slices: int = 0
    ensemble: bool = False


class ClassTransfer(Task):
    """Accuracy of probes on the source and on the target. An arm's `make` takes nothing and gives a `Contender`."""

    name = "class-transfer"

    def __init__(self, plan: Pretraining, n: int, *, episodes: int = 0, redundant: int = 0) -> None:
        """
        Args:
            plan: how networks are trained.
            n: members of the largest concatenation.
            episodes: few-shot episodes on the target's test images, with a cosine head; 0 for none.
            redundant: report how redundant the first so many members are; 0 for none.
        """
        self.plan = plan
        self.n = n
        self.episodes = episodes
        self.redundant = redundant
        self.title = f"From one half of the classes of {plan.data} to the other"
        shots = [
            Metric(f"{shot}-shot", "%", meaning=f"accuracy of a cosine head in episodes on the target's classes, {shot} images of each")
            for shot in ((1, 5) if episodes else ())
        ]
        self.metrics = (
            Metric("source", "%", meaning="of test images of the classes trained on, by a logistic probe"),
            Metric("target", "%", meaning=f"of test images of the other classes, by a logistic probe on {plan.labels} labels"),
            *shots,
        )

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "ClassTransfer":
        """On a named dataset or a folder with one subfolder a class, of four or more classes.

        Args:
            data: ``"digits"`` by default.
            setting: its scale decides on steps and sizes, and whether networks are perceptrons or convolutional.
            strict: a corrupt image is an error.

        Raises:
            InputError: no such data, or images that are not square.
        """
        name = data or "digits"
        images = open_images(name, strict=strict)
        if images.shape[1] != images.shape[2]:
            raise InputError(
                f"{name} has images of {images.shape[1]}x{images.shape[2]}: bring them to a square, {name}@{min(images.shape[1:])}"
            )
        grey = images.shape[0] == 1
        plan = Pretraining(
            name,
            "perceptron" if grey else "convnet",
            setting.pick(smoke=32 if grey else 8, full=32 if grey else 16),
            steps=setting.pick(smoke=100, full=470, gpu=5000),
            images=setting.pick(smoke=1000, full=4000, gpu=50_000),
            device=setting.device,
        )
        return cls(plan, 4)

    def arm(self, name: str) -> Arm:
        """``one``, ``cat-N``, ``snapshots-N``, ``distill-N``, ``distill-wide-N``, ``wide-N``, ``joint-N``, ``ensemble-N``, ``sliced-wide-N``, each for N members."""
        kind, _, count = name.rpartition("-")
        plan, n = self.plan, int(count) if count.isdigit() else 1
        known: dict[str, tuple[Contender, str]] = {
            "cat": (Contender(lambda seed: plan.members(n, seed)), "vectors of n networks side by side"),
            "snapshots": (Contender(lambda seed: plan.snapshots(n, seed)), "of n snapshots of one training"),
            "distill": (Contender(lambda seed: [plan.distilled(n, seed)]), "one network that imitates n"),
            "distill-wide": (
                Contender(lambda seed: [plan.distilled(n, seed, wide=True)]),
                "one network with the parameters of n that imitates n",
            ),
            "wide": (Contender(lambda seed: [plan.wide(n, seed)]), "one wider network with the parameters of n"),
            "joint": (Contender(lambda seed: [plan.joint(n, seed)]), "n networks with one head, trained as one"),
            "ensemble": (Contender(lambda seed: plan.members(n, seed), slices=n, ensemble=True), "n networks that vote"),
            "sliced-wide": (Contender(lambda seed: [plan.wide(n, seed)], slices=n), "n slices of the wider network that vote"),
        }
        if name == "one":
            every = Contender(lambda seed: plan.members(self.n, seed), apart=True)
            return Arm(name, lambda: every, role="baseline", note="one network; the mean over the members")
        if kind not in known or n < 1:
            raise InputError(f"task {self.name!r} has no arm {name!r}: it has one, and {', '.join(f'{each}-{self.n}' for each in known)}")
        contender, note = known[kind]
        role = "method" if kind in ("cat", "snapshots", "distill") else "ablation" if kind == "distill-wide" else "baseline"
        return Arm(name, lambda: contender, role=role, note=note)  # type: ignore[arg-type]  # one of the literals

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train, or take what has been trained for the same seed, and probe."""
        contender: Contender = arm.make()
        encoders = contender.encoders(run.seed)
        plan, split = self.plan, self.plan.split
        parts = [
            [encode_all(encoder, source.tensors["image"]) for source in (split.source, split.source_test, split.target, split.target_test)]
            for encoder in encoders
        ]
        groups = [[each] for each in parts] if contender.apart else [parts]
        joined = [[torch.cat(column, dim=1) for column in zip(*group, strict=True)] for group in groups]
        scored = [self._score(contender, each, run.seed) for each in joined]
        metrics = {name: sum(each[name] for each in scored) / len(scored) for name in scored[0]}
        if contender.ensemble and plan.objective == "classification":
            images, labels = split.source_test.tensors["image"], split.source_test.tensors["label"]
            right = logit_ensemble(list(teacher_logits(encoders, images).unbind(dim=1))).argmax(dim=1) == labels
            metrics["source"] = 100 * float(right.double().mean())
        notes = self._redundancy(parts) if self.redundant and arm.name == f"cat-{self.n}" else {}
        size = sum(map(parameters_of, encoders)) // (len(encoders) if contender.apart else 1)
        return Outcome(metrics, parameters=size, notes=notes)

    def _score(self, contender: Contender, vectors: Sequence[Tensor], seed: int) -> dict[str, float]:
        """The metrics, from the vectors of the source's images, its test images, the target's and its test images."""
        a, a_test, b, b_test = vectors
        split, found = self.plan.split, {}
        widths = [len(part) for part in torch.arange(a.shape[1]).tensor_split(max(1, contender.slices))]
        for name, x, fitted, tested, judged in (
            ("source", a, split.source, a_test, split.source_test),
            ("target", b, split.target, b_test, split.target_test),
        ):
            probe = SlicedProbe(widths, PENALTIES) if contender.slices else LinearProbe(PENALTIES)
            probe.fit(x.numpy(), fitted.tensors["label"].numpy())
            found[name] = 100 * float(probe.score(tested.numpy(), judged.tensors["label"].numpy()))
        if self.episodes:
            centred = b_test - b.mean(dim=0)  # angles are told from the mean of the target, which needs no labels
            for shots in (1, 5):
                result = episode_accuracy(
                    centred,
                    split.target_test.tensors["label"],
                    ways=min(5, split.target_classes),
                    shots=shots,
                    episodes=self.episodes,
                    seed=seed,
                )
                found[f"{shots}-shot"] = 100 * result.mean
        return found

    def _redundancy(self, parts: Sequence[Sequence[Tensor]]) -> dict[str, Any]:
        split, chosen = self.plan.split, parts[: self.redundant]
        found = {}
        for name, at, (fitted, judged) in (
            ("source", 0, (split.source, split.source_test)),
            ("target", 2, (split.target, split.target_test)),
        ):
            found[name] = redundancy(
                [each[at] for each in chosen],
                fitted.tensors["label"],
                [each[at + 1] for each in chosen],
                judged.tensors["label"],
                l2=PENALTIES,
            ).to_json()
        return {"redundancy": found}


TASKS = {ClassTransfer.name: ClassTransfer}
