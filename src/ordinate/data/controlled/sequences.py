r"""Sequences of tokens with known features: independent and balanced by construction, from local ones (is the first token one of these?) to global ones (is the number of these even?).

Random sequences are drawn until every combination of classes has been seen often enough, and as many of each are kept: whatever the features compute, in what is kept every combination is equally frequent, up to one example. For a decoder the targets
follow the sequence in a chosen order, after a separator: which feature is decoded first is a manipulation of Lampinen, Chan and Hermann (2024).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Int64
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["ControlledSequences", "CountParity", "FirstIsIn", "MoreOf", "Occurs", "PairEqual", "SequenceSample", "TokenFeature"]

_DRAWS = 400


class TokenFeature(ABC):
    """A class of two computed from a sequence of tokens."""

    @abstractmethod
    def label(self, tokens: Int64[Tensor, "rows length"]) -> Int64[Tensor, " rows"]:
        """0 or 1 for every row."""


@dataclass(frozen=True)
class FirstIsIn(TokenFeature):
    """Whether the token at one place, the first by default, is one of a set."""

    tokens: tuple[int, ...]
    place: int = 0

    def label(self, tokens: Int64[Tensor, "rows length"]) -> Int64[Tensor, " rows"]:
        return torch.isin(tokens[:, self.place], torch.tensor(self.tokens)).long()


@dataclass(frozen=True)
class Occurs(TokenFeature):
    """Whether a token stands anywhere."""

    token: int

    def label(self, tokens: Int64[Tensor, "rows length"]) -> Int64[Tensor, " rows"]:
        return (tokens == self.token).any(dim=1).long()


@dataclass(frozen=True)
class PairEqual(TokenFeature):
    """Whether the tokens at two places are equal."""

    first: int
    second: int

    def label(self, tokens: Int64[Tensor, "rows length"]) -> Int64[Tensor, " rows"]:
        return (tokens[:, self.first] == tokens[:, self.second]).long()


@dataclass(frozen=True)
class MoreOf(TokenFeature):
    """Whether one token is more frequent than another."""

    token: int
    than: int

    def label(self, tokens: Int64[Tensor, "rows length"]) -> Int64[Tensor, " rows"]:
        return ((tokens == self.token).sum(dim=1) > (tokens == self.than).sum(dim=1)).long()


@dataclass(frozen=True)
class CountParity(TokenFeature):
    """Whether a token stands there an odd number of times."""

    token: int

    def label(self, tokens: Int64[Tensor, "rows length"]) -> Int64[Tensor, " rows"]:
        return (tokens == self.token).sum(dim=1) % 2


@dataclass(frozen=True)
class SequenceSample:
    """Examples with their features.

    Attributes:
        x: (n, L) int64 tokens.
        features: (n, F) int64, in the order of the data's features.
        targets: (n, F) int64, the same.
    """

    x: Int64[Tensor, "rows length"]
    features: Int64[Tensor, "rows features"]
    targets: Int64[Tensor, "rows features"]


class ControlledSequences:
    """Sequences over a small alphabet.

    Attributes:
        features: F of them, two classes each.
        order: the features in the order in which a decoder gives them.
        vocabulary: tokens of a decoder: the alphabet, a separator, and two that stand for the classes.
    """

    def __init__(
        self, features: Sequence[TokenFeature], length: int, alphabet: int = 6, *, order: Sequence[int] | None = None, seed: int = 0
    ) -> None:
        """
        Args:
            features: what is computed.
            length: L.
            alphabet: how many tokens there are, numbered from 0.
            order: the features' numbers in the order of decoding; as they are given by default.
            seed: of all samples.

        Raises:
            InputError: no features, sequences or tokens; or an order that is none.
        """
        self.features = tuple(features)
        if not self.features or length < 1 or alphabet < 2:
            raise InputError(f"sequences need features, a length and two tokens, not {len(self.features)}, {length} and {alphabet}")
        self.length, self.alphabet, self.seed = length, alphabet, seed
        self.order = tuple(order) if order is not None else tuple(range(len(self.features)))
        if sorted(self.order) != list(range(len(self.features))):
            raise InputError(f"an order holds each of {len(self.features)} features once, not {list(self.order)}")
        self.classes = (2,) * len(self.features)
        self.separator, self.vocabulary = alphabet, alphabet + 3

    def sample(self, n: int, *, train: bool = True, draw: int = 0) -> SequenceSample:
        """Draw n sequences, every combination of classes equally often (up to one).

        Args:
            n: how many.
            train: from other random numbers than test sequences are.
            draw: another number is another sample.

        Raises:
            InputError: no examples, or a combination of classes that random sequences hardly ever have.
        """
        if n < 1:
            raise InputError(f"at least one sequence is drawn, not {n}")
        random = generator(self.seed, "train" if train else "test", draw)
        combinations = 2 ** len(self.features)
        wanted = torch.full((combinations,), n // combinations)
        wanted[torch.randperm(combinations, generator=random)[: n % combinations]] += 1
        kept: list[list[Tensor]] = [[] for _ in range(combinations)]
        have = torch.zeros(combinations, dtype=torch.int64)
        for _ in range(_DRAWS):
            tokens = torch.randint(self.alphabet, (max(1024, n), self.length), generator=random)
            code = reduce(
                lambda so_far, feature: 2 * so_far + feature.label(tokens), self.features, torch.zeros(len(tokens), dtype=torch.int64)
            )
            for number in range(combinations):
                rows = tokens[code == number][: int(wanted[number] - have[number])]
                kept[number].append(rows)
                have[number] += len(rows)
            if bool((have >= wanted).all()):
                break
        else:
            rare = int((have / wanted.clamp(min=1)).argmin())
            classes = [rare >> (len(self.features) - 1 - place) & 1 for place in range(len(self.features))]
            raise InputError(f"random sequences of {self.length} of {self.alphabet} tokens hardly ever have the classes {classes} together")
        x = torch.cat([part for parts in kept for part in parts])[torch.randperm(n, generator=random)]
        features = torch.stack([feature.label(x) for feature in self.features], dim=1)
        return SequenceSample(x, features, features)

    def decoder_tokens(self, sample: SequenceSample) -> Int64[Tensor, "rows tokens"]:
        """(n, L + 1 + F): the sequence, the separator, and the classes in the order of decoding as tokens; the class c of any feature is the token `alphabet + 1 + c`."""
        separator = torch.full((len(sample.x), 1), self.separator)
        return torch.cat([sample.x, separator, sample.targets[:, list(self.order)] + self.alphabet + 1], dim=1)
