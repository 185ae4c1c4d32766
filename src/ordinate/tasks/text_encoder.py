"""Runs that were trained on text as encoders of texts: the mean, over a text's units, of what the last block makes of them.

A text that is longer than the model reads is cut into pieces, and the mean is taken over all of them.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.data.home import dataset_folder
from ordinate.data.lines import Lines
from ordinate.data.text import NAMED_TEXTS, TextData
from ordinate.ground.errors import InputError
from ordinate.models.sequence import Sequence as SequenceModel
from ordinate.tasks.run_encoder import Encoder, Inputs

__all__ = ["ENCODERS", "TextEncoder", "TextInputs"]

_PIECES = 64


class TextInputs(Inputs):
    """The lines of a file that are not empty: each is named by its number, and its label is the line itself."""

    def __init__(self, lines: Lines, named: bool = False) -> None:
        """
        Args:
            lines: of the file.
            named: whether it is a named text.
        """
        self.lines, self.named = lines, named
        self.ids = [str(number) for number in lines.numbers.tolist()]
        self.labels = lines
        self.stamp = lines.stamp

    def take(self, rows: range) -> list[str]:
        """As in :class:`Inputs`."""
        return self.lines[rows.start : rows.stop]


class TextEncoder(Encoder):
    """`encode` takes texts."""

    kind = "text"

    def check(self) -> None:
        """As in :class:`Encoder`."""
        if not isinstance(self.model, SequenceModel):
            raise InputError(f"{self.run} holds a {type(self.model).__name__}, which does not embed texts")
        none = torch.empty(0, dtype=torch.int64)
        self._units = TextData(str(self.run), none, none, list(self.card["vocabulary"]), self.card["unit"])

    def example(self) -> list[str]:
        """As in :class:`Encoder`."""
        return ["a" if self._units.unit == "bytes" else self._units.vocabulary[0]]

    def embed(self, inputs: Sequence[str]) -> Float[Tensor, "batch dim"]:
        """As in :class:`Encoder`.

        Raises:
            InputError: no texts, an empty one, or a character that the vocabulary does not have.
        """
        if not len(inputs):
            raise InputError("there are no texts to embed")
        model = self.model
        assert isinstance(model, SequenceModel)
        pieces, owners = [], []
        for number, text in enumerate(inputs):
            units = self._units.encode(text)
            if not len(units):
                raise InputError(f"text {number + 1} is empty")
            some = units.split(model.max_length)
            pieces += some
            owners += [number] * len(some)
        total, count = torch.zeros(len(inputs), model.num_features), torch.zeros(len(inputs), 1)
        for start in range(0, len(pieces), _PIECES):
            chosen = pieces[start : start + _PIECES]
            tokens = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)
            mask = torch.arange(tokens.shape[1]) < torch.tensor([len(piece) for piece in chosen])[:, None]
            features = model.forward_features(tokens.to(self.device), padding_mask=mask.to(self.device)).float().cpu()
            owner = torch.tensor(owners[start : start + _PIECES])
            total.index_add_(0, owner, (features * mask[..., None]).sum(dim=1))
            count.index_add_(0, owner, mask.sum(dim=1, keepdim=True).float())
        return (total / count).to(self.device)

    def open(self, given: str, *, strict: bool = False) -> TextInputs:
        """As in :class:`Encoder`: a file with a text a line, or a named text."""
        if given in NAMED_TEXTS:
            return TextInputs(Lines(dataset_folder(given, NAMED_TEXTS[given]) / NAMED_TEXTS[given]), named=True)
        return TextInputs(Lines(Path(given).expanduser()))

    def query(self, given: str) -> list[str]:
        """As in :class:`Encoder`: the text itself."""
        if not given.strip():
            raise InputError("the text is empty")
        return [given]


ENCODERS = {"text": TextEncoder}
