r"""A language model of placed symbols: each is a value with the place that it belongs to, and may come at any time.

A sequence whose elements carry their places is a set: it can be emitted in any order and put together again. A symbol is the number :math:`j V + v` of value :math:`v` at place :math:`j`; its vector is the sum of those of the two.
The next one is read off an LSTM's state :math:`h` in two steps,

.. math:: p(j, v \mid h) = p(j \mid h)\, p(v \mid j, h), \qquad p(\cdot \mid j, h) = \operatorname{softmax}(W \tanh(U h + b_j)),

so that a known symbol costs a softmax over the values and not over all pairs.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.2 (words with their positions; the network is not described there).
"""

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.lstm_language_model import RecurrentModel

__all__ = ["MODELS", "PlacedLanguageModel"]


class PlacedLanguageModel(RecurrentModel):
    """Symbols are pairs of a place and a value, numbered place * values + value."""

    def __init__(self, values: int, places: int, dim: int = 128, layers: int = 1, dropout: float = 0.0) -> None:
        """
        Args:
            values: V, how many values there are.
            places: how many places there are.
            dim: the width of embeddings and of the LSTM.
            layers: of the LSTM.
            dropout: see `RecurrentModel`.

        Raises:
            InputError: see `RecurrentModel`.
        """
        if min(values, places) < 1:
            raise InputError(f"there must be at least one value and one place, not {values} and {places}")
        super().__init__(values * places, dim, dim, layers, dropout)
        self.values, self.places = values, places
        self.value, self.place, self.asked = nn.Embedding(values, dim), nn.Embedding(places, dim), nn.Embedding(places, dim)
        for table in (self.value, self.place, self.asked):
            nn.init.uniform_(table.weight, -(dim**-0.5), dim**-0.5)
        self.which = nn.Linear(dim, places)
        self.inner = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, values)

    def embedded(self, symbols: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch embed"]:
        """The value's vector and the place's."""
        return self.value(symbols % self.values) + self.place(symbols // self.values)

    def read(self, states: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch vocabulary"]:
        """The log-probabilities of all pairs."""
        where = self.which(states).log_softmax(dim=-1)
        values = self.output(torch.tanh(self.inner(states)[..., None, :] + self.asked.weight)).log_softmax(dim=-1)
        return (where[..., None] + values).flatten(-2)

    def chosen(self, states: Float[Tensor, "batch steps dim"], symbols: Int[Tensor, "batch steps"]) -> Float[Tensor, "batch steps"]:
        """The log-probabilities of these pairs alone: one softmax over the places, one over the values."""
        place, value = symbols // self.values, symbols % self.values
        where = self.which(states).log_softmax(dim=-1).gather(-1, place[..., None])[..., 0]
        values = self.output(torch.tanh(self.inner(states) + self.asked(place))).log_softmax(dim=-1)
        return where + values.gather(-1, value[..., None])[..., 0]


MODELS = {"placed-lstm": partial(PlacedLanguageModel)}
