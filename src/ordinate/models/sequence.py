"""Sequence models over any token mixer: one backbone for language models, and for classifiers of sequences.

Embeddings, with positions added where the scheme says so, go through pre-normed blocks and a last normalisation. `Sequence` reads tokens and gives logits over the vocabulary at every position, by the embeddings themselves
(a tied head) or a map of its own; it decodes step by step where its mixer can. `SequenceClassifier` reads tokens, or vectors, and gives logits over classes from the mean over real positions.

Sources: Vaswani et al. (2017); Press and Wolf, Using the Output Embedding to Improve Language Models (2017), for the tied head.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.models.base import Model
from ordinate.nn.blocks import MixerBlock
from ordinate.nn.mixers import create_mixer
from ordinate.nn.positions import AbsolutePositions

__all__ = ["MODELS", "POSITIONS", "Sequence", "SequenceClassifier", "SequenceState"]

POSITIONS = ("none", "absolute", "sinusoidal")


class SequenceState(NamedTuple):
    """What `Sequence.step` needs of the past: one mixer's state a block, and how many positions there were."""

    blocks: tuple[Any, ...]
    length: int


class _Backbone(nn.Module):
    """Vectors (B, L, D) to vectors (B, L, D), normalised."""

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        heads: int,
        mixer: str,
        mixer_arguments: dict[str, Any] | None,
        causal: bool,
        max_length: int,
        position: str,
        mlp_ratio: float,
        activation: str,
        dropout: float,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise InputError(f"depth must be at least 1 block, not {depth}")
        kinds = {"absolute": "learned", "sinusoidal": "sinusoidal"}
        choose("position scheme", position, POSITIONS)
        self.positions = None if position == "none" else AbsolutePositions(max_length, dim, kind=kinds[position])
        arguments = {"heads": heads, "causal": causal, "max_length": max_length, **(mixer_arguments or {})}
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            MixerBlock(create_mixer(mixer, dim, **arguments), ratio=mlp_ratio, activation=activation, dropout=dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def placed(self, x: Tensor, offset: int = 0) -> Tensor:
        """x (B, L, D) with its positions, the first of which is `offset`."""
        if self.positions is not None:
            x = x + self.positions(x.shape[1], offset=offset).to(x.dtype)
        return self.dropout(x)

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        x = self.placed(x)
        for block in self.blocks:
            x = block(x, padding_mask=padding_mask)
        return self.norm(x)

    def prefill(self, x: Tensor, padding_mask: Tensor | None) -> tuple[Tensor, tuple[Any, ...]]:
        x, states = self.placed(x), []
        for block in cast(Iterable[MixerBlock], self.blocks):
            x, state = block.prefill(x, padding_mask=padding_mask)
            states.append(state)
        return self.norm(x), tuple(states)

    def step(self, x_t: Tensor, states: tuple[Any, ...], place: int) -> tuple[Tensor, tuple[Any, ...]]:
        x, after = self.placed(x_t[:, None], place)[:, 0], []
        for block, state in zip(cast(Iterable[MixerBlock], self.blocks), states, strict=True):
            x, state = block.step(x, state)
            after.append(state)
        return self.norm(x), tuple(after)


def _embedding(vocabulary: int, dim: int) -> nn.Embedding:
    if vocabulary < 1:
        raise InputError(f"vocabulary must be at least 1 token, not {vocabulary}")
    embedding = nn.Embedding(vocabulary, dim)
    nn.init.normal_(embedding.weight, std=dim**-0.5)  # so that tied logits begin at the scale of one
    return embedding


def _check_tokens(name: str, tokens: Tensor, vocabulary: int, padding_mask: Tensor | None) -> None:
    if tokens.ndim != 2 or tokens.dtype not in (torch.int64, torch.int32):
        raise InputError(f"{name} takes (batch, length) token numbers, not {tokens.dtype} {tuple(tokens.shape)}")
    if padding_mask is not None and (padding_mask.shape != tokens.shape or padding_mask.dtype != torch.bool):
        raise InputError(
            f"{name}: padding_mask must be boolean of shape {tuple(tokens.shape)} (True = real token), not {padding_mask.dtype} {tuple(padding_mask.shape)}"
        )
    if tokens.numel() and not torch.compiler.is_compiling() and tokens.device.type == "cpu":
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= vocabulary:
            raise InputError(f"{name} has {vocabulary} tokens, numbered from 0, and was given {low if low < 0 else high}")


class Sequence(Model):
    """A language model: tokens (B, L) to logits (B, L, V)."""

    def __init__(
        self,
        *,
        vocabulary: int,
        dim: int = 128,
        depth: int = 4,
        heads: int = 4,
        mixer: str = "softmax",
        mixer_arguments: dict[str, Any] | None = None,
        causal: bool = True,
        max_length: int = 1024,
        position: str = "absolute",
        mlp_ratio: float = 4.0,
        activation: str = "gelu",
        dropout: float = 0.0,
        tied: bool = True,
    ) -> None:
        """
        Args:
            vocabulary: V, how many tokens there are.
            dim: the width D.
            depth: the number of blocks.
            heads: of the mixers.
            mixer: a registered token mixer.
            mixer_arguments: further arguments of the mixers.
            causal: position i sees only positions j <= i. False makes a masked language model's encoder.
            max_length: the longest sequence: learned positions end there, and mixers are given it.
            position: ``"none"`` (the mixer may have positions of its own), ``"absolute"`` (learned) or ``"sinusoidal"``, added to the embeddings.
            mlp_ratio: the feed-forward layers' inner width over D.
            activation: of the feed-forward layers, by name.
            dropout: after the embeddings and on every branch.
            tied: the logits are dot products with the embeddings; otherwise they have a map of their own.

        Raises:
            InputError: an unknown mixer, position scheme or activation, or a number out of range.
        """
        super().__init__()
        self.vocabulary, self.causal, self.max_length = vocabulary, causal, max_length
        self.num_features = dim
        self.embedding = _embedding(vocabulary, dim)
        self.backbone = _Backbone(
            dim=dim,
            depth=depth,
            heads=heads,
            mixer=mixer,
            mixer_arguments=mixer_arguments,
            causal=causal,
            max_length=max_length,
            position=position,
            mlp_ratio=mlp_ratio,
            activation=activation,
            dropout=dropout,
        )
        self.head = nn.Linear(dim, vocabulary, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward_features(
        self, tokens: Int[Tensor, "batch length"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "batch length dim"]:
        """The vector of every position after the last block, normalised.

        Args:
            tokens: (B, L) numbers below `vocabulary`.
            padding_mask: (B, L), True = real token.

        Raises:
            InputError: wrong rank or dtype, a token that there is not, or a sequence beyond max_length.
        """
        _check_tokens(type(self).__name__, tokens, self.vocabulary, padding_mask)
        return self.backbone(self.embedding(tokens), padding_mask)

    def forward(
        self, tokens: Int[Tensor, "batch length"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Logits of the next token (causal) or of the token itself (masked) at every position. See :meth:`forward_features`."""
        return self.head(self.forward_features(tokens, padding_mask=padding_mask))

    def prefill(
        self, tokens: Int[Tensor, "batch length"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> tuple[Float[Tensor, "batch length vocabulary"], SequenceState]:
        """Read a prompt: `forward`, and the state from which `step` goes on.

        Raises:
            InputError: see :meth:`forward_features`; or the mixer cannot decode step by step.
        """
        _check_tokens(type(self).__name__, tokens, self.vocabulary, padding_mask)
        x, states = self.backbone.prefill(self.embedding(tokens), padding_mask)
        return self.head(x), SequenceState(states, tokens.shape[1])

    def step(self, tokens: Int[Tensor, "batch"], state: SequenceState) -> tuple[Float[Tensor, "batch vocabulary"], SequenceState]:
        """Read one more token (B,): its logits (B, V), and the state after it.

        Raises:
            InputError: see :meth:`prefill`.
        """
        _check_tokens(type(self).__name__, tokens[:, None], self.vocabulary, None)
        x, states = self.backbone.step(self.embedding(tokens), state.blocks, state.length)
        return self.head(x), SequenceState(states, state.length + 1)


class SequenceClassifier(Model):
    """A classifier of sequences: tokens (B, L), or vectors (B, L, in_dim), to logits (B, num_classes)."""

    def __init__(
        self,
        *,
        num_classes: int,
        vocabulary: int | None = None,
        in_dim: int | None = None,
        dim: int = 128,
        depth: int = 4,
        heads: int = 4,
        mixer: str = "softmax",
        mixer_arguments: dict[str, Any] | None = None,
        max_length: int = 1024,
        position: str = "absolute",
        mlp_ratio: float = 4.0,
        activation: str = "gelu",
        dropout: float = 0.0,
    ) -> None:
        """
        Args:
            num_classes: of the head; 0 for none.
            vocabulary: how many tokens there are, where sequences are of tokens.
            in_dim: the width of the vectors, where sequences are of vectors.
            dim: the width D; the other arguments are those of :class:`Sequence`.
            depth: the number of blocks.
            heads: of the mixers.
            mixer: a registered token mixer, not causal here.
            mixer_arguments: further arguments of the mixers.
            max_length: the longest sequence.
            position: ``"none"``, ``"absolute"`` or ``"sinusoidal"``.
            mlp_ratio: the feed-forward layers' inner width over D.
            activation: of the feed-forward layers, by name.
            dropout: after the embeddings and on every branch.

        Raises:
            InputError: both or neither of vocabulary and in_dim, an unknown name, or a number out of range.
        """
        super().__init__()
        if (vocabulary is None) == (in_dim is None):
            raise InputError("sequences are of tokens (vocabulary) or of vectors (in_dim): give one of the two")
        if num_classes < 0 or (in_dim is not None and in_dim < 1):
            raise InputError(f"num_classes must be 0 or more and in_dim at least 1, not {num_classes} and {in_dim}")
        self.vocabulary, self.in_dim, self.num_classes, self.num_features = vocabulary, in_dim, num_classes, dim
        self.embedding: nn.Module = _embedding(vocabulary, dim) if vocabulary is not None else nn.Linear(in_dim or 1, dim)
        self.backbone = _Backbone(
            dim=dim,
            depth=depth,
            heads=heads,
            mixer=mixer,
            mixer_arguments=mixer_arguments,
            causal=False,
            max_length=max_length,
            position=position,
            mlp_ratio=mlp_ratio,
            activation=activation,
            dropout=dropout,
        )
        self.head: nn.Module = nn.Linear(dim, num_classes) if num_classes else nn.Identity()

    def embed(self, x: Tensor, *, padding_mask: Bool[Tensor, "batch length"] | None = None) -> Float[Tensor, "batch dim"]:
        """The mean over real positions after the last block: (B, D); zero for a sequence of padding.

        Args:
            x: (B, L) token numbers, or (B, L, in_dim) floating point.
            padding_mask: (B, L), True = real.

        Raises:
            InputError: wrong rank, dtype or width, or a sequence beyond max_length.
        """
        name = type(self).__name__
        if self.vocabulary is not None:
            _check_tokens(name, x, self.vocabulary, padding_mask)
        elif x.ndim != 3 or x.shape[-1] != self.in_dim or not x.is_floating_point():
            raise InputError(f"{name} takes floating-point (batch, length, {self.in_dim}), not {x.dtype} {tuple(x.shape)}")
        features = self.backbone(self.embedding(x), padding_mask)
        if padding_mask is None:
            return features.mean(dim=1)
        real = padding_mask[..., None].to(features.dtype)
        return (features * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)

    def forward(self, x: Tensor, *, padding_mask: Bool[Tensor, "batch length"] | None = None) -> Float[Tensor, "batch classes"]:
        """Logits over classes. See :meth:`embed`."""
        return self.head(self.embed(x, padding_mask=padding_mask))


MODELS = {"sequence": partial(Sequence), "sequence-classifier": partial(SequenceClassifier)}
