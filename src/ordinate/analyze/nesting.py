"""What a nested embedding knows at each of its sizes.

- `oracle_routing`: if one knew for every item which size is right (the smallest of them is its oracle dimension), how accurate would the model be?
- `class_trend`: how the accuracy of each class moves as the size grows; some classes are best at a small one.
- `superclass_accuracy`: whether coarse classes survive at sizes that lose the fine ones.
- `size_curve`: a probe's accuracy at each size, trained or in between; `few_shot_curve` is that with a few examples a class.

Source: Kusupati et al., "Matryoshka Representation Learning", 2022, section 5 and appendices D, G and J.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ordinate.analyze.probes import ClassMeanProbe, NeighbourProbe
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.nn.nested_head import check_dims

__all__ = ["ClassTrend", "OracleRouting", "class_trend", "few_shot_curve", "oracle_routing", "size_curve", "superclass_accuracy"]


@dataclass(frozen=True)
class OracleRouting:
    """The bound that routing every item to the right size would reach.

    Attributes:
        accuracy: the fraction of items that are right at any size.
        full_accuracy: the fraction that are right at the full size.
        wrong_everywhere: 1 - accuracy.
        answered_by: size -> the fraction of all items whose smallest right size it is.
        expected_dim: the mean of the smallest right sizes, over the items that have one.
    """

    accuracy: float
    full_accuracy: float
    wrong_everywhere: float
    answered_by: dict[int, float]
    expected_dim: float

    @property
    def gain(self) -> float:
        """What the oracle adds to the full size."""
        return self.accuracy - self.full_accuracy


def oracle_routing(correct: Bool[Tensor, "sizes items"], dims: Sequence[int]) -> OracleRouting:
    """Route every item to the smallest size that is right.

    Args:
        correct: (G, N), whether each size is right.
        dims: the sizes, ascending.

    Raises:
        InputError: other than G sizes, or no items.
    """
    sizes = check_dims(dims)
    if correct.ndim != 2 or len(correct) != len(sizes) or not correct.shape[1]:
        raise InputError(f"{len(sizes)} sizes need answers ({len(sizes)}, items), not {tuple(correct.shape)}")
    any_right = correct.any(dim=0)
    first = correct.int().argmax(dim=0)[any_right]  # of equal values, the first
    counts = torch.bincount(first, minlength=len(sizes))
    of_size = torch.tensor(sizes, dtype=torch.float64)
    return OracleRouting(
        accuracy=float(any_right.double().mean()),
        full_accuracy=float(correct[-1].double().mean()),
        wrong_everywhere=float((~any_right).double().mean()),
        answered_by={size: int(count) / correct.shape[1] for size, count in zip(sizes, counts, strict=True)},
        expected_dim=float(of_size[first].mean()) if len(first) else float("nan"),
    )


@dataclass(frozen=True)
class ClassTrend:
    """How the accuracy of each class moves with the size.

    Attributes:
        accuracy: (G, C) float64; NaN for a class without items.
        slope: (C,) float64, of a line through the accuracies over the sizes' places (accuracy a doubling, for sizes that double).
        best: (C,) int64, the place of the smallest size at which the class is most accurate.
    """

    accuracy: Float[Tensor, "sizes classes"]
    slope: Float[Tensor, " classes"]
    best: Int[Tensor, " classes"]


def class_trend(predictions: Int[Tensor, "sizes items"], labels: Int[Tensor, " items"], num_classes: int) -> ClassTrend:
    """The accuracy of each class at each size.

    Args:
        predictions: (G, N).
        labels: (N,).
        num_classes: C.

    Raises:
        InputError: shapes that do not fit, or a label of no class.
    """
    _check_labels(predictions, labels, num_classes)
    correct = (predictions == labels).double()
    counts = torch.bincount(labels, minlength=num_classes).double()
    accuracy = torch.zeros(len(predictions), num_classes, dtype=torch.float64).index_add_(1, labels, correct) / counts
    places = torch.arange(len(predictions), dtype=torch.float64)
    centred = places - places.mean()
    slope = centred @ accuracy / centred.square().sum() if len(predictions) > 1 else torch.zeros(num_classes, dtype=torch.float64)
    highest = accuracy.nan_to_num(-1.0)
    return ClassTrend(accuracy, slope, (highest == highest.amax(dim=0)).int().argmax(dim=0))


def superclass_accuracy(
    predictions: Int[Tensor, "sizes items"], labels: Int[Tensor, " items"], superclass: Int[Tensor, " classes"]
) -> Float[Tensor, " sizes"]:
    """The fraction (G,), float64, of items whose predicted class lies in the right superclass.

    Args:
        predictions: (G, N).
        labels: (N,).
        superclass: (C,), the superclass of each class; -1 leaves a class's items out.

    Raises:
        InputError: shapes that do not fit, a label of no class, or no item in a superclass.
    """
    _check_labels(predictions, labels, len(superclass))
    kept = superclass[labels] >= 0
    if not kept.any():
        raise InputError("no item belongs to a superclass")
    return (superclass[predictions[:, kept]] == superclass[labels[kept]]).double().mean(dim=1)


def size_curve(
    train: Float[Tensor, "train_items dim"],
    train_labels: Int[Tensor, " train_items"],
    test: Float[Tensor, "test_items dim"],
    test_labels: Int[Tensor, " test_items"],
    sizes: Sequence[int],
    make_probe: Callable[[], Any] = NeighbourProbe,
) -> dict[int, float]:
    """A probe's accuracy on the prefixes of test embeddings, at each size: 1-NN by default. Sizes between the trained ones may be asked for.

    Args:
        train: (N, d), what the probe is fitted on.
        train_labels: (N,).
        test: (M, d).
        test_labels: (M,).
        sizes: each in 1..d.
        make_probe: makes an estimator with `fit` and `predict`.

    Raises:
        InputError: sizes out of range.
    """
    if not sizes or min(sizes) < 1 or max(sizes) > train.shape[1]:
        raise InputError(f"sizes must lie between 1 and {train.shape[1]}, not {list(sizes)}")
    found = {}
    for size in sizes:
        probe = make_probe().fit(train[:, :size].cpu(), train_labels.cpu())
        found[size] = float((torch.as_tensor(probe.predict(test[:, :size].cpu())) == test_labels.cpu()).double().mean())
    return found


def few_shot_curve(
    train: Float[Tensor, "train_items dim"],
    train_labels: Int[Tensor, " train_items"],
    test: Float[Tensor, "test_items dim"],
    test_labels: Int[Tensor, " test_items"],
    sizes: Sequence[int],
    shots: int = 5,
    seed: int = 0,
) -> dict[int, float]:
    """The accuracy at each size of nearest class means that are taken from `shots` training embeddings a class, chosen by `seed`.

    Raises:
        InputError: sizes out of range, or a class with fewer embeddings than `shots`.
    """
    counts = torch.bincount(train_labels)
    if shots < 1 or int(counts[counts > 0].min()) < shots:
        raise InputError(
            f"every class must have at least {shots} training embeddings (and 1 is the least): the smallest has {int(counts[counts > 0].min())}"
        )
    order = torch.randperm(len(train_labels), generator=generator(seed, "shots"))
    chosen = torch.cat([order[train_labels[order] == label][:shots] for label in train_labels.unique()])
    return size_curve(train[chosen], train_labels[chosen], test, test_labels, sizes, ClassMeanProbe)


def _check_labels(predictions: Tensor, labels: Tensor, num_classes: int) -> None:
    if predictions.ndim != 2 or predictions.shape[1:] != labels.shape or not len(labels):
        raise InputError(f"predictions (sizes, items) and labels (items) do not fit: {tuple(predictions.shape)} and {tuple(labels.shape)}")
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise InputError(f"labels must lie between 0 and {num_classes - 1}, not {int(labels.min())} to {int(labels.max())}")
