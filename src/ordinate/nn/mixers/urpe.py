r"""Universal attention with relative positions (URPE), :math:`y = (\operatorname{softmax}(q k^\top / \sqrt d + B) \circ C)\, v`, with learned Toeplitz matrices B and C.

Rows of a softmax sum to one, so that with relative positions inside it alone identical tokens stay identical at every layer. A factor by the offset after the softmax, which is not normalised again, lifts that: row sums can tell
positions apart, and the model is universal. C starts at 1, where this is attention with a relative bias.

Source: Luo et al., Your Transformer May Not be as Powerful as You Expect (NeurIPS 2022), sections 3 and 4.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.nn.heads import HeadCache, Heads, hide_padding
from ordinate.nn.mixers.base import MixerSpec, TokenMixer
from ordinate.nn.offset_tables import OffsetTable
from ordinate.nn.scaled_attention import scaled_attention

__all__ = ["MIXERS", "UniversalAttention"]


class UniversalAttention(TokenMixer):
    """Attention with a bias inside the softmax and a factor after it, both by the offset, or by indices of one's own."""

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        causal: bool = False,
        max_length: int = 1024,
        relative: bool = True,
        universal: bool = True,
        mode: str = "unique",
        buckets: int = 64,
        max_distance: int = 128,
        clamp: bool = True,
        bias: bool = True,
        tables: tuple[OffsetTable | None, OffsetTable | None] | None = None,
    ) -> None:
        """
        Args:
            dim: the width D.
            heads: H, a divisor of D.
            causal: position i sees only positions j <= i.
            max_length: see :class:`OffsetTable`.
            relative: there is a bias B.
            universal: there is a factor C.
            mode: how offsets share entries, see :class:`OffsetTable`.
            buckets: for the modes with buckets.
            max_distance: likewise.
            clamp: offsets beyond the tables take their outermost entries; otherwise longer sequences are refused.
            bias: the linear maps have biases.
            tables: B's and C's, where layers share them; `relative` and `universal` then say nothing.

        Raises:
            InputError: D cannot be divided among H heads, an unknown mode, or a number out of range.
        """
        super().__init__(dim, causal=causal)
        self.heads = Heads(dim, heads, bias=bias)
        if tables is None:
            shape: dict[str, Any] = {"mode": mode, "buckets": buckets, "max_distance": max_distance, "causal": causal, "clamp": clamp}
            tables = (
                OffsetTable(heads, max_length, **shape) if relative else None,
                OffsetTable(heads, max_length, start=1.0, **shape) if universal else None,
            )
        self.bias_table, self.scale_table = tables

    @property
    def spec(self) -> MixerSpec:
        """Softmax of dot products and a bias, times a factor."""
        return MixerSpec(
            mixes_with="softmax of dot products with a bias of the offset, times a factor of the offset",
            time="L^2",
            memory="L",
            state="L",
            shards="heads",
        )

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        *,
        padding_mask: Bool[Tensor, "batch length"] | None = None,
        bias_index: Int[Tensor, "..."] | None = None,
        scale_index: Int[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "batch length dim"]:
        """Mix across positions.

        Args:
            x: (B, L, D), floating point.
            padding_mask: (B, L), True = real token.
            bias_index: (L, L) or (B, L, L) integers: which entry of B's table a pair has, in place of its offset (distances in a graph, say).
            scale_index: the same for C's.

        Raises:
            InputError: wrong rank, width, mask or indices, or a sequence beyond the tables without `clamp`.
        """
        return self._forward(x, padding_mask, bias_index, scale_index)[0]

    def _forward(
        self, x: Tensor, padding_mask: Tensor | None, bias_index: Tensor | None, scale_index: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        self.check(x, padding_mask)
        q, k, v = self.heads.split(hide_padding(x, padding_mask))
        if bias_index is None and scale_index is None:
            y = scaled_attention(q, k, v, bias=self._bias(x.shape[1], x), scale=self._scale(x.shape[1]), mask=padding_mask)
        else:
            y = self._by_index(q, k, v, padding_mask, bias_index, scale_index)
        return self.heads.merge(y, padding_mask), (k, v)

    def _bias(self, length: int, like: Tensor) -> Tensor | None:
        """B's diagonals, -inf ahead of a causal mixer."""
        if not length:
            return None
        ahead = torch.arange(1 - length, length, device=like.device) > 0
        if self.bias_table is not None:
            table = self.bias_table(length)
        elif self.causal:
            table = torch.zeros(self.heads.count, 2 * length - 1, device=like.device)
        else:
            return None
        return table.masked_fill(ahead, -torch.inf) if self.causal else table

    def _scale(self, length: int) -> Tensor | None:
        return None if self.scale_table is None or not length else self.scale_table(length)

    def _by_index(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bias_index: Tensor | None, scale_index: Tensor | None
    ) -> Tensor:
        length = q.shape[2]
        logits = q @ k.mT * q.shape[-1] ** -0.5
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self.bias_table is not None:
            logits = logits + _entries("bias_index", self.bias_table, bias_index, q)
        hidden = torch.zeros(len(q), 1, length, length, dtype=torch.bool, device=q.device)
        if self.causal:
            hidden = hidden | torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
        if mask is not None:
            hidden = hidden | ~mask[:, None, None]
        weights = logits.masked_fill(hidden, -torch.inf).softmax(dim=-1).nan_to_num(nan=0.0)
        if self.scale_table is not None:
            weights = weights * _entries("scale_index", self.scale_table, scale_index, q)
        return weights.to(v.dtype) @ v

    def weights(
        self, x: Float[Tensor, "batch length dim"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "batch heads length length"]:
        """The effective weights, after C: (B, H, L, L), for inspection."""
        self.check(x, padding_mask)
        q, k, _ = self.heads.split(hide_padding(x, padding_mask))
        identity = torch.eye(x.shape[1], dtype=q.dtype, device=q.device).expand(len(x), self.heads.count, -1, -1)
        return scaled_attention(q, k, identity, bias=self._bias(x.shape[1], x), scale=self._scale(x.shape[1]), mask=padding_mask)

    def prefill(
        self, x: Float[Tensor, "batch length dim"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> tuple[Tensor, HeadCache]:
        """Run a prompt; the state is its keys and values. See :meth:`TokenMixer.prefill`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        y, keys = self._forward(x, padding_mask, None, None)
        return y, HeadCache.of(keys, padding_mask)

    def step(self, x_t: Float[Tensor, "batch dim"], state: Any) -> tuple[Float[Tensor, "batch dim"], HeadCache]:
        """One more position, in O(L). See :meth:`TokenMixer.step`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        self.check(x_t[:, None], None)
        q, k, v = self.heads.split(x_t[:, None])
        cache: HeadCache = state.append((k, v))
        keys, values = cache.keys
        back = torch.arange(1 - keys.shape[2], 1, device=x_t.device)
        bias, scale = (None if table is None else table.at(back) for table in (self.bias_table, self.scale_table))
        y = scaled_attention(q, keys, values, bias=bias, scale=scale, mask=cache.mask)
        return self.heads.merge(y)[:, 0], cache


def _entries(name: str, table: OffsetTable, index: Tensor | None, q: Tensor) -> Tensor:
    """The table's entries at an index matrix, (B or 1, H, L, L); at offsets where there is none."""
    length = q.shape[2]
    if index is None:
        places = torch.arange(length, device=q.device)
        index = table.places(places - places[:, None])
    if index.is_floating_point() or index.shape[-2:] != (length, length) or index.ndim not in (2, 3):
        raise InputError(
            f"{name} must be integers ({length}, {length}), or so many a row of the batch, not {index.dtype} {tuple(index.shape)}"
        )
    entries = table.table.shape[1]
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= entries):
        raise InputError(
            f"{name} must lie in 0..{entries - 1}, the entries of the table, and goes from {int(index.min())} to {int(index.max())}"
        )
    found = table.table[:, index]
    return found.transpose(0, 1) if index.ndim == 3 else found[None]


MIXERS = {"urpe": UniversalAttention}
