r"""Contrasts: prompts on which a language model shows a behaviour, prompts beside them on which it cannot, and what the right answer is.

A contrast is what circuits are found on. Its metric is the same for every behaviour: how much the model prefers the right next tokens to the wrong ones,

.. math:: \log \sum_{t \in R} p(t) - \log \sum_{t \in W} p(t),

read at the last token of a prompt; for one right and one wrong token that is the difference of their logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["Contrast", "Edge", "Node", "Prompts"]

Node = tuple[int, int]
"""A head by its layer and its number in it, both from 0; an MLP stands after the layer's last head."""
Edge = tuple[Node, Node | None]
"""What one node adds as another reads it; None is the output."""


@dataclass(frozen=True)
class Prompts:
    """Token sequences of several lengths, padded on the right.

    Attributes:
        tokens: (N, T) int64.
        mask: (N, T) bool, True = real token; every row begins with one and has no gap.
    """

    tokens: Int[Tensor, "prompts length"]
    mask: Bool[Tensor, "_ _"]

    def __post_init__(self) -> None:
        if self.tokens.shape != self.mask.shape:
            raise InputError(f"tokens {tuple(self.tokens.shape)} and mask {tuple(self.mask.shape)} differ in shape")
        if not len(self.tokens) or not bool(self.mask[:, :1].all()) or self.tokens.shape[1] < 1:
            raise InputError("there must be a prompt, and every prompt must have a token")
        if bool((self.mask[:, 1:] & ~self.mask[:, :-1]).any()):
            raise InputError("padding belongs after a prompt's tokens: a mask must not be True again after False")

    @classmethod
    def of(cls, prompts: Sequence[Sequence[int]] | Int[Tensor, "prompts length"]) -> "Prompts":
        """Prompts of a (N, T) tensor without padding, or of N lists of token numbers.

        Raises:
            InputError: there is none, or one without tokens.
        """
        if isinstance(prompts, Tensor):
            return cls(prompts, torch.ones(prompts.shape, dtype=torch.bool))
        if not len(prompts) or min(map(len, prompts)) < 1:
            raise InputError("there must be a prompt, and every prompt must have a token")
        longest = max(map(len, prompts))
        tokens = torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts], dtype=torch.int64)
        return cls(tokens, torch.arange(longest) < torch.tensor([len(prompt) for prompt in prompts])[:, None])

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: slice | Int[Tensor, " rows"]) -> "Prompts":
        """Some of the prompts."""
        return Prompts(self.tokens[rows], self.mask[rows])

    @property
    def lengths(self) -> Int[Tensor, " prompts"]:
        """How many real tokens each has."""
        return self.mask.sum(dim=1)

    def followed_by(self, other: "Prompts") -> "Prompts":
        """These prompts, then the other's."""
        longest = max(self.tokens.shape[1], other.tokens.shape[1])
        tokens, mask = (
            torch.cat([torch.nn.functional.pad(part, (0, longest - part.shape[1])) for part in parts])
            for parts in ((self.tokens, other.tokens), (self.mask, other.mask))
        )
        return Prompts(tokens, mask)


@dataclass(frozen=True)
class Contrast:
    """A behaviour as prompts.

    Attributes:
        name: of the behaviour.
        positives: N prompts that show it.
        negatives: N prompts that cannot; prompt n stands beside positive n.
        right: (N, R) the right next tokens of the positives; -1 is no token.
        wrong: (N, W) the wrong ones, or None for all tokens that are not right.
        truth: the heads that are known to implement it, and in which model.
        model: of which model `truth` speaks; empty where it speaks of none.
    """

    name: str
    positives: Prompts
    negatives: Prompts
    right: Int[Tensor, "_ right"]
    wrong: Int[Tensor, "_ wrong"] | None = None
    truth: tuple[Node, ...] = field(default=())
    model: str = ""

    def __post_init__(self) -> None:
        counts = {"positives": len(self.positives), "negatives": len(self.negatives), "right answers": len(self.right)}
        if self.wrong is not None:
            counts["wrong answers"] = len(self.wrong)
        if len(set(counts.values())) > 1:
            raise InputError(f"a contrast needs as many of each, not {', '.join(f'{count} {name}' for name, count in counts.items())}")

    def __getitem__(self, rows: slice) -> "Contrast":
        """The contrast of some of its pairs."""
        wrong = None if self.wrong is None else self.wrong[rows]
        return Contrast(self.name, self.positives[rows], self.negatives[rows], self.right[rows], wrong, self.truth, self.model)

    def preference(self, logits: Float[Tensor, "prompts vocabulary"]) -> Float[Tensor, " prompts"]:
        """By how many nats each prompt's right tokens are preferred, given the logits after its last token.

        Raises:
            InputError: logits of other prompts.
        """
        right, wrong = self._sets(logits)
        return _log_sum(logits, right) - _log_sum(logits, wrong)

    def accuracy(self, logits: Float[Tensor, "prompts vocabulary"]) -> float:
        """The share of prompts whose likeliest token, among the right and wrong ones, is right."""
        right, wrong = self._sets(logits)
        likeliest = logits.masked_fill(~(right | wrong), -torch.inf).argmax(dim=1, keepdim=True)
        return float(right.gather(1, likeliest).double().mean())

    def _sets(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The right and the wrong tokens as (N, V) bool."""
        if len(logits) != len(self.right):
            raise InputError(f"the contrast has {len(self.right)} prompts, and there are logits of {len(logits)}")
        right = _among(self.right, logits)
        return right, ~right if self.wrong is None else _among(self.wrong, logits)


def _among(tokens: Tensor, logits: Tensor) -> Tensor:
    found = torch.zeros(logits.shape[0], logits.shape[1] + 1, dtype=torch.bool, device=logits.device)
    return found.scatter(1, torch.where(tokens < 0, logits.shape[1], tokens).to(logits.device), True)[:, :-1]


def _log_sum(logits: Tensor, among: Tensor) -> Tensor:
    return logits.masked_fill(~among, -torch.inf).logsumexp(dim=1)
