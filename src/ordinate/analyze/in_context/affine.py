"""A constant beside the inputs, so that what is linear in both has an intercept.

Labels that are linear in features of leaky ReLUs have a mean of their own in every prompt, since such features are mostly positive: regression on the inputs alone cannot know of it, and is a weaker baseline than need be.
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["with_constant"]


def with_constant(x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d_plus_1"]:
    """x (..., d) with a coordinate more, which is 1. Ridge regression penalises its weight as it does the others'."""
    return torch.cat((x, torch.ones_like(x[..., :1])), dim=-1)
