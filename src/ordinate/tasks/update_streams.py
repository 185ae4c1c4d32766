"""Streams of data that update a model: what each version is trained on, and the classes and images that all versions are compared on.

Three scenarios: *retrain*, each version from scratch on more data or more classes; *sequential*, each version fine-tuned from the last on new classes with exemplars of the old; *replacement*, the same, with some versions
fine-tuned from a model that somebody else published, trained on more classes of their own each time.

`TurnedDigits` makes a stream out of MNIST or of the smaller digits of scikit-learn, each digit under each symmetry of the square a class of its own, so that there are up to 80. `Cifar` is the protocol of the paper, IAM-CL2R: CIFAR-100 arrives class by class, and CIFAR-10,
none of whose classes is trained, is what versions are compared on.

Source: Biondi et al., "Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model Replacements", 2024, and its code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ordinate.data.augment import Augmentation, Compose, HorizontalFlip, PadCrop
from ordinate.data.batches import Source, Subset, TensorSource
from ordinate.data.class_splits import Relabelled, incremental_classes, labels_of, per_class, symmetry_classes, with_classes
from ordinate.data.home import data_folder
from ordinate.data.images import open_images
from ordinate.ground.errors import InputError, MissingError, choose
from ordinate.ground.seeds import derive, generator

__all__ = ["SCENARIOS", "Cifar", "Published", "Stage", "Stream", "Streams", "TurnedDigits"]

SCENARIOS = ("retrain", "sequential", "replacement")
_DIGITS = 10


@dataclass(frozen=True)
class Published:
    """What a replacement is made of.

    Attributes:
        source: what its publisher trains it on, or None where it comes as files.
        classes: of the publisher, which have the first rows of the table.
        checkpoints: files of the released format by the kind of classifier, ``"simplex"`` or ``"learnable"``.
    """

    source: Source | None = None
    classes: int = 0
    checkpoints: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """What one version is trained on.

    Attributes:
        train: rows whose labels are the classes' numbers in the order in which they arrive.
        classes: how many classes have arrived: labels lie below it.
        published: the model it is fine-tuned from, in place of the last version.
    """

    train: Source
    classes: int
    published: Published | None = None


@dataclass(frozen=True)
class Stream:
    """A stream at one seed.

    Attributes:
        stages: oldest first.
        tests: (queries, gallery) by name: ``"open"``, of classes that no version is trained on, and ``"trained"``.
        from_scratch: whether each version begins anew.
        shape: of an image, (C, H, W).
        quota: exemplars of each class that later versions rehearse.
        augment: of the training images.
    """

    stages: tuple[Stage, ...]
    tests: dict[str, tuple[Source, Source]]
    from_scratch: bool
    shape: tuple[int, int, int]
    quota: int = 20
    augment: Augmentation | None = None


@runtime_checkable
class Streams(Protocol):
    """A family of streams, one a seed."""

    @property
    def title(self) -> str:
        """For people."""
        ...

    def draw(self, seed: int, folder: Path | None) -> Stream:
        """The stream of a seed, from data in `folder`."""
        ...


@dataclass(frozen=True)
class TurnedDigits:
    """Images of digits, each under one symmetry of the square, drawn at random.

    Attributes:
        scenario: see the module.
        groups: new classes of each version; 0 where only the images become more.
        images: training images of each version: in the scenario ``"retrain"`` of all classes so far, else of the new ones.
        unseen: classes of the open set.
        symmetries: how many of a digit's symmetries are classes of their own.
        quota: exemplars of each class.
        published: (version, classes, images) of every replacement; publishers' classes are none of the stream's.
        in_order: digits arrive as they are counted; otherwise classes are dealt out anew for each seed.
        tested: queries of each class, and as many rows of the gallery.
        data: ``"mnist"`` or ``"digits"``.
    """

    scenario: str
    groups: tuple[int, ...]
    images: tuple[int, ...]
    unseen: int
    symmetries: int = 4
    quota: int = 20
    published: tuple[tuple[int, int, int], ...] = ()
    in_order: bool = False
    tested: int = 50
    data: str = "mnist"

    def __post_init__(self) -> None:
        choose("scenario", self.scenario, SCENARIOS)
        needed = sum(self.groups) + self.unseen + max((classes for _, classes, _ in self.published), default=0)
        if needed > self.symmetries * _DIGITS:
            raise InputError(
                f"{needed} classes are needed, and {self.symmetries} symmetries of {_DIGITS} digits make {self.symmetries * _DIGITS}"
            )
        if len(self.groups) != len(self.images) or not self.groups or self.groups[0] < 1:
            raise InputError("each version needs its number of new classes and of images, the first at least one class")

    @property
    def title(self) -> str:
        """For people."""
        return f"Updates on turned digits, {self.scenario}"

    def draw(self, seed: int, folder: Path | None) -> Stream:
        """The stream of a seed.

        Raises:
            MissingError: MNIST is asked for and not at hand.
            InputError: there are fewer images than are asked for.
        """
        total = self.symmetries * _DIGITS
        order = list(range(total)) if self.in_order else torch.randperm(total, generator=generator("turned digits", seed)).tolist()
        own, rest = order[: sum(self.groups)], order[sum(self.groups) :]
        opened, others = rest[: self.unseen], rest[self.unseen :]
        images, labels = _turned(self.data, "train", self.symmetries, self._needed(total), seed, folder)
        mine = _numbered(images, labels, own)
        stages = []
        for number, (size, count) in enumerate(zip(self.groups, self.images, strict=True)):
            known = sum(self.groups[: number + 1])
            first = 0 if self.scenario == "retrain" else known - size
            published = [(classes, most) for at, classes, most in self.published if at == number]
            model = (
                Published(_some(_numbered(images, labels, others), 0, published[0][0], published[0][1]), published[0][0])
                if published
                else None
            )
            stages.append(Stage(_some(mine, first, known, count), known, model))
        tested, answers = _turned(self.data, "test", self.symmetries, 10_000, seed, folder)
        tests = {
            name: _halves(_numbered(tested, answers, classes), self.tested, seed) for name, classes in (("open", opened), ("trained", own))
        }
        channels, height, width = images.shape[1:]
        return Stream(tuple(stages), tests, self.scenario == "retrain", (channels, height, width), self.quota)

    def _needed(self, total: int) -> int:
        """Images to be turned so that there are enough of each group's classes, with a tenth to spare for chance."""
        shares = [
            (count, sum(self.groups[: n + 1]) if self.scenario == "retrain" else self.groups[n]) for n, count in enumerate(self.images)
        ]
        shares += [(count, classes) for _, classes, count in self.published]
        return min(60_000, max(int(1.15 * count * total / classes) + 200 for count, classes in shares))


