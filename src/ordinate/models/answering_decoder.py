"""A causal transformer that reads a sequence and answers several questions of yes or no about it, one token after another: y_1 after a separator, y_2 after y_1, and so on.

In training the answers are given to it as it goes (teacher forcing), so that all are read off one pass; the mask keeps each from seeing itself.
"""

from collections.abc import Sequence as Order

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.sequence import Sequence

__all__ = ["AnsweringDecoder"]


class AnsweringDecoder(nn.Module):
    """Tokens (B, L + 1 + F), see `ordinate.data.controlled.sequences`, to the logits (B, F) of a yes to each question, in the order of the questions.

    Attributes:
        decoder: the transformer; its blocks are `decoder.backbone.blocks.0`, ...
    """

    def __init__(self, length: int, alphabet: int, order: Order[int], *, dim: int = 64, depth: int = 2, heads: int = 4) -> None:
        """
        Args:
            length: L, of what is read.
            alphabet: how many tokens that has; then come the separator, no, and yes.
            order: the questions' numbers in the order of answering.
            dim, depth, heads: of the transformer.

        Raises:
            InputError: an order that is none, or what the transformer refuses.
        """
        super().__init__()
        if sorted(order) != list(range(len(order))) or not order:
            raise InputError(f"an order holds each question once, not {list(order)}")
        self.length, self.alphabet = length, alphabet
        self.decoder = Sequence(vocabulary=alphabet + 3, dim=dim, depth=depth, heads=heads, max_length=length + 1 + len(order))
        self.register_buffer("places", torch.tensor(order).argsort() + length, persistent=False)

    def forward(self, tokens: Int[Tensor, "batch positions"]) -> Float[Tensor, "batch questions"]:
        """The logit of yes against no for each question: it is read where the token before the answer stands."""
        logits = self.decoder(tokens)
        return (logits[..., self.alphabet + 2] - logits[..., self.alphabet + 1])[:, self.places]
