r"""Whether a model without absolute positions can tell positions apart.

A sequence of identical tokens is the test: where the rows of every attention sum to one, and everything else works on each position alone, all positions stay identical at every layer, whatever the relative bias. With a factor after
the softmax row sums differ, and one layer suffices: without logits and with C the lower triangle, row i sums to (i + 1) / L.

Source: Luo et al., Your Transformer May Not be as Powerful as You Expect (NeurIPS 2022), sections 3 and 4.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.mixers.urpe import UniversalAttention

__all__ = ["construct_position_code", "identical_token_probe", "row_sum_spread"]


@torch.no_grad()
def identical_token_probe(model: Callable[[Tensor], Tensor], length: int, token: int = 0) -> float:
    """The largest difference between the outputs at any two positions of a sequence of one token.

    Args:
        model: (B, L) token numbers to (B, L, anything).
        length: L, at least 2.
        token: its number.

    Raises:
        InputError: a sequence of fewer than two tokens.
    """
    if length < 2:
        raise InputError(f"positions are compared in a sequence of at least 2 tokens, not {length}")
    y = model(torch.full((1, length), token))[0]
    return float((y.amax(dim=0) - y.amin(dim=0)).max())


def row_sum_spread(weights: Float[Tensor, "*batch rows columns"]) -> float:
    """The largest row sum minus the smallest, of the same head and sequence: 0 where all rows sum to one."""
    sums = weights.sum(dim=-1)
    return float((sums.amax(dim=-1) - sums.amin(dim=-1)).max())


def construct_position_code(length: int, dim: int = 4, heads: int = 1) -> UniversalAttention:
    """An attention layer whose output at position i of L is (i + 1) / L times the mean over values: v itself for identical tokens.

    Args:
        length: L.
        dim: the width.
        heads: a divisor of it.

    Raises:
        InputError: a length below 1, or heads that do not divide the width.
    """
    mixer = UniversalAttention(dim, heads=heads, max_length=length, relative=False, clamp=False)
    with torch.no_grad():
        mixer.heads.qkv.weight.zero_()
        mixer.heads.qkv.weight[2 * dim :] = torch.eye(dim)
        nn.init.zeros_(mixer.heads.qkv.bias)
        mixer.heads.out.weight.copy_(torch.eye(dim))
        nn.init.zeros_(mixer.heads.out.bias)
        assert mixer.scale_table is not None
        mixer.scale_table.table.copy_((torch.arange(1 - length, length) <= 0).float().expand_as(mixer.scale_table.table))
    return mixer
