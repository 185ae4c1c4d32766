r"""Heads that share keys and values: H heads of queries, and G <= H heads of keys and values, each read by H / G heads of queries.

With G = H they are ordinary heads (`ordinate.nn.heads`), with G = 1 multi-query attention. Decoding then carries G / H of the cache.

Source: Ainslie et al., GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints (EMNLP 2023).
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.heads import hide_padding, merge_heads, split_heads

__all__ = ["GroupedHeads"]


class GroupedHeads(nn.Module):
    """The linear maps of grouped-query attention."""

    def __init__(self, dim: int, heads: int, *, kv_heads: int | None = None, head_dim: int | None = None, bias: bool = True) -> None:
        """
        Args:
            dim: the width D.
            heads: H.
            kv_heads: G, a divisor of H; H by default.
            head_dim: the width d of a head; D / H by default.
            bias: the maps have biases.

        Raises:
            InputError: D cannot be divided among H heads where no width is given, or H among G.
        """
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        if heads < 1 or (head_dim is None and dim % heads):
            raise InputError(f"dim={dim} cannot be divided among {heads} heads: choose a divisor of it, or give head_dim")
        if kv_heads < 1 or heads % kv_heads:
            raise InputError(f"{heads} heads cannot share {kv_heads} heads of keys and values: choose a divisor")
        self.count, self.kv_count = heads, kv_heads
        self.width = dim // heads if head_dim is None else head_dim
        self.qkv = nn.Linear(dim, (heads + 2 * kv_heads) * self.width, bias=bias)
        self.out = nn.Linear(heads * self.width, dim, bias=bias)

    def split(
        self, x: Float[Tensor, "batch length dim"]
    ) -> tuple[
        Float[Tensor, "batch heads length head"], Float[Tensor, "batch groups length head"], Float[Tensor, "batch groups length head"]
    ]:
        """Queries (B, H, L, d), and keys and values (B, G, L, d)."""
        q, k, v = self.qkv(x).split([self.count * self.width, self.kv_count * self.width, self.kv_count * self.width], dim=-1)
        return split_heads(q, self.count), split_heads(k, self.kv_count), split_heads(v, self.kv_count)

    def merge(
        self, x: Float[Tensor, "batch heads length head"], padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "batch length dim"]:
        """The output map of the heads side by side, (B, H, L, d) -> (B, L, D), zero at padded positions."""
        return hide_padding(self.out(merge_heads(x)), padding_mask)
