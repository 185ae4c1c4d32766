r"""Sequence models over any token mixer: one backbone for language models, for encoders that fill in masked tokens, and for classifiers of sequences.

Embeddings, with positions added where the scheme says so, go through blocks and a last normalisation. `Sequence` reads tokens and gives logits over the vocabulary at every position, by the embeddings themselves
(a tied head) or a map of its own; it decodes step by step where its mixer can. `SequenceClassifier` reads tokens, or vectors, and gives logits over classes from the mean over real positions.

Positions count real tokens: a prompt with padding in front is placed as it would be without. Rotary positions are handed to mixers that turn queries and keys.

Sources: Vaswani et al. (2017); Press and Wolf, Using the Output Embedding to Improve Language Models (2017), for the tied head; Devlin et al. (BERT, 2019) for the head of masked models.
"""

import inspect
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ordinate.ground.errors import InputError, choose
from ordinate.models.base import Model
from ordinate.nn.activation_modules import activation_module
from ordinate.nn.blocks import NOTHING, MixerBlock, token_norm
from ordinate.nn.mixers import create_mixer, mixer_class
from ordinate.nn.positions import AbsolutePositions
from ordinate.nn.rotary import Rotary, create_rotary

__all__ = ["MODELS", "POSITIONS", "Reading", "Sequence", "SequenceClassifier", "SequenceState"]

POSITIONS = ("none", "absolute", "sinusoidal", "rotary")
_ADDED = {"absolute": "learned", "sinusoidal": "sinusoidal"}


class SequenceState(NamedTuple):
    """What `Sequence.step` needs of the past: one mixer's state a block, how many real positions there were in every row, (B,), and how many columns with the padding."""

    blocks: tuple[Any, ...]
    lengths: Tensor
    columns: int


