"""The orders in which a language model may read a text: as it stands, backwards, or in blocks that are reversed one by one.

Blocks of three keep every word within two places of where it was, and yet a third of the words no longer follow the one before them: "This is a sentence ." becomes "a is This <pad> . sentence". The last block is padded before it
is reversed.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.1.1.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Int64
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["WORD_ORDERS", "reverse_blocks", "three_word_reversal"]

_T = TypeVar("_T")


def reverse_blocks(words: Sequence[_T], block: int, pad: _T) -> list[_T]:
    """Cut `words` into blocks and reverse each; the last is padded with `pad` before it is.

    Raises:
        InputError: blocks of less than one word.
    """
    if block < 1:
        raise InputError(f"a block has at least one word, not {block}")
    whole = [*words, *[pad] * (-len(words) % block)]
    return [word for start in range(0, len(whole), block) for word in reversed(whole[start : start + block])]


def three_word_reversal(words: Sequence[str], pad: str = "<pad>") -> list[str]:
    """The paper's third order: blocks of three, each reversed."""
    return reverse_blocks(words, 3, pad)


def _blocks_of_three(ids: Int64[Tensor, " length"]) -> Int64[Tensor, " length"]:
    # A text as one stream has one incomplete block at most, and its words say less than padding would: they are left as they are.
    whole = len(ids) - len(ids) % 3
    return torch.cat((ids[:whole].view(-1, 3).flip(1).flatten(), ids[whole:]))


WORD_ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "natural": lambda ids: ids,
    "reversed": lambda ids: ids.flip(0),
    "three-word": _blocks_of_three,
}
"""What each order makes of a text (N,) as one stream: the same words, in another order."""
