r"""Every n-gram of a text as a set: of its words, each with its position.

The element (word :math:`v` at position :math:`j`) is the symbol :math:`jV + v`. A set of such symbols can be emitted in any order and is the n-gram still; the columns here are in the natural one.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.2.
"""

import torch
from jaxtyping import Int64
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["ngram_sets", "placed"]


def placed(words: Int64[Tensor, "*batch n"], vocabulary: int) -> Int64[Tensor, "*batch n"]:
    """Words (..., n) by number as symbols that carry their positions.

    Raises:
        InputError: a word that the vocabulary has not.
    """
    if words.numel() and not 0 <= int(words.min()) <= int(words.max()) < vocabulary:
        raise InputError(f"words are numbered from 0 to {vocabulary - 1}")
    return words + vocabulary * torch.arange(words.shape[-1], device=words.device)


def ngram_sets(ids: Int64[Tensor, " length"], n: int, vocabulary: int) -> Int64[Tensor, "count n"]:
    """All n-grams of a text, overlapping, as (N - n + 1, n) symbols.

    Args:
        ids: (N,), the text's words.
        n: words in a set.
        vocabulary: how many words there are.

    Raises:
        InputError: n below 1, a text that is shorter, or a word that the vocabulary has not.
    """
    if not 1 <= n <= len(ids):
        raise InputError(f"a text of {len(ids)} words has no {n}-grams")
    return placed(ids.unfold(0, n, 1), vocabulary)
