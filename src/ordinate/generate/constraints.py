"""Constraints on decoded sequences, as mask functions: from what was emitted so far to what may come next.

A constraint is a function `(prefix, possible) -> allowed` of the symbols emitted so far, (R, t), and of the symbols that the model knows for each row at all, (R, V). It gives (R, V) booleans, is pure, and
knows nothing of the model, so that it can be put on any decoder and in any search. Rows that have ended are none of its business: the search keeps them at END.

The ones here are for answers made of slots: 0 is END and 1, ..., n are the points of a row (see `ordinate.models.pointer_network`).

Source: Vinyals, Fortunato, Jaitly, Pointer Networks (NIPS 2015), section 3: tours were constrained, hulls and triangulations were not.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["CONSTRAINTS", "Constraint", "hull", "no_repeat", "tour", "triangles"]

Constraint = Callable[[Int[Tensor, "rows steps"], Bool[Tensor, "rows symbols"]], Bool[Tensor, "rows symbols"]]
END = 0


def no_repeat(prefix: Int[Tensor, "rows steps"], possible: Bool[Tensor, "rows symbols"]) -> Bool[Tensor, "rows symbols"]:
    """No point twice; END at any time."""
    allowed = possible.scatter(1, prefix, False)
    allowed[:, END] = possible[:, END]
    return allowed


def tour(prefix: Int[Tensor, "rows steps"], possible: Bool[Tensor, "rows symbols"]) -> Bool[Tensor, "rows symbols"]:
    """Every point once, and END only after all of them."""
    allowed = no_repeat(prefix, possible)
    allowed[:, END] = ~allowed[:, 1:].any(dim=1)
    return allowed


def hull(prefix: Int[Tensor, "rows steps"], possible: Bool[Tensor, "rows symbols"]) -> Bool[Tensor, "rows symbols"]:
    """No point twice, and END only after three points."""
    allowed = no_repeat(prefix, possible)
    if prefix.shape[1] < 3:
        allowed[:, END] = False
    return allowed


def triangles(prefix: Int[Tensor, "rows steps"], possible: Bool[Tensor, "rows symbols"]) -> Bool[Tensor, "rows symbols"]:
    """Three increasing points at a time, END only between two triangles and after at least one."""
    steps = prefix.shape[1]
    corner = steps % 3
    slots = torch.arange(possible.shape[1], device=prefix.device)
    largest = (possible * slots).amax(dim=1, keepdim=True)
    after = prefix[:, -1:] if corner else torch.zeros_like(largest)
    # A corner leaves room for the larger ones that are still to come.
    allowed = possible & (slots > after) & (slots <= largest - (2 - corner))
    if corner == 0 and steps:
        allowed[:, END] = possible[:, END]
    return allowed


CONSTRAINTS: dict[str, Constraint | None] = {"none": None, "no-repeat": no_repeat, "tour": tour, "hull": hull, "triangles": triangles}