@lru_cache(maxsize=4)
def _digits(name: str, split: str, count: int, folder: Path | None) -> tuple[Tensor, Tensor]:
    data = open_images(name, folder=folder)
    source = data.train if split == "train" else data.test
    rows = torch.randperm(len(source), generator=generator("turned digits", split))[:count]
    batch = source.take(rows)
    return batch["image"], batch["label"]


def _turned(name: str, split: str, symmetries: int, count: int, seed: int, folder: Path | None) -> tuple[Tensor, Tensor]:
    images, labels = _digits(name, split, count, folder)
    return symmetry_classes(images, labels, _DIGITS, symmetries, seed=derive(split, seed))


def _numbered(images: Tensor, labels: Tensor, classes: list[int]) -> TensorSource:
    """The rows of some classes, under their numbers in the list."""
    rows = torch.isin(labels, torch.tensor(classes)).nonzero()[:, 0]
    number = torch.full((int(labels.max()) + 1,), -1)
    number[torch.tensor(classes)] = torch.arange(len(classes))
    return TensorSource(image=images[rows], label=number[labels[rows]])


def _some(source: TensorSource, first: int, last: int, count: int) -> TensorSource:
    """The first `count` rows whose labels are at least `first` and below `last`."""
    labels = source.tensors["label"]
    rows = ((labels >= first) & (labels < last)).nonzero()[:count, 0]
    if len(rows) < count:
        raise InputError(f"{count} images of {last - first} classes were asked for, and there are {len(rows)}")
    return TensorSource(**source.take(rows))


