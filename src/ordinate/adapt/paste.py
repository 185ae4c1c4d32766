r"""The upper part of a trained in-context transformer, frozen, under a new embedding that is trained for other prompts.

If the lower blocks of a network compute a representation and the upper ones learn linear functions of it in context, the upper ones alone should learn linear functions of whatever they are given: of z itself where
:math:`y = \langle w, z\rangle`. What is put below them is as small as it can be, so that it cannot learn in context by itself:

- ``"linear"``: one affine map of the tokens :math:`[z_i, 0], [0, y_i]`, and positions;
- ``"linear_copy"``: the same on the tokens :math:`[z_i, 0], [z_i, y_i]`, in which inputs stand beside their labels already: the format that the upper part is conjectured to expect;
- ``"one_layer"``: the affine map and one block of the network's own kind.

`Lower` takes the network's own lower part as the embedding, which changes nothing; `OneLayer` is the last kind of embedding without an upper part.

Source: Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), section 6.2 (pasting experiments).
"""

from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.models.in_context_transformer import InContextTransformer, ResidualBlock

__all__ = ["EMBEDDINGS", "Embedding", "Lower", "OneLayer", "Pasted", "copied_inputs", "one_layer_alone", "paste"]

EMBEDDINGS = ("linear", "linear_copy", "one_layer")


def copied_inputs(tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
    """Tokens [z_1, 0], [0, y_1], [z_2, 0], ... with every input beside its label too: [z_1, 0], [z_1, y_1], [z_2, 0], ...; the layout ``label-last``."""
    before = torch.zeros_like(tokens)
    before[:, 1::2] = tokens[:, : tokens.shape[1] - 1 : 2]
    return tokens + before


class Embedding(nn.Module):
    """Tokens (B, T, width) to states (B, T, hidden): an affine map and learned positions, with as many blocks above them as are given."""

    def __init__(self, width: int, positions: Tensor, blocks: list[ResidualBlock], *, copy: bool = False) -> None:
        """
        Args:
            width: of a token.
            positions: (T, hidden), where the positions start from.
            blocks: above the affine map.
            copy: put inputs beside their labels first, as `copied_inputs` does.
        """
        super().__init__()
        self.read_in = nn.Linear(width, positions.shape[1])
        self.positions = nn.Parameter(positions.detach().clone())
        self.blocks = nn.ModuleList(blocks)
        self.copy = copy

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens hidden"]:
        """The states.

        Raises:
            InputError: more tokens than positions.
        """
        if tokens.shape[1] > len(self.positions):
            raise InputError(f"this embedding has {len(self.positions)} positions, and the prompt has {tokens.shape[1]} tokens")
        h = self.read_in(copied_inputs(tokens) if self.copy else tokens) + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            h = block(h)
        return h


class Lower(nn.Module):
    """The embedding and the first blocks of a network, as an embedding."""

    def __init__(self, model: InContextTransformer, blocks: int) -> None:
        super().__init__()
        self.model, self.blocks = model, blocks

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens hidden"]:
        """The stream after those blocks."""
        return self.model.lower(tokens, self.blocks)


class Pasted(nn.Module):
    """An embedding under the frozen upper part of a network.

    Attributes:
        embedding: what is trained.
        upper: a copy of the network, of which the blocks from `start` on and the read-out are used, and nothing is trained.
        start: the first block that is used.
        token_width: of a token.
    """

    def __init__(self, model: InContextTransformer, start: int, embedding: nn.Module, token_width: int) -> None:
        """
        Args:
            model: the network; it is copied.
            start: the first block that is used, 0 to L - 1.
            embedding: tokens (B, T, token_width) to states (B, T, hidden).
            token_width: of a token.

        Raises:
            InputError: there is no such block.
        """
        super().__init__()
        layers = len(model.blocks)
        if not 0 <= start < layers:
            raise InputError(f"an upper part begins at one of the blocks 0 to {layers - 1}, not at {start}")
        self.embedding, self.start, self.token_width = embedding, start, token_width
        self.upper = deepcopy(model).requires_grad_(False)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens outputs"]:
        """What is read out at every token."""
        return self.upper.upper(self.embedding(tokens), self.start)


class OneLayer(nn.Module):
    """The embedding of one block, read out: what it can do alone."""

    def __init__(self, embedding: nn.Module, token_width: int, hidden: int) -> None:
        super().__init__()
        self.embedding, self.token_width = embedding, token_width
        self.final = nn.LayerNorm(hidden)
        self.read_out = nn.Linear(hidden, 1)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens 1"]:
        """What is read out at every token."""
        return self.read_out(self.final(self.embedding(tokens)))


def _embedding(model: InContextTransformer, token_width: int, kind: str) -> Embedding:
    choose("embedding", kind, EMBEDDINGS)
    hidden = model.read_in.out_features
    fresh = InContextTransformer(**{**model.arguments, "token_width": token_width, "layers": 1})
    blocks = [block for block in fresh.blocks if isinstance(block, ResidualBlock)] if kind == "one_layer" else []
    # The upper part has learnt to tell places by what the network adds for them: the new embedding starts from that.
    return Embedding(token_width, model.positions.table[:, :hidden], blocks, copy=kind == "linear_copy")


def paste(model: InContextTransformer, start: int, token_width: int, embedding: str = "linear") -> Pasted:
    """Freeze the blocks of a network from `start` on, and put a new embedding below them, with random weights.

    Args:
        model: the network; it is copied.
        start: the first block that is kept, 0 to L - 1.
        token_width: of the tokens of the new prompts.
        embedding: one of `EMBEDDINGS`.

    Raises:
        InputError: no such block or embedding.
    """
    return Pasted(model, start, _embedding(model, token_width, embedding), token_width)


def one_layer_alone(model: InContextTransformer, token_width: int) -> OneLayer:
    """The ``"one_layer"`` embedding of such a paste with a read-out of its own and nothing between."""
    return OneLayer(_embedding(model, token_width, "one_layer"), token_width, model.read_in.out_features)
