"""A transformer of two parts that answers several questions of yes or no about a sequence: an encoder reads it in both directions, and a causal decoder, which sees the sequence through the encoder alone, gives one answer after another.

Tokens are those of :class:`ordinate.models.answering_decoder.AnsweringDecoder`, a sequence, a separator and the answers; the decoder begins at the separator. What the encoder makes of the sequence cannot depend on any answer, so that it is the
same for all questions.

Source of the architecture: Vaswani et al., Attention Is All You Need (NIPS 2017), with norms first; of the task, Lampinen, Chan, Hermann, Learned feature representations are biased by complexity, learning order, position, and more (TMLR 2024).
"""

from collections.abc import Iterable
from collections.abc import Sequence as Order
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.blocks import FeedForward, MixerBlock
from ordinate.nn.mixers.softmax import SoftmaxAttention
from ordinate.nn.positions import AbsolutePositions

__all__ = ["AnsweringEncoderDecoder", "CrossBlock"]


class CrossBlock(nn.Module):
    """Causal attention, attention to a memory, and a feed-forward layer, each around the stream and behind a norm: (B, L, D) and (B, n, D) to (B, L, D)."""

    def __init__(self, dim: int, heads: int) -> None:
        """
        Args:
            dim: the width D.
            heads: of both attentions.
        """
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.mixer = SoftmaxAttention(dim, heads=heads, causal=True)
        self.cross = SoftmaxAttention(dim, heads=heads)
        self.feed_forward = FeedForward(dim)

    def forward(self, x: Float[Tensor, "batch length dim"], memory: Float[Tensor, "batch read dim"]) -> Float[Tensor, "batch length dim"]:
        """The stream after the block."""
        x = x + self.mixer(self.norm1(x))
        x = x + self.cross(self.norm2(x), context=memory)
        return x + self.feed_forward(self.norm3(x))


class AnsweringEncoderDecoder(nn.Module):
    """Tokens (B, L + 1 + F), see `ordinate.data.controlled.sequences`, to the logits (B, F) of a yes to each question, in the order of the questions.

    Attributes:
        encoder: the blocks that read the sequence: `encoder.0`, ...
        norm: after the last of them: what the decoder sees.
    """

    def __init__(self, length: int, alphabet: int, order: Order[int], *, dim: int = 64, depth: int = 2, heads: int = 4) -> None:
        """
        Args:
            length: L, of what is read.
            alphabet: how many tokens that has; then come the separator, no, and yes.
            order: the questions' numbers in the order of answering.
            dim, heads: of the transformer.
            depth: blocks of the encoder, and of the decoder.

        Raises:
            InputError: an order that is none, no block, or heads that do not divide the width.
        """
        super().__init__()
        if sorted(order) != list(range(len(order))) or not order:
            raise InputError(f"an order holds each question once, not {list(order)}")
        if min(length, alphabet, depth) < 1:
            raise InputError(f"length, alphabet and depth must be at least 1, not {length}, {alphabet} and {depth}")
        self.length, self.alphabet, self.asked = length, alphabet, len(order)
        self.embedding = nn.Embedding(alphabet + 3, dim)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.read_positions, self.said_positions = AbsolutePositions(length, dim), AbsolutePositions(len(order) + 1, dim)
        self.encoder = nn.ModuleList(MixerBlock(SoftmaxAttention(dim, heads=heads)) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.decoder = nn.ModuleList(CrossBlock(dim, heads) for _ in range(depth))
        self.last_norm = nn.LayerNorm(dim)
        self.answer = nn.Linear(dim, 1)
        self.register_buffer("places", torch.tensor(order).argsort(), persistent=False)

    def read(self, tokens: Int[Tensor, "batch positions"]) -> Float[Tensor, "batch length dim"]:
        """What the encoder makes of the sequence, (B, L, D).

        Raises:
            InputError: tokens of another number.
        """
        if tokens.ndim != 2 or tokens.shape[1] != self.length + 1 + self.asked:
            raise InputError(
                f"a sequence of {self.length} tokens, the separator and {self.asked} answers are read, not {tuple(tokens.shape)} tokens"
            )
        x = self.embedding(tokens[:, : self.length])
        x = x + self.read_positions(self.length)
        for block in cast(Iterable[MixerBlock], self.encoder):
            x = block(x)
        return self.norm(x)

    def forward(self, tokens: Int[Tensor, "batch positions"]) -> Float[Tensor, "batch questions"]:
        """The logit of yes for each question: it is read where the token before the answer stands.

        Raises:
            InputError: as for `read`.
        """
        memory = self.read(tokens)
        x = self.embedding(tokens[:, self.length :])
        x = x + self.said_positions(self.asked + 1)
        for block in cast(Iterable[CrossBlock], self.decoder):
            x = block(x, memory)
        return self.answer(self.last_norm(x))[..., 0][:, self.places]