def _halves(source: Source, count: int, seed: int) -> tuple[Source, Source]:
    """Up to `count` queries and `count` rows of a gallery of each class; a single image goes to the gallery."""
    labels = labels_of(source)
    rows = per_class(labels, 2 * count, seed=seed)
    place = torch.zeros(len(rows), dtype=torch.int64)  # the rank of each row within its class
    for label in labels[rows].unique():
        mine = labels[rows] == label
        place[mine] = torch.arange(int(mine.sum()))
    return Subset(source, rows[place % 2 == 1]), Subset(source, rows[place % 2 == 0])


@dataclass(frozen=True)
class Cifar:
    """CIFAR-100 in `1 + (100 - first) / step` groups of classes, compared on CIFAR-10, with the released networks as replacements.

    Attributes:
        first: classes of the first version.
        step: of each further one.
        replaced: the versions that are fine-tuned from the next of the released networks; the first version begins from the first of them.
        count: training images of each class.
        quota: exemplars of each class.
    """

    first: int = 10
    step: int = 15
    replaced: tuple[int, ...] = (2, 4)
    count: int = 300
    quota: int = 20

    @property
    def title(self) -> str:
        """For people."""
        return f"Updates on CIFAR-100, compared on CIFAR-10, {1 + (100 - self.first) // self.step} versions"

    def draw(self, seed: int, folder: Path | None) -> Stream:
        """The stream of a seed, which decides on the order of the classes and on the images.

        Raises:
            MissingError: the images or the released networks are not at hand.
        """
        place = data_folder(folder)
        if not (place / "cifar100" / "train.parquet").is_file():
            raise MissingError(
                f"CIFAR-100 is not in {place}: put its tables there as cifar100/train.parquet and cifar100/test.parquet, with the columns img and label"
            )
        hundred, ten = open_images(place / "cifar100"), open_images("cifar10", folder=folder)
        groups = incremental_classes(100, self.first, self.step, seed=seed)
        order = [label for group in groups for label in group]
        chosen = Subset(hundred.train, per_class(labels_of(hundred.train), self.count, seed=seed))
        renumbered = Relabelled(chosen, {label: number for number, label in enumerate(order)})
        labels, known, stages = labels_of(renumbered), 0, []
        for number, group in enumerate(groups):
            classes = range(known, known + len(group))
            known += len(group)
            stages.append(Stage(with_classes(renumbered, classes, labels), known, self._published(number, place)))
        tests: dict[str, tuple[Source, Source]] = {
            "open": (ten.train, ten.test),
            "trained": _halves(Relabelled(hundred.test, {label: number for number, label in enumerate(order)}), 50, seed),
        }
        return Stream(tuple(stages), tests, False, hundred.shape, self.quota, Compose(PadCrop(4), HorizontalFlip()))

    def _published(self, number: int, place: Path) -> Published | None:
        starts = (0, *self.replaced)
        if number not in starts:
            return None
        which = starts.index(number)
        files = {kind: place / "iamcl2r" / kind / f"ckpt_{which}.pt" for kind in ("simplex", "learnable")}
        absent = [path for path in files.values() if not path.is_file()]
        if absent:
            raise MissingError(
                f"the released network {absent[0]} is not there: unpack pretrained_models_ckpts of github.com/miccunifi/iamcl2r in its folder"
            )
        return Published(checkpoints=files)
