r"""A language model of placed symbols with one softmax over all pairs of a place and a value, :math:`p(j, v \mid h) = \operatorname{softmax}_{(j, v)}(W h + b)`.

The other reading of the same task: :class:`ordinate.models.placed_language_model.PlacedLanguageModel` first gives the place and then the value, which costs V + J numbers a known symbol and not V J. Here every pair has a row of weights of
its own, and nothing is shared between one value at several places.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.2 (words with their positions; the network is not described there).
"""

from functools import partial

from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.lstm_language_model import RecurrentModel

__all__ = ["MODELS", "PairedLanguageModel"]


class PairedLanguageModel(RecurrentModel):
    """Symbols are pairs of a place and a value, numbered place * values + value."""

    def __init__(self, values: int, places: int, dim: int = 128, layers: int = 1, dropout: float = 0.0) -> None:
        """
        Args:
            values: V, how many values there are.
            places: J, how many places there are.
            dim: the width of embeddings and of the LSTM.
            layers: of the LSTM.
            dropout: see `RecurrentModel`.

        Raises:
            InputError: see `RecurrentModel`; no value, or no place.
        """
        if min(values, places) < 1:
            raise InputError(f"there must be at least one value and one place, not {values} and {places}")
        super().__init__(values * places, dim, dim, layers, dropout)
        self.values, self.places = values, places
        self.value, self.place = nn.Embedding(values, dim), nn.Embedding(places, dim)
        for table in (self.value, self.place):
            nn.init.uniform_(table.weight, -(dim**-0.5), dim**-0.5)
        self.output = nn.Linear(dim, values * places)

    def embedded(self, symbols: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch embed"]:
        """The value's vector and the place's."""
        return self.value(symbols % self.values) + self.place(symbols // self.values)

    def read(self, states: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch vocabulary"]:
        """The log-probabilities of all pairs, by one softmax."""
        return self.output(states).log_softmax(dim=-1)


MODELS = {"paired-lstm": partial(PairedLanguageModel)}
