r"""Vectors of bits with known features, each computed from units of its own; the other units are random.

A label is drawn first and then, uniformly, one of the bit patterns that have it, so that features are balanced and independent whatever they compute: also an AND, which is seldom true of random bits. On that stand the manipulations of the
training examples, while test examples stay balanced, independent and clean:

- *prevalence* q: with chance 1 - q a feature has its class 0;
- *agreement* p of two features: the later is the same as the earlier with chance p, any other class otherwise;
- *label noise*: with that chance the target, but not the input, is one of the other classes.

Source: the controlled data sets of Lampinen, Chan and Hermann (2024). The paper's sizes are not repeated here: a feature's complexity is what varies, from copying a bit to parities.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = [
    "PRESETS",
    "And",
    "BitFeature",
    "ControlledFeatures",
    "ControlledSample",
    "Majority",
    "Or",
    "Parity",
    "SumModulo",
    "Unit",
    "XorOfMajorities",
]

_MOST_UNITS = 16


class BitFeature(ABC):
    """A class computed from some bits.

    Attributes:
        units: how many bits.
        classes: how many classes, 2 by default.
    """

    units: int
    classes: int = 2

    @abstractmethod
    def label(self, bits: Bool[Tensor, "rows units"]) -> Int64[Tensor, " rows"]:
        """The class of every row."""

    def parts(self, bits: Bool[Tensor, "rows units"]) -> dict[str, Int64[Tensor, " rows"]]:
        """What the class is made of: the bits by themselves; features with steps between add those."""
        return {f"bit {number}": bits[:, number].long() for number in range(self.units)}


@dataclass(frozen=True)
class Unit(BitFeature):
    """A copy of one bit."""

    units: int = 1

    def label(self, bits: Bool[Tensor, "rows units"]) -> Int64[Tensor, " rows"]:
        return bits[:, 0].long()


@dataclass(frozen=True)
class Majority(BitFeature):
    """Whether most of an odd number of bits are set: linear."""

    units: int = 3

    def label(self, bits: Bool[Tensor, "rows units"]) -> Int64[Tensor, " rows"]:
        return (2 * bits.sum(dim=1) > self.units).long()


@dataclass(frozen=True)
class And(BitFeature):
    """Whether all bits are set: linear."""

    units: int = 2

    def label(self, bits: Bool[Tensor, "rows units"]) -> Int64[Tensor, " rows"]:
        return bits.all(dim=1).long()


@dataclass(frozen=True)
class Or(BitFeature):
    """Whether any bit is set: linear."""

    units: int = 2

    def label(self, bits: Bool[Tensor, "rows units"]) -> Int64[Tensor, " rows"]:
        return bits.any(dim=1).long()


@dataclass(frozen=True)
class Parity(BitFeature):
    """Whether an odd number of bits is set; XOR of two. No part of the bits says anything about it."""

    units: int = 2

    def label(self, bits: Bool[Tensor, "rows units"]) -> Int64[Tensor, " rows"]:
        return bits.sum(dim=1) % 2

    def parts(self, bits: Bool[Tensor, "rows units"]) -> dict[str, Int64[Tensor, " rows"]]:
        """The bits, and the parities of the first 2, 3, ... of them."""
        partial = {f"parity of {upto}": bits[:, :upto].sum(dim=1) % 2 for upto in range(2, self.units)}
        return super().parts(bits) | partial


@dataclass(frozen=True)
class SumModulo(BitFeature):
    """The number of bits that are set, modulo a number, which is that of its classes."""

    units: int = 4
    classes: int = 3

    def label(self, bits: Bool[Tensor, "rows units"]) -> Int64[Tensor, " rows"]:
        return bits.sum(dim=1) % self.classes


@dataclass(frozen=True)
class XorOfMajorities(BitFeature):
    """Whether an odd number of groups of bits have a majority that is set."""

    groups: int = 2
    size: int = 3

    @property
    def units(self) -> int:  # type: ignore[override]
        """Bits of all groups."""
        return self.groups * self.size

    def label(self, bits: Bool[Tensor, "rows units"]) -> Int64[Tensor, " rows"]:
        return self._majorities(bits).sum(dim=1) % 2

    def _majorities(self, bits: Tensor) -> Tensor:
        return (2 * bits.unflatten(1, (self.groups, self.size)).sum(dim=2) > self.size).long()

    def parts(self, bits: Bool[Tensor, "rows units"]) -> dict[str, Int64[Tensor, " rows"]]:
        """The bits, and the majorities."""
        found = self._majorities(bits)
        return super().parts(bits) | {f"majority {number}": found[:, number] for number in range(self.groups)}


PRESETS: dict[str, tuple[BitFeature, ...]] = {
    "easy and hard": (Majority(3), Parity(4)),
    "two easy": (Majority(3), Majority(3)),
    "two hard": (Parity(4), Parity(4)),
    "four easy, four hard": (*[Majority(3)] * 4, *[Parity(3)] * 4),
}
"""Features that are taught together in comparisons, with their controls; all fit into 32 inputs."""


@lru_cache(maxsize=64)
def _patterns(feature: BitFeature) -> tuple[Tensor, ...]:
    """For every class, the bit patterns that have it."""
    if not 1 <= feature.units <= _MOST_UNITS:
        raise InputError(f"{feature} stands on {feature.units} units: 1 to {_MOST_UNITS} can be told apart here")
    if isinstance(feature, Majority) and feature.units % 2 == 0:
        raise InputError(f"a majority of {feature.units} bits has ties: take an odd number")
    every = (torch.arange(2**feature.units)[:, None] >> torch.arange(feature.units) & 1).bool()
    labels = feature.label(every)
    found = tuple(every[labels == label] for label in range(feature.classes))
    empty = [label for label, patterns in enumerate(found) if not len(patterns)]
    if empty:
        raise InputError(f"{feature} never has class {empty[0]}: give it more units or fewer classes")
    return found


@dataclass(frozen=True)
class ControlledSample:
    """Examples with their features.

    Attributes:
        x: (n, D) float32, the inputs.
        features: (n, F) int64, the classes that the inputs show.
        targets: (n, F) int64, what a network is taught: the features, but for label noise.
    """

    x: Float[Tensor, "rows dim"]
    features: Int64[Tensor, "rows features"]
    targets: Int64[Tensor, "rows features"]


class ControlledFeatures:
    """Vectors with features of chosen complexity.

    Attributes:
        features: F of them.
        units: for each, the places of its bits among the D inputs.
        classes: for each, how many classes it has.
    """

    def __init__(
        self,
        features: Sequence[BitFeature],
        dim: int = 32,
        *,
        units: Sequence[Sequence[int]] | None = None,
        prevalence: Sequence[float] | None = None,
        label_noise: Sequence[float] | None = None,
        agreement: Mapping[tuple[int, int], float] | None = None,
        values: tuple[float, float] = (-1.0, 1.0),
        seed: int = 0,
    ) -> None:
        """
        Args:
            features: what is computed.
            dim: D, inputs in all.
            units: the places of every feature's bits; by default drawn by the seed.
            prevalence: q in (0, 1] of every feature in training examples.
            label_noise: chance of a wrong target, of every feature in training examples.
            agreement: (i, j) with i < j -> chance that feature j is feature i in training examples; both have as many classes.
            values: what an unset and a set bit are as inputs.
            seed: of the places and of all samples.

        Raises:
            InputError: features that share a unit, that do not fit into the inputs or that cannot be drawn; chances out of range.
        """
        self.features = tuple(features)
        if not self.features:
            raise InputError("there are no features")
        self.dim, self.values, self.seed = dim, values, seed
        self.classes = tuple(feature.classes for feature in self.features)
        self._by_class = [_patterns(feature) for feature in self.features]
        self.units = self._place(units)
        count = len(self.features)
        self.prevalence = tuple(prevalence) if prevalence is not None else (1.0,) * count
        self.label_noise = tuple(label_noise) if label_noise is not None else (0.0,) * count
        if len(self.prevalence) != count or not all(0 < q <= 1 for q in self.prevalence):
            raise InputError(f"prevalence is one number in (0, 1] for each of {count} features, not {self.prevalence}")
        if len(self.label_noise) != count or not all(0 <= q < 1 for q in self.label_noise):
            raise InputError(f"label noise is one number in [0, 1) for each of {count} features, not {self.label_noise}")
        self.agreement = dict(agreement or {})
        for (i, j), chance in self.agreement.items():
            if not (0 <= i < j < count and 0 <= chance <= 1 and self.classes[i] == self.classes[j]):
                raise InputError(f"agreement is (earlier, later feature of as many classes) -> chance, not {(i, j)} -> {chance}")
        if len({j for _, j in self.agreement}) < len(self.agreement):
            raise InputError("a feature can follow one earlier feature, not several")

    def _place(self, units: Sequence[Sequence[int]] | None) -> tuple[tuple[int, ...], ...]:
        needed = [feature.units for feature in self.features]
        if sum(needed) > self.dim:
            raise InputError(f"features on {sum(needed)} units of their own do not fit into {self.dim} inputs")
        if units is None:
            order = torch.randperm(self.dim, generator=generator(self.seed, "units"))
            return tuple(tuple(part.tolist()) for part in order[: sum(needed)].split(needed))
        placed = tuple(tuple(part) for part in units)
        if [len(part) for part in placed] != needed:
            raise InputError(f"features need {needed} units, and were given {[len(part) for part in placed]}")
        flat = [unit for part in placed for unit in part]
        twice = sorted({unit for unit in flat if flat.count(unit) > 1})
        if twice:
            raise InputError(f"features that share units are not independent: unit {twice[0]} is given twice")
        if min(flat) < 0 or max(flat) >= self.dim:
            raise InputError(f"units are numbered from 0 to {self.dim - 1}")
        return placed

    def sample(self, n: int, *, train: bool = True, draw: int = 0) -> ControlledSample:
        """Draw n examples.

        Args:
            n: how many.
            train: with the manipulations; otherwise balanced, independent and clean.
            draw: another number is another sample.

        Raises:
            InputError: no examples.
        """
        if n < 1:
            raise InputError(f"at least one example is drawn, not {n}")
        random = generator(self.seed, "train" if train else "test", draw)
        labels = torch.stack([torch.randint(count, (n,), generator=random) for count in self.classes], dim=1)
        targets = labels
        if train:
            for (i, j), chance in sorted(self.agreement.items()):
                other = (labels[:, i] + torch.randint(1, self.classes[j], (n,), generator=random)) % self.classes[j]
                labels[:, j] = torch.where(torch.rand(n, generator=random) < chance, labels[:, i], other)
            labels = torch.where(torch.rand(labels.shape, generator=random) < torch.tensor(self.prevalence), labels, 0)
            shift = torch.stack([torch.randint(1, count, (n,), generator=random) for count in self.classes], dim=1)
            wrong = torch.rand(labels.shape, generator=random) < torch.tensor(self.label_noise)
            targets = torch.where(wrong, (labels + shift) % torch.tensor(self.classes), labels)
        bits = torch.rand(n, self.dim, generator=random) < 0.5
        for number, (patterns, places) in enumerate(zip(self._by_class, self.units, strict=True)):
            for label, known in enumerate(patterns):
                rows = (labels[:, number] == label).nonzero()[:, 0]
                chosen = known[torch.randint(len(known), (len(rows),), generator=random)]
                bits[rows[:, None], torch.tensor(places)] = chosen
        low, high = self.values
        return ControlledSample(torch.where(bits, high, low), labels, targets)

    def parts(self, x: Float[Tensor, "rows dim"], number: int) -> dict[str, Int64[Tensor, " rows"]]:
        """What feature `number` is made of, for inputs (n, D): its bits, and steps between them and the class."""
        low, high = self.values
        return self.features[number].parts(x[:, list(self.units[number])] > (low + high) / 2)
