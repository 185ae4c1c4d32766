r"""Prompts of in-context regression: n pairs :math:`(x_i, y_i)` that share a hidden function, as one sequence of 2n tokens :math:`x_1, y_1, \dots, x_n, y_n`.

A model reads the tokens up to :math:`x_i` and is asked for :math:`y_i`; the last label is never shown. Three layouts of the tokens are in use:

- ``label-first``: :math:`[0, x_i]` and :math:`[y_i, 0_d]`, width d + 1 (Akyürek et al., What learning algorithm is in-context learning?, ICLR 2023, section 2);
- ``label-last``: :math:`[x_i, 0]` and :math:`[0_d, y_i]`, width d + 1 (Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions?, ICLR 2024);
- ``overlaid``: :math:`x_i` and :math:`[y_i, 0, \dots]`, width d (Garg et al., What Can Transformers Learn In-Context?, NeurIPS 2022).

`PromptBatches` makes training batches of them, each a pure function of (seed, step), with a curriculum where one is wanted: the first coordinates of x alone are alive, and the prompt is short, and both grow as training goes on. Without
one it is `ordinate.data.batches.Generated`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.data.batches import Batch, Generated
from ordinate.ground.errors import InputError, choose

__all__ = [
    "LAYOUTS",
    "Curriculum",
    "Growth",
    "PromptBatches",
    "PromptSource",
    "Prompts",
    "TokenBatch",
    "interleave",
    "query_tokens",
    "token_width",
]

LAYOUTS = ("label-first", "label-last", "overlaid")


def token_width(d: int, layout: str = "label-first") -> int:
    """The width of a token for inputs of `d` numbers.

    Raises:
        InputError: an unknown layout.
    """
    return d if choose("layout", layout, LAYOUTS) == "overlaid" else d + 1


def query_tokens(x: Float[Tensor, "*batch d"], layout: str = "label-first") -> Float[Tensor, "*batch width"]:
    """The tokens of inputs x, without their labels.

    Raises:
        InputError: an unknown layout.
    """
    if choose("layout", layout, LAYOUTS) == "overlaid":
        return x
    return torch.nn.functional.pad(x, (1, 0) if layout == "label-first" else (0, 1))


def _label_tokens(y: Tensor, d: int, layout: str) -> Tensor:
    width = token_width(d, layout)
    place = width - 1 if layout == "label-last" else 0
    tokens = y.new_zeros(*y.shape, width)
    tokens[..., place] = y
    return tokens


def interleave(
    x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], layout: str = "label-first"
) -> Float[Tensor, "batch tokens width"]:
    """Pairs as tokens x_1, y_1, ..., x_n, y_n: (B, 2n, width).

    Raises:
        InputError: an unknown layout, or no pair.
    """
    if x.shape[1] < 1:
        raise InputError("a prompt needs at least one pair")
    pairs = torch.stack((query_tokens(x, layout), _label_tokens(y.to(x.dtype), x.shape[2], layout)), dim=2)
    return pairs.flatten(1, 2)


@runtime_checkable
class TokenBatch(Protocol):
    """What a source of prompts gives: something with a training batch of tensors, `tokens` (B, T, width) and `target` (B, n, outputs); `target` is asked for at every second token, or at every one where there are n of them."""

    def batch(self) -> Batch: ...


@dataclass(frozen=True)
class Prompts:
    """A batch of prompts.

    Attributes:
        x: (B, n, d), the inputs.
        y: (B, n), their labels, noise included.
        latent: what each prompt was drawn from and no model is shown, rows first: ``w`` (B, features) for linear ones.
        layout: how pairs become tokens.
    """

    x: Tensor
    y: Tensor
    latent: Mapping[str, Tensor] = field(default_factory=dict)
    layout: str = "label-first"

    def tokens(self) -> Float[Tensor, "batch tokens width"]:
        """All 2n tokens."""
        return interleave(self.x, self.y, self.layout)

    def batch(self) -> Batch:
        """For training: `tokens` (B, 2n - 1, width), all but the last label, and `target` (B, n, 1)."""
        return {"tokens": self.tokens()[:, :-1], "target": self.y[..., None]}

    def double(self) -> "Prompts":
        """The same prompts in double precision, for exact predictors."""
        return Prompts(self.x.double(), self.y.double(), {name: value.double() for name, value in self.latent.items()}, self.layout)


class PromptSource(ABC):
    """Draws prompts.

    Attributes:
        d: the numbers of an input.
        n: the pairs of a prompt.
        layout: how pairs become tokens.
    """

    d: int
    n: int
    layout: str = "label-first"

    @property
    def token_width(self) -> int:
        """The width of a token."""
        return token_width(self.d, self.layout)

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator, *, n: int | None = None, alive: int | None = None) -> TokenBatch:
        """Draw prompts.

        Args:
            count: how many.
            generator: what is random is drawn from it.
            n: pairs of a prompt, in place of the source's own.
            alive: coordinates of x from this one on are zero; None lets all live.

        Raises:
            InputError: a number below 1, or more coordinates than there are.
        """

    def check(self, count: int, n: int | None, alive: int | None) -> tuple[int, int]:
        """(n, alive) with the source's own where none is given. To be called first in `sample`.

        Raises:
            InputError: as `sample` says.
        """
        n, alive = self.n if n is None else n, self.d if alive is None else alive
        if min(count, n, alive) < 1 or alive > self.d:
            raise InputError(
                f"prompts are drawn with at least one row, one pair, and 1 to {self.d} coordinates, not {count}, {n} and {alive}"
            )
        return n, alive


@dataclass(frozen=True)
class Growth:
    """A number that grows by `by` every `every` steps, from `start` to `end`.

    Raises:
        InputError: it does not grow, or not from at least 1.
    """

    start: int
    end: int
    by: int
    every: int

    def __post_init__(self) -> None:
        if not 1 <= self.start <= self.end or min(self.by, self.every) < 1:
            raise InputError(
                f"a curriculum grows from at least 1, by at least 1 every so many steps, not from {self.start} to {self.end} by {self.by} every {self.every}"
            )

    def at(self, step: int) -> int:
        """The number at a step."""
        return min(self.end, self.start + self.by * (step // self.every))


@dataclass(frozen=True)
class Curriculum:
    """What grows in training; None is full from the start.

    Attributes:
        alive: the coordinates of x that are not zero.
        n: the pairs of a prompt.
    """

    alive: Growth | None = None
    n: Growth | None = None

    def at(self, step: int) -> tuple[int | None, int | None]:
        """(pairs, living coordinates) at a step."""
        return None if self.n is None else self.n.at(step), None if self.alive is None else self.alive.at(step)


class PromptBatches:
    """Fresh prompts at every step; the `Batches` of training.

    Args:
        source: what they are drawn from.
        batch_size: prompts a step, over all processes together.
        seed: of the batches.
        curriculum: how prompts grow.

    Raises:
        InputError: `batch_size` is below 1, or the curriculum grows beyond the source.
    """

    def __init__(self, source: PromptSource, batch_size: int, seed: int, curriculum: Curriculum | None = None) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.curriculum = curriculum or Curriculum()
        for what, growth, most in (("coordinates", self.curriculum.alive, source.d), ("pairs", self.curriculum.n, source.n)):
            if growth is not None and growth.end > most:
                raise InputError(f"the curriculum grows to {growth.end} {what}, and the source has {most}")

    def __call__(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The batch of `step`, or process `rank`'s rows of it.

        Raises:
            InputError: `world` does not divide the number of rows, `rank` is not one of its processes, or `step` is negative.
        """
        return Generated(partial(self._make, step), self.seed)(step, rank, world)

    def _make(self, step: int, generator: torch.Generator) -> Batch:
        n, alive = self.curriculum.at(step)
        return self.source.sample(self.batch_size, generator, n=n, alive=alive).batch()
