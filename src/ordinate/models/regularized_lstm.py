r"""The regularised LSTM language model: two layers, dropout on what goes up and not on what goes on in time, all weights uniform in ± u at first; and it can go on where it stopped.

`carry` reads a stretch of text from the state that the stretch before it left, as training does that goes through a text from its beginning to its end.

Source: Zaremba, Sutskever, Vinyals, Recurrent Neural Network Regularization (2014), section 4.1.
"""

from functools import partial

from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.lstm_language_model import LSTMLanguageModel

__all__ = ["MODELS", "Carried", "RegularizedLSTM"]

Carried = tuple[Tensor, Tensor]
"""The LSTM's h and c, (layers, B, H) each."""


class RegularizedLSTM(LSTMLanguageModel):
    """One table of embeddings, as wide as the LSTM, and one softmax."""

    def __init__(self, vocabulary: int, dim: int = 650, layers: int = 2, dropout: float = 0.5, spread: float = 0.05) -> None:
        """
        Args:
            vocabulary: how many symbols there are.
            dim: the width H.
            layers: of the LSTM.
            dropout: of what goes into each layer and out of the last.
            spread: u.

        Raises:
            InputError: a spread that is not positive, or what `LSTMLanguageModel` refuses.
        """
        if not spread > 0:
            raise InputError(f"weights are uniform in ± spread, which must be positive, not {spread}")
        super().__init__(vocabulary, dim, layers, dropout=dropout)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -spread, spread)

    def carry(
        self, tokens: Int[Tensor, "batch length"], state: Carried | None = None
    ) -> tuple[Float[Tensor, "batch length vocabulary"], Carried]:
        """The log-probabilities of the symbol after each of `tokens`, and the state after the last.

        Args:
            tokens: (B, L).
            state: what the stretch before left; None is zeros.

        Raises:
            InputError: tokens of a wrong rank, or one that there is not.
        """
        self._check(tokens)
        states, after = self.lstm(self.drop(self.embedded(tokens)), state)
        return self.read(self.drop(states)), after


MODELS = {"regularized-lstm": partial(RegularizedLSTM)}