class Reading(NamedTuple):
    """Where decoding stands: the logits of the next token, (R, V), and the state behind them."""

    logits: Tensor
    state: SequenceState


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
        position_arguments: dict[str, Any] | None,
        mlp_ratio: float,
        activation: str,
        bias: bool,
        norm: str,
        norm_eps: float,
        pre_norm: bool,
        embedding_norm: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise InputError(f"depth must be at least 1 block, not {depth}")
        choose("position scheme", position, POSITIONS)
        self.positions = AbsolutePositions(max_length, dim, kind=_ADDED[position]) if position in _ADDED else None
        arguments = {"heads": heads, "causal": causal, "max_length": max_length, **(mixer_arguments or {})}
        self.rotary = _rotary(mixer, dim, arguments, position_arguments) if position == "rotary" else None
        if self.rotary is not None:
            arguments["rotary"] = self.rotary
        elif position_arguments:
            raise InputError(f"position={position!r} takes no arguments, and was given {sorted(position_arguments)}")
        self.embedding_norm = token_norm(norm, dim, norm_eps) if embedding_norm else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            MixerBlock(
                create_mixer(mixer, dim, **arguments),
                ratio=mlp_ratio,
                activation=activation,
                bias=bias,
                norm=norm,
                norm_eps=norm_eps,
                pre_norm=pre_norm,
                dropout=dropout,
            )
            for _ in range(depth)
        )
        self.norm: nn.Module = token_norm(norm, dim, norm_eps) if pre_norm else nn.Identity()

    def placed(self, x: Tensor, padding_mask: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """x (B, L, D) with its positions: from 0 on, counting real tokens alone; or of rows that had `lengths` (B,) before."""
        if self.positions is not None:
            if lengths is not None:
                x = x + self._rows(lengths)[:, None].to(x.dtype)
            elif padding_mask is None:
                x = x + self.positions(x.shape[1]).to(x.dtype)
            else:
                x = x + self._rows(_places(padding_mask)).to(x.dtype)
        if self.embedding_norm is not None:
            x = self.embedding_norm(x)
        return self.dropout(x)

    def _mixer_inputs(self, x: Tensor) -> Mapping[str, Any]:
        """The turns of all layers, where positions are rotary."""
        if self.rotary is None:
            return NOTHING
        return {"turns": self.rotary.turns(self.rotary.places(x.shape[0], x.shape[1], x.device), x.shape[1], x.dtype)}

    def _rows(self, places: Tensor) -> Tensor:
        positions = cast(AbsolutePositions, self.positions)
        return positions(int(places.max()) + 1 if places.numel() else 0)[places]

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        x, inputs = self.placed(x, padding_mask), self._mixer_inputs(x)
        for block in self.blocks:
            x = block(x, padding_mask=padding_mask, mixer_inputs=inputs)
        return self.norm(x)

    def prefill(self, x: Tensor, padding_mask: Tensor | None) -> tuple[Tensor, tuple[Any, ...]]:
        x, inputs, states = self.placed(x, padding_mask), self._mixer_inputs(x), []
        for block in cast(Iterable[MixerBlock], self.blocks):
            x, state = block.prefill(x, padding_mask=padding_mask, mixer_inputs=inputs)
            states.append(state)
        return self.norm(x), tuple(states)

    def step(self, x_t: Tensor, states: tuple[Any, ...], lengths: Tensor, columns: int) -> tuple[Tensor, tuple[Any, ...]]:
        x, after = self.placed(x_t[:, None], lengths=lengths)[:, 0], []
        inputs = NOTHING
        if self.rotary is not None:
            inputs = {"turns": self.rotary.turns(torch.arange(columns + 1, device=x.device), columns + 1, x.dtype)}
        for block, state in zip(cast(Iterable[MixerBlock], self.blocks), states, strict=True):
            x, state = block.step(x, state, mixer_inputs=inputs)
            after.append(state)
        return self.norm(x), tuple(after)


def _places(padding_mask: Tensor) -> Tensor:
    """(B, L): how many real tokens stand before each."""
    return (padding_mask.cumsum(dim=1) - 1).clamp(min=0)


def _rotary(mixer: str, dim: int, arguments: dict[str, Any], position_arguments: dict[str, Any] | None) -> Rotary:
    if "rotary" not in inspect.signature(mixer_class(mixer)).parameters:
        raise InputError(f"the mixer {mixer!r} does not turn queries and keys: give it another position scheme, or choose softmax-rotary")
    head_dim = arguments.get("head_dim") or dim // max(1, arguments["heads"])
    return create_rotary(head_dim, **(position_arguments or {}))


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


class _HeadTransform(nn.Module):
    """What a masked model's head does before the embeddings: a map, an activation and a normalisation, (..., D) -> (..., D)."""

    def __init__(self, dim: int, activation: str, norm: str, norm_eps: float) -> None:
        super().__init__()
        self.map = nn.Linear(dim, dim)
        self.activation = activation_module(activation)
        self.norm = token_norm(norm, dim, norm_eps)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.norm(self.activation(self.map(x)))


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
        position_arguments: dict[str, Any] | None = None,
        mlp_ratio: float = 4.0,
        activation: str = "gelu",
        bias: bool = True,
        norm: str = "layer",
        norm_eps: float = 1e-5,
        pre_norm: bool = True,
        embedding_norm: bool = False,
        dropout: float = 0.0,
        tied: bool = True,
        head_transform: str | None = None,
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
            position: ``"none"`` (the mixer may have positions of its own); ``"absolute"`` (learned) or ``"sinusoidal"``, added to the embeddings; ``"rotary"``, handed to a mixer that turns queries and keys.
            position_arguments: of rotary positions, see `ordinate.nn.rotary.create_rotary`.
            mlp_ratio: the feed-forward layers' inner width over D.
            activation: of the feed-forward layers, by name (see `ordinate.nn.blocks.FeedForward`).
            bias: the feed-forward layers' maps have biases.
            norm: ``"layer"`` or ``"rms"``.
            norm_eps: what is added to the variance or the mean square.
            pre_norm: branches read normalised vectors, and there is a last normalisation; otherwise their sums are normalised.
            embedding_norm: the sums of embeddings and positions are normalised too.
            dropout: after the embeddings and on every branch.
            tied: the logits are dot products with the embeddings; otherwise they have a map of their own.
            head_transform: an activation: the head first maps to D, applies it and normalises, and has a bias, as in masked models (BERT's).

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
            position_arguments=position_arguments,
            mlp_ratio=mlp_ratio,
            activation=activation,
            bias=bias,
            norm=norm,
            norm_eps=norm_eps,
            pre_norm=pre_norm,
            embedding_norm=embedding_norm,
            dropout=dropout,
        )
        self.transform = None if head_transform is None else _HeadTransform(dim, head_transform, norm, norm_eps)
        self.head = nn.Linear(dim, vocabulary, bias=head_transform is not None)
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
        return self._logits(self.forward_features(tokens, padding_mask=padding_mask))

    def _logits(self, features: Tensor) -> Tensor:
        return self.head(features if self.transform is None else self.transform(features))

    def prefill(
        self, tokens: Int[Tensor, "batch length"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> tuple[Float[Tensor, "batch length vocabulary"], SequenceState]:
        """Read a prompt: `forward`, and the state from which `step` goes on.

        Raises:
            InputError: see :meth:`forward_features`; or the mixer cannot decode step by step.
        """
        _check_tokens(type(self).__name__, tokens, self.vocabulary, padding_mask)
        x, states = self.backbone.prefill(self.embedding(tokens), padding_mask)
        lengths = torch.full(tokens.shape[:1], tokens.shape[1], device=tokens.device) if padding_mask is None else padding_mask.sum(dim=1)
        return self._logits(x), SequenceState(states, lengths, tokens.shape[1])

    def step(self, tokens: Int[Tensor, "batch"], state: SequenceState) -> tuple[Float[Tensor, "batch vocabulary"], SequenceState]:
        """Read one more token (B,): its logits (B, V), and the state after it.

        Raises:
            InputError: see :meth:`prefill`.
        """
        _check_tokens(type(self).__name__, tokens[:, None], self.vocabulary, None)
        x, states = self.backbone.step(self.embedding(tokens), state.blocks, state.lengths, state.columns)
        return self._logits(x), SequenceState(states, state.lengths + 1, state.columns + 1)

    def init(self, inputs: Mapping[str, Tensor]) -> Reading:
        """Read prompts, as :class:`ordinate.generate.decoding.StepDecoder` asks.

        Args:
            inputs: ``"tokens"`` (R, L), at least one, and ``"padding_mask"`` (R, L) where prompts differ in length: padding stands in front.

        Raises:
            InputError: see :meth:`prefill`; an empty prompt, or padding behind a prompt.
        """
        tokens, mask = inputs["tokens"], inputs.get("padding_mask")
        if tokens.ndim == 2 and (not tokens.shape[1] or (mask is not None and mask.ndim == 2 and not bool(mask[:, -1].all()))):
            raise InputError("a prompt has at least one token, and padding stands in front of it")
        logits, state = self.prefill(tokens, padding_mask=mask)
        return Reading(logits[:, -1], state)

    def log_prob(self, state: Reading) -> Float[Tensor, "rows vocabulary"]:
        """The log-probabilities of the next token, in float32 at least."""
        return (state.logits if state.logits.dtype == torch.float64 else state.logits.float()).log_softmax(dim=-1)

    def advance(self, state: Reading, symbols: Int[Tensor, " rows"]) -> Reading:
        """The state after one more token in each row."""
        return Reading(*self.step(symbols, state.state))

    def reorder(self, state: Reading, rows: Int[Tensor, " kept"]) -> Reading:
        """The state of these rows: every tensor of a mixer's state has one row a sequence."""
        return cast(Reading, pytree.tree_map_only(Tensor, lambda tensor: tensor.index_select(0, rows), state))


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
        position_arguments: dict[str, Any] | None = None,
        mlp_ratio: float = 4.0,
        activation: str = "gelu",
        bias: bool = True,
        norm: str = "layer",
        norm_eps: float = 1e-5,
        pre_norm: bool = True,
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
            position: ``"none"``, ``"absolute"``, ``"sinusoidal"`` or ``"rotary"``.
            position_arguments: of rotary positions.
            mlp_ratio: the feed-forward layers' inner width over D.
            activation: of the feed-forward layers, by name.
            bias: the feed-forward layers' maps have biases.
            norm: ``"layer"`` or ``"rms"``.
            norm_eps: what is added to the variance or the mean square.
            pre_norm: branches read normalised vectors, and there is a last normalisation; otherwise their sums are normalised.
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
            position_arguments=position_arguments,
            mlp_ratio=mlp_ratio,
            activation=activation,
            bias=bias,
            norm=norm,
            norm_eps=norm_eps,
            pre_norm=pre_norm,
            embedding_norm=False,
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
