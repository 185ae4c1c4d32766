"""Key-value recall: pairs to be remembered, then the same keys in another order, each to be answered with its value.

A row of length 4 n holds n pairs (key, value), then the n keys again in random order, each followed by its value; only values in the second half are targets. Keys are drawn without repetition, so that every question has one answer. The
distance between a question and its answer grows with the length, and nothing else does.

Source: the token form of the retrieval tests of Pal et al. (Giraffe, 2023), section 4; associative recall of Arora et al. (Zoology, 2023).
"""

import torch
from torch import Tensor

from ordinate.data.batches import Batch
from ordinate.ground.errors import InputError

__all__ = ["answered", "recall_batch", "recall_vocabulary"]

_IGNORED = -100


def recall_vocabulary(keys: int, values: int) -> int:
    """How many tokens there are: keys are numbered first, values after them."""
    return keys + values


def recall_batch(rows: int, length: int, keys: int, values: int, draws: torch.Generator) -> Batch:
    """Rows of recall: ``"input"`` and ``"target"``, int64 (B, L - 1), targets of -100 where nothing is asked.

    Args:
        rows: B.
        length: L, a multiple of 4.
        keys: how many keys there are, at least L / 4.
        values: how many values there are.
        draws: what they are drawn from.

    Raises:
        InputError: a length that is no multiple of 4, or more pairs than keys.
    """
    pairs, rest = divmod(length, 4)
    if rows < 1 or length < 4 or rest or pairs > keys or values < 1:
        raise InputError(f"recall takes a length that is a multiple of 4 with at most {keys} pairs, not {length}")
    key = torch.rand(rows, keys, generator=draws).argsort(dim=1)[:, :pairs]
    value = keys + torch.randint(values, (rows, pairs), generator=draws)
    order = torch.rand(rows, pairs, generator=draws).argsort(dim=1)
    asked = torch.stack([key.gather(1, order), value.gather(1, order)], dim=2).flatten(1)
    tokens = torch.cat([torch.stack([key, value], dim=2).flatten(1), asked], dim=1)
    target = tokens[:, 1:].clone()
    place = torch.arange(1, length)
    target[:, (place < length // 2) | (place % 2 == 0)] = _IGNORED
    return {"input": tokens[:, :-1], "target": target}


def answered(logits: Tensor, target: Tensor) -> tuple[int, int]:
    """How many of the asked values are the likeliest token, and how many were asked."""
    asked = target != _IGNORED
    return int((logits.argmax(dim=-1) == target)[asked].sum()), int(asked.sum())
