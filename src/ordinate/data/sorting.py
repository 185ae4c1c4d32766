"""Sets of numbers and their order: the smallest task in which a set goes in and a sequence comes out.

Numbers are uniform in [0, 1). An answer is a sequence of slots (see `ordinate.models.pointer_network`): the slots of the numbers in ascending order and END; in descending order; or in a random one,
of which nothing can be learnt but that each slot comes once: its likelihood is at most 1/n!.

Ties, which uniform numbers in single precision do have now and then, are broken by the slot: the lower one comes first, also in descending order.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), sections 4.3 and 5.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ordinate.data.batches import Batch
from ordinate.ground.errors import InputError, choose

__all__ = ["ORDERS", "sorted_slots", "sorting_batch"]

ORDERS = ("ascending", "descending", "random")


def sorted_slots(
    numbers: Float[Tensor, "batch n"], lengths: Int[Tensor, " batch"] | None = None, *, descending: bool = False
) -> Int[Tensor, "batch ended"]:
    """The answers (B, n+1): each row's slots in order, END, and padding.

    Args:
        numbers: (B, n); rows of fewer are padded at the end with anything.
        lengths: (B,), how many each row has; None where all have n.
        descending: the largest first.

    Raises:
        InputError: a number that is not finite.
    """
    n = numbers.shape[1]
    present = torch.ones_like(numbers, dtype=torch.bool) if lengths is None else torch.arange(n) < lengths[:, None]
    if not bool(torch.isfinite(numbers[present]).all()):
        raise InputError("numbers that are NaN or infinite have no order")
    keys = (-numbers if descending else numbers).masked_fill(~present, float("inf"))
    slots = (keys.argsort(dim=1, stable=True) + 1) * present  # what is present comes first in either order
    return torch.nn.functional.pad(slots, (0, 1))


def sorting_batch(sizes: tuple[int, int], count: int, draws: torch.Generator, order: str = "ascending") -> Batch:
    """Sets of numbers with their answers.

    Args:
        sizes: the fewest and the most numbers of a set.
        count: B, how many sets.
        draws: where they are drawn from.
        order: of the answers, one of `ORDERS`.

    Returns:
        points (B, n, 1) float32, lengths (B,), target (B, n+1), and items (B, n): the slots of each set, -1 for padding.

    Raises:
        InputError: an unknown order, or sizes that are no range of at least 1.
    """
    choose("order of numbers", order, ORDERS)
    low, high = sizes
    if not 1 <= low <= high:
        raise InputError(f"sets have 1 or more numbers, the fewest first, not {low} to {high}")
    lengths = torch.randint(low, high + 1, (count,), generator=draws)
    numbers = torch.rand(count, high, generator=draws)
    present = torch.arange(high) < lengths[:, None]
    keys = torch.rand(count, high, generator=draws) if order == "random" else numbers
    target = sorted_slots(keys, lengths, descending=order == "descending")
    items = torch.where(present, torch.arange(1, high + 1), -1)
    return {"points": numbers.masked_fill(~present, 0.0)[..., None], "lengths": lengths, "target": target, "items": items}
