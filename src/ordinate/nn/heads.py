"""Heads: what every attention-like mixer does before and after its own idea.

Queries, keys and values are one linear map of x, cut into H heads of width d = D / H; the heads' outputs are laid side by side again and go through another linear map. Padding is hidden by zeros on the way in, so that
nothing a padded position holds (not even NaN) reaches a real one, and on the way out.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError

__all__ = ["HeadCache", "Heads", "hide_padding", "key_column", "merge_heads", "split_heads"]


def split_heads(x: Float[Tensor, "batch length width"], heads: int) -> Float[Tensor, "batch heads length head"]:
    """(B, L, H d) -> (B, H, L, d)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Float[Tensor, "batch heads length head"]) -> Float[Tensor, "batch length width"]:
    """(B, H, L, d) -> (B, L, H d)."""
    return x.transpose(1, 2).flatten(2)


def hide_padding(
    x: Float[Tensor, "batch length dim"], padding_mask: Bool[Tensor, "batch length"] | None
) -> Float[Tensor, "batch length dim"]:
    """x with zeros at padded positions."""
    return x if padding_mask is None else x.masked_fill(~padding_mask[..., None], 0)


class Heads(nn.Module):
    """The linear maps of multi-head attention."""

    def __init__(self, dim: int, heads: int, *, bias: bool = True) -> None:
        """
        Args:
            dim: the width D.
            heads: H, a divisor of D.
            bias: the maps have biases.

        Raises:
            InputError: D cannot be divided among H heads.
        """
        super().__init__()
        if heads < 1 or dim % heads:
            raise InputError(f"dim={dim} cannot be divided among {heads} heads: choose a divisor of it")
        self.count, self.width = heads, dim // heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.out = nn.Linear(dim, dim, bias=bias)

    def split(
        self, x: Float[Tensor, "batch length dim"], context: Float[Tensor, "batch other dim"] | None = None
    ) -> tuple[Float[Tensor, "batch heads length head"], Float[Tensor, "batch heads keys head"], Float[Tensor, "batch heads keys head"]]:
        """Queries of x, and keys and values of x or, where it is given, of `context`: (B, H, L, d) each."""
        if context is None:
            q, k, v = self.qkv(x).chunk(3, dim=-1)
        else:
            dim = x.shape[-1]
            weight, bias = self.qkv.weight, self.qkv.bias
            q = F.linear(x, weight[:dim], None if bias is None else bias[:dim])
            k, v = F.linear(context, weight[dim:], None if bias is None else bias[dim:]).chunk(2, dim=-1)
        return split_heads(q, self.count), split_heads(k, self.count), split_heads(v, self.count)

    def merge(
        self, x: Float[Tensor, "batch heads length head"], padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "batch length dim"]:
        """The output map of the heads side by side, (B, H, L, d) -> (B, L, D), zero at padded positions."""
        return hide_padding(self.out(merge_heads(x)), padding_mask)


class HeadCache(NamedTuple):
    """What a cached mixer keeps of the positions so far: tensors (B, H, n, ...) of the keys' side, and which of the positions are real, (B, n)."""

    keys: tuple[Tensor, ...]
    mask: Tensor

    @classmethod
    def of(cls, keys: tuple[Tensor, ...], padding_mask: Tensor | None) -> "HeadCache":
        """The cache after a prompt."""
        batch, length = keys[0].shape[0], keys[0].shape[2]
        real = torch.ones(batch, length, dtype=torch.bool, device=keys[0].device)
        return cls(keys, real if padding_mask is None else padding_mask)

    def append(self, keys: tuple[Tensor, ...]) -> "HeadCache":
        """The cache with one more, real, position. The old one stays as it was, so that several continuations can share a prompt."""
        grown = tuple(torch.cat([old, new], dim=2) for old, new in zip(self.keys, keys, strict=True))
        return HeadCache(grown, torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1))


def key_column(
    scale: Float[Tensor, "batch heads length"] | None, v: Float[Tensor, "batch heads length head"]
) -> Float[Tensor, "batch heads length 1"]:
    """A number a key as a column that a cache can keep beside its values v; zeros for None."""
    return v.new_zeros(*v.shape[:3], 1) if scale is None else scale[..., None]
