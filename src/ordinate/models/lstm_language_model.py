r"""LSTM language models: :math:`p(y_1, \dots, y_T) = \prod_t p(y_t \mid y_{<t})`, each factor read off the state of an LSTM that has seen what came before.

Any sequence can be modelled so, in any order of its elements; what is easy to learn depends on it. A learned GO vector stands before the first symbol, so that whole sequences have a probability, and not only the rest of
them. For known sequences the LSTM runs as one kernel; `init`, `log_prob`, `advance` and `reorder` go step by step (see `ordinate.generate.decoding`).

Sources: Zaremba, Sutskever, Vinyals, Recurrent Neural Network Regularization (2014), for dropout between layers and not along time; Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.base import Model

__all__ = ["MODELS", "LSTMLanguageModel", "LSTMState", "RecurrentModel"]


class LSTMState(NamedTuple):
    """Where decoding stands, one row a sequence.

    Attributes:
        h: (R, layers, H).
        c: (R, layers, H).
        out: (R, H), what the next symbol is read off.
    """

    h: Tensor
    c: Tensor
    out: Tensor


class RecurrentModel(Model, ABC):
    """An LSTM over embedded symbols; how they are embedded and read off is the subclass's."""

    def __init__(self, vocabulary: int, embed: int, dim: int, layers: int, dropout: float) -> None:
        """
        Args:
            vocabulary: how many symbols there are.
            embed: the width of an embedded symbol.
            dim: the width H of the LSTM.
            layers: of the LSTM.
            dropout: on what goes into the first layer, from layer to layer, and out of the last; not along time.

        Raises:
            InputError: a width or number below 1, or a dropout outside of [0, 1).
        """
        super().__init__()
        if min(vocabulary, embed, dim, layers) < 1 or not 0 <= dropout < 1:
            raise InputError(
                f"vocabulary, widths and layers must be at least 1 and dropout in [0, 1), not {vocabulary}, {embed}, {dim}, {layers}, {dropout}"
            )
        self.vocabulary = vocabulary
        self.causal = True
        self.go = nn.Parameter(torch.empty(embed).uniform_(-(embed**-0.5), embed**-0.5))
        self.lstm = nn.LSTM(embed, dim, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.drop = nn.Dropout(dropout)

    @abstractmethod
    def embedded(self, symbols: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch embed"]:
        """Symbols as vectors."""

    @abstractmethod
    def read(self, states: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch vocabulary"]:
        """The log-probabilities of the next symbol, from the LSTM's states."""

    def chosen(self, states: Float[Tensor, "batch steps dim"], symbols: Int[Tensor, "batch steps"]) -> Float[Tensor, "batch steps"]:
        """The log-probabilities of these next symbols alone."""
        return self.read(states).gather(-1, symbols[..., None])[..., 0]

    def forward(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length vocabulary"]:
        """Log-probabilities, which are logits too, of the symbol after each of `tokens` (B, L): position t has seen the tokens up to t.

        Raises:
            InputError: tokens of a wrong rank, or one that there is not.
        """
        self._check(tokens)
        return self.read(self._states(self.embedded(tokens)))

    def sequence_log_prob(self, inputs: Mapping[str, Tensor], symbols: Int[Tensor, "batch steps"]) -> Float[Tensor, " batch"]:
        """The log-probabilities (B,) of whole sequences, in nats.

        Args:
            inputs: not read.
            symbols: (B, T); -1 is padding, at the end.

        Raises:
            InputError: symbols of a wrong rank, or one that there is not.
        """
        known = symbols.clamp(min=0)
        self._check(known)
        fed = torch.cat((self.go.expand(len(symbols), 1, -1), self.embedded(known[:, :-1])), dim=1)
        return self.chosen(self._states(fed), known).masked_fill(symbols < 0, 0.0).sum(dim=1)

    def init(self, inputs: Mapping[str, Tensor]) -> LSTMState:
        """The state before the first symbol; as many rows as the inputs have.

        Raises:
            InputError: there are no inputs, so that nothing says how many rows there are.
        """
        if not inputs:
            raise InputError("how many sequences? Give init a mapping of tensors with one row each")
        rows = len(next(iter(inputs.values())))
        zeros = self.go.new_zeros(rows, self.lstm.num_layers, self.lstm.hidden_size)
        return self._next(zeros, zeros, self.go.expand(rows, -1))

    def log_prob(self, state: LSTMState) -> Float[Tensor, "rows vocabulary"]:
        """The log-probabilities of the symbol to come."""
        return self.read(state.out)

    def advance(self, state: LSTMState, symbols: Int[Tensor, " rows"]) -> LSTMState:
        """The state after `symbols`."""
        return self._next(state.h, state.c, self.embedded(symbols))

    def reorder(self, state: LSTMState, rows: Int[Tensor, " kept"]) -> LSTMState:
        """The state of these rows, in this order; a row may be taken several times."""
        return LSTMState(*(each[rows] for each in state))

    def _states(self, fed: Tensor) -> Tensor:
        return self.drop(self.lstm(self.drop(fed))[0])

    def _next(self, h: Tensor, c: Tensor, fed: Tensor) -> LSTMState:
        start = (h.transpose(0, 1).contiguous(), c.transpose(0, 1).contiguous())
        out, (h, c) = self.lstm(self.drop(fed)[:, None], start)
        return LSTMState(h.transpose(0, 1), c.transpose(0, 1), self.drop(out[:, 0]))

    def _check(self, symbols: Tensor) -> None:
        if symbols.ndim != 2 or symbols.is_floating_point():
            raise InputError(f"symbols are (batch, length) whole numbers, not {symbols.dtype} {tuple(symbols.shape)}")
        if symbols.numel() and not 0 <= int(symbols.min()) <= int(symbols.max()) < self.vocabulary:
            raise InputError(
                f"symbols are numbered from 0 to {self.vocabulary - 1}, and {int(symbols.min())} to {int(symbols.max())} were given"
            )


class LSTMLanguageModel(RecurrentModel):
    """One table of embeddings, one softmax."""

    def __init__(self, vocabulary: int, dim: int = 128, layers: int = 1, embed: int | None = None, dropout: float = 0.0) -> None:
        """
        Args:
            vocabulary: how many symbols there are.
            dim: the width of the LSTM.
            layers: of the LSTM.
            embed: the width of an embedded symbol; None is `dim`.
            dropout: see `RecurrentModel`.

        Raises:
            InputError: see `RecurrentModel`.
        """
        width = dim if embed is None else embed
        super().__init__(vocabulary, width, dim, layers, dropout)
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.uniform_(self.embedding.weight, -(width**-0.5), width**-0.5)
        self.output = nn.Linear(dim, vocabulary)

    def embedded(self, symbols: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch embed"]:
        """A row of the table each."""
        return self.embedding(symbols)

    def read(self, states: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch vocabulary"]:
        """A softmax."""
        return self.output(states).log_softmax(dim=-1)


MODELS = {"lstm": partial(LSTMLanguageModel)}
