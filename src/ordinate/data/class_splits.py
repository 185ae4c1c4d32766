r"""Image datasets cut and joined by class: classes that arrive in steps, a few images of each, coarse labels, long tails. All of it is seeded, and of any source of rows with a ``"label"``.

- *Class-incremental*: the classes, in a seeded order, in one first group and further ones of equal size (the protocol of Rebuffi et al., "iCaRL", 2017, section 4).
- *Coarse*: several classes under one label.
- *Long tail*: class c of C keeps the fraction :math:`\rho^{c/(C-1)}` of the rows of the largest class, from 1 for the first to :math:`\rho` for the last (Cui et al., "Class-Balanced Loss Based on Effective Number of Samples",
  2019, section 5.1, where :math:`1/\rho` is called the imbalance factor).
- *Symmetries*: an image that is turned by a quarter turn or mirrored is of another class, so that C classes make up to 8 C.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ordinate.data.batches import Batch, Source, Subset
from ordinate.ground.errors import InputError, some
from ordinate.ground.seeds import generator

__all__ = [
    "Relabelled",
    "coarse",
    "incremental_classes",
    "labels_of",
    "long_tail",
    "per_class",
    "symmetry_classes",
    "with_classes",
]

_AT_ONCE = 4096


class Relabelled(Source):
    """A source whose labels are other numbers.

    Args:
        source: rows with a ``"label"``.
        labels: the new label of each old one; a row whose label is not there cannot be taken.
    """

    def __init__(self, source: Source, labels: Mapping[int, int]) -> None:
        if not labels or min(labels) < 0:
            raise InputError("labels that are given new numbers must be 0 or more, and at least one of them")
        self.source = source
        self._new = torch.full((max(labels) + 1,), -1, dtype=torch.int64)
        self._new[torch.tensor(list(labels))] = torch.tensor(list(labels.values()), dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.source)

    def take(self, indices: Int64[Tensor, " batch"]) -> Batch:
        batch = self.source.take(indices)
        old = batch["label"]
        known = (old >= 0) & (old < len(self._new))
        new = torch.where(known, self._new[old.clamp(0, len(self._new) - 1)], -1)
        if bool((new < 0).any()):
            raise InputError(f"rows of class {some([str(each) for each in old[new < 0].unique().tolist()])} have no new label")
        return {**batch, "label": new}


def labels_of(source: Source) -> Int64[Tensor, " rows"]:
    """The labels of all rows, (N,) int64."""
    return torch.cat([source.take(part)["label"] for part in torch.arange(len(source)).split(_AT_ONCE)])


def incremental_classes(classes: int, first: int, step: int, *, seed: int | None = None) -> list[list[int]]:
    """The classes 0 to C - 1 in groups of `first`, then `step`, `step`, ...

    Args:
        classes: C.
        first: classes of the first group.
        step: classes of every further one.
        seed: of the classes' order; None takes them as they come.

    Raises:
        InputError: group sizes below 1, or that do not add up to C.
    """
    if first < 1 or step < 1 or first > classes or (classes - first) % step:
        raise InputError(f"{classes} classes cannot be cut into one group of {first} and further ones of {step}")
    order = torch.arange(classes) if seed is None else torch.randperm(classes, generator=generator("class order", seed))
    return [group.tolist() for group in (order[:first], *order[first:].split(step)) if len(group)]


def with_classes(source: Source, classes: Sequence[int], labels: Int64[Tensor, " rows"] | None = None) -> Subset:
    """The rows of some classes, in their order.

    Args:
        source: rows with a ``"label"``.
        classes: which.
        labels: of all rows, where they are known already.

    Raises:
        InputError: a class without rows.
    """
    labels = labels_of(source) if labels is None else labels
    absent = sorted(set(classes) - set(labels.unique().tolist()))
    if absent or not classes:
        raise InputError(f"there are no rows of class {some([str(each) for each in absent])}" if absent else "no classes were asked for")
    return Subset(source, torch.isin(labels, torch.tensor(list(classes))).nonzero()[:, 0])


def per_class(labels: Int64[Tensor, " rows"], count: int, *, seed: int = 0) -> Int64[Tensor, " chosen"]:
    """Rows of at most `count` of each class, chosen at random, ascending. What is chosen of a class does not depend on the others.

    Raises:
        InputError: fewer than one row a class.
    """
    if count < 1:
        raise InputError(f"each class keeps at least one row, not {count}")
    chosen = []
    for label in labels.unique().tolist():
        rows = (labels == label).nonzero()[:, 0]
        chosen.append(rows[torch.randperm(len(rows), generator=generator("per class", seed, label))[:count]])
    return torch.cat(chosen).sort().values


def coarse(source: Source, groups: Sequence[Sequence[int]]) -> Relabelled:
    """The rows under the numbers of their groups.

    Args:
        source: rows with a ``"label"``.
        groups: the classes of each coarse label; rows of other classes cannot be taken.

    Raises:
        InputError: no groups, or a class in two of them.
    """
    flat = [label for group in groups for label in group]
    if len(set(flat)) != len(flat):
        raise InputError("a class lies in one group only")
    return Relabelled(source, {label: number for number, group in enumerate(groups) for label in group})


def long_tail(labels: Int64[Tensor, " rows"], ratio: float, *, seed: int = 0) -> Int64[Tensor, " chosen"]:
    """Rows of a long-tailed subset, chosen at random, ascending: classes in the order of their numbers, the last with `ratio` times the rows of the first.

    Args:
        labels: (N,).
        ratio: rho, in (0, 1].
        seed: of the choice.

    Raises:
        InputError: a ratio outside (0, 1].
    """
    if not 0 < ratio <= 1:
        raise InputError(f"the last class has a part of the first one's rows, in (0, 1], not {ratio}")
    classes = labels.unique()
    largest = int(torch.bincount(labels).max())
    chosen = []
    for number, label in enumerate(classes.tolist()):
        count = max(1, round(largest * ratio ** (number / max(1, len(classes) - 1))))
        rows = (labels == label).nonzero()[:, 0]
        chosen.append(rows[torch.randperm(len(rows), generator=generator("long tail", seed, label))[:count]])
    return torch.cat(chosen).sort().values


def symmetry_classes(
    images: Float[Tensor, "rows channels side width"], labels: Int64[Tensor, " rows"], classes: int, symmetries: int = 8, *, seed: int = 0
) -> tuple[Float[Tensor, "rows channels side width"], Int64[Tensor, " rows"]]:
    """Square images, each under one of the symmetries of the square, drawn at random: S C classes out of C.

    Args:
        images: (N, C, H, H).
        labels: (N,), below `classes`.
        classes: how many there are.
        symmetries: S: turned by 0, 90, 180 and 270 degrees, then mirrored and turned so.
        seed: of the draw.

    Returns:
        The images and labels (N,): under the s-th symmetry, s times `classes` more.

    Raises:
        InputError: another number of symmetries, or images that are not square.
    """
    if not 1 <= symmetries <= 8 or images.shape[2] != images.shape[3]:
        raise InputError(f"a square has eight symmetries: {symmetries} were asked for, of images of {images.shape[2]}x{images.shape[3]}")
    which = torch.randint(symmetries, (len(images),), generator=generator("symmetry", seed))
    found = images.clone()
    for s in range(1, symmetries):
        mine = images[which == s]
        found[which == s] = torch.rot90(mine if s < 4 else mine.flip(3), s % 4, (2, 3))
    return found, labels + which * classes
