"""Induction as a contrast: sequences whose second half goes on repeating the first, beside sequences whose first half is another.

The repeated part has no token twice, so that its successor is one. A negative ends as its positive does, token for token, and begins with other tokens: nothing in it tells what comes next.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from ordinate.data.contrasts import Contrast, Node, Prompts
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["repeated_tokens", "sample_repeats"]


def sample_repeats(
    count: int, length: int, periods: tuple[int, int], vocabulary: int, draws: torch.Generator
) -> tuple[Int[Tensor, "count length"], Int[Tensor, " count"]]:
    """Sequences x_i = x_{i - p} of distinct tokens in each period, and what comes next.

    Args:
        count: N.
        length: T.
        periods: the least and the largest p, drawn for every sequence.
        vocabulary: V.
        draws: what they are drawn from.

    Raises:
        InputError: a period of no token, one that does not fit into T - 1 tokens, or one of more tokens than there are.
    """
    least, most = periods
    if count < 1 or not 1 <= least <= most < length or most > vocabulary:
        raise InputError(f"{count} sequences of {length} tokens among {vocabulary} cannot repeat with periods of {least} to {most}")
    period = torch.randint(least, most + 1, (count, 1), generator=draws)
    order = torch.rand(count, vocabulary, generator=draws).argsort(dim=1)
    places = torch.arange(length + 1) % period
    whole = order.gather(1, places)
    return whole[:, :length], whole[:, length]


def repeated_tokens(
    count: int = 250,
    *,
    length: int = 24,
    periods: tuple[int, int] | None = None,
    vocabulary: int = 32,
    seed: int = 0,
    truth: tuple[Node, ...] = (),
    model: str = "",
) -> Contrast:
    """The contrast.

    Args:
        count: N prompts of each kind.
        length: T.
        periods: the least and the largest period; None is half the length for all.
        vocabulary: V.
        seed: of the prompts.
        truth: heads that are known to implement induction.
        model: where they are known to.

    Raises:
        InputError: periods that do not fit.
    """
    draws = generator(seed, "repeats")
    least, most = periods or (length // 2, length // 2)
    positives, answers = sample_repeats(count, length, (least, most), vocabulary, draws)
    others, _ = sample_repeats(count, length, (least, most), vocabulary, draws)
    # The last period of a sequence stays as it is, and what was before it is another sequence's.
    period = (positives[:, 1:] == positives[:, :1]).int().argmax(dim=1, keepdim=True) + 1
    period = torch.where((positives[:, 1:] == positives[:, :1]).any(dim=1, keepdim=True), period, length)
    negatives = torch.where(torch.arange(length) < length - period, others, positives)
    return Contrast("induction", Prompts.of(positives), Prompts.of(negatives), answers[:, None], truth=truth, model=model)
