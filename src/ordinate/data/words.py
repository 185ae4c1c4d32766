"""A text as words: each a number, those beyond the most frequent ones all the same.

Words are runs of letters (with apostrophes inside), lower case; every other printed character is a word of its own, and line breaks count as blanks. The vocabulary is taken from the training part, the most frequent first;
what is not in it is ``<other>``, number 0.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from ordinate.data.text import open_text
from ordinate.ground.errors import InputError

__all__ = ["OTHER", "WordData", "open_words", "split_words"]

OTHER = "<other>"
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\S")


@dataclass(frozen=True)
class WordData:
    """A text as words.

    Attributes:
        name: as it was asked for.
        train, valid: int64, the words of the first nine tenths of the text and of the rest.
        vocabulary: what each number stands for, the most frequent first after `OTHER`.
    """

    name: str
    train: Int64[Tensor, " train"]
    valid: Int64[Tensor, " valid"]
    vocabulary: list[str]


def split_words(text: str) -> list[str]:
    """The words of a text, in order."""
    return _WORD.findall(text.lower())


def open_words(name_or_path: str | Path, *, most: int = 2000, folder: Path | None = None) -> WordData:
    """Open a text by name or path as words.

    Args:
        name_or_path: as for :func:`ordinate.data.text.open_text`.
        most: words in the vocabulary, `OTHER` included.
        folder: where named datasets lie.

    Raises:
        InputError: as for `open_text`; fewer than 2 words in the vocabulary; or a part of the text without words.
        MissingError: a named dataset is not at hand.
    """
    if most < 2:
        raise InputError(f"a vocabulary has at least one word beside {OTHER}, not {most - 1}")
    text = open_text(name_or_path, folder=folder)
    train, valid = (split_words(text.decode(part)) for part in (text.train, text.valid))
    if not train or not valid:
        raise InputError(f"{name_or_path} has no words in its first nine tenths, or none in the rest")
    vocabulary = [OTHER, *(word for word, _ in Counter(train).most_common(most - 1))]
    number = {word: place for place, word in enumerate(vocabulary)}

    def numbers(words: list[str]) -> Tensor:
        return torch.tensor([number.get(word, 0) for word in words], dtype=torch.int64)

    return WordData(text.name, numbers(train), numbers(valid), vocabulary)
