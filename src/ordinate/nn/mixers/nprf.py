r"""Kernelized attention with a relative bias, in O(L log L) ("NPRF with RPE").

Softmax attention :math:`e^{q_i \cdot k_j + b_{j-i}}` is approximated by features of queries and keys of *unit length*, :math:`\phi(q_i) \cdot \phi(k_j)\, e^{b_{j-i}}`, and the sums over j are products with the Toeplitz matrix
:math:`e^{b_{j-i}}` (`ordinate.nn.kernel_attention`). Unit length keeps the variance of the random features within :math:`(e^4 - 1)/m`, so that it trains from scratch. It also confines every attention weight, as long as b = 0, to a factor
:math:`e^2` around uniform; the bias is what lets attention be sharp again.

Decoding has no state of constant size, since every step weighs all past keys anew: it keeps their features and costs O(L) a step, as softmax attention does.

Source: Luo et al., Stable, Fast and Accurate: Kernelized Attention with Relative Positional Encoding (NeurIPS 2021), sections 3.1 to 3.3.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ordinate.ground.errors import InputError, choose
from ordinate.nn.heads import HeadCache, key_column
from ordinate.nn.kernel_attention import METHODS, kernel_attention
from ordinate.nn.kernel_heads import KernelHeads
from ordinate.nn.linear_attention import LinearState, linear_attention, linear_prefill, linear_step
from ordinate.nn.mixers.base import MixerSpec, TokenMixer
from ordinate.nn.mixers.softmax import RelativeSoftmaxAttention
from ordinate.nn.positions import RelativeBias

__all__ = ["MIXERS", "KernelRPEAttention"]

_LINEAR_CHUNK = 128


class KernelRPEAttention(TokenMixer):
    """Kernelized attention with a learned bias a head and offset."""

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        causal: bool = False,
        max_length: int = 1024,
        features: int | None = None,
        kind: str = "prf",
        normalize: bool = True,
        norm_scale: float = 1.0,
        rpe: bool = True,
        clamp: bool = True,
        method: str = "auto",
        chunk: int | None = None,
        orthogonal: bool = False,
        redraw_every: int | None = None,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        """
        Args:
            dim: the width D.
            heads: H, a divisor of D.
            causal: position i sees only positions j <= i.
            max_length: the longest sequence with a bias of its own for every offset.
            features: m, the number of random features; the width of a head by default.
            kind: the feature map, ``"prf"`` in the paper; ``"trf"``, ``"relu"``, ``"elu"``.
            normalize: queries and keys have length `norm_scale`. False is the Performer's kernel.
            norm_scale: R, 1 in the paper.
            rpe: there is a relative bias. Without one this is linear attention, in O(L).
            clamp: offsets beyond max_length take the outermost bias; otherwise longer sequences are refused.
            method: ``"auto"``, ``"naive"``, ``"chunked"`` or ``"fft"``; see `ordinate.nn.kernel_attention`.
            chunk: rows at a time of ``"chunked"``, and positions at a time of causal linear attention; by default as many as fit a cache.
            orthogonal: random projections are orthogonal.
            redraw_every: draw them anew after so many forward passes in training.
            bias: the linear maps have biases.
            generator: of the random projections.

        Raises:
            InputError: D cannot be divided among H heads, an unknown map or method, or a number out of range.
        """
        super().__init__(dim, causal=causal)
        if max_length < 1 or (chunk is not None and chunk < 1):
            raise InputError(f"max_length and chunk must be at least 1, not {max_length} and {chunk}")
        self.heads = KernelHeads(
            dim,
            heads,
            kind=kind,
            features=features,
            normalize=normalize,
            norm_scale=norm_scale,
            orthogonal=orthogonal,
            redraw_every=redraw_every,
            bias=bias,
            generator=generator,
        )
        self.relative = RelativeBias(heads, max_length, causal=causal, clamp=clamp) if rpe else None
        self.max_length, self.clamp = max_length, clamp
        self.method, self.chunk = choose("method", method, METHODS), chunk

    @classmethod
    def from_softmax(cls, layer: RelativeSoftmaxAttention, **arguments: Any) -> "KernelRPEAttention":
        """A layer with the weights and the bias of a trained softmax attention, to be fine-tuned.

        Args:
            layer: what is converted.
            arguments: of the constructor. With ``normalize=False`` it is an estimate of `layer` that becomes exact as `features` grows; with normalisation, the paper's, the lengths of queries and keys are lost and
                must be made up for by fine-tuning.
        """
        relative = layer.relative
        made = cls(
            layer.dim,
            heads=layer.heads.count,
            causal=layer.causal,
            max_length=relative.max_length,
            clamp=relative.clamp,
            bias=layer.heads.out.bias is not None,
            **arguments,
        ).to(device=relative.table.device, dtype=relative.table.dtype)
        made.heads.qkv.load_state_dict(layer.heads.qkv.state_dict())
        made.heads.out.load_state_dict(layer.heads.out.state_dict())
        if made.relative is not None:
            made.relative.load_state_dict(relative.state_dict())
        return made

    @property
    def spec(self) -> MixerSpec:
        """Dot products of features, times the exponential of a bias of the offset."""
        if self.relative is None:
            return MixerSpec(mixes_with="dot products of features", time="L", memory="L", state="1", shards="heads")
        return MixerSpec(
            mixes_with="dot products of features, weighted by the offset", time="L log L", memory="L", state="L", shards="heads"
        )

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        *,
        padding_mask: Bool[Tensor, "batch length"] | None = None,
        context: Float[Tensor, "batch other dim"] | None = None,
        context_mask: Bool[Tensor, "batch other"] | None = None,
    ) -> Float[Tensor, "batch length dim"]:
        """Mix across positions, or read from `context` (B, C, D) where it is given.

        Args:
            x: (B, L, D), floating point. Features, sums and their quotient are taken in float32 where x has fewer digits.
            padding_mask: (B, L), True = real token.
            context: (B, C, D), what keys and values come from; by default x. Offsets are counted from the beginning of both.
            context_mask: (B, C), True = real token.

        Raises:
            InputError: wrong rank, width or mask shape, a sequence beyond max_length without `clamp`, or a causal mixer with a context.
        """
        self.check(x, padding_mask)
        if context is not None:
            self.check(context, context_mask)
            if self.causal:
                raise InputError("a causal mixer reads its own past: construct it with causal=False to read from a context")
        phi_q, phi_k, v, scale = self.heads.inputs(x, padding_mask, context, context_mask)
        y = self._attend(phi_q, phi_k, v, scale, padding_mask)
        return self.heads.merge(y.to(x.dtype), padding_mask)

    def _attend(self, phi_q: Tensor, phi_k: Tensor, v: Tensor, scale: Tensor | None, counts: Tensor | None) -> Tensor:
        if self.relative is None and self.method in ("auto", "chunked"):
            return linear_attention(phi_q, phi_k, v, key_scale=scale, causal=self.causal, chunk=self.chunk or _LINEAR_CHUNK)
        rows, columns = phi_q.shape[2], phi_k.shape[2]
        if rows == 0 or columns == 0:
            return v.new_zeros(*phi_q.shape[:3], v.shape[-1])
        unbiased = v.new_zeros(self.heads.count, rows + columns - 1)
        diagonals = unbiased if self.relative is None else self.relative(rows, columns).to(v.dtype)
        return kernel_attention(
            phi_q, phi_k, v, diagonals, key_scale=scale, counts=counts, causal=self.causal, method=self.method, chunk=self.chunk
        )

    def prefill(
        self, x: Float[Tensor, "batch length dim"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> tuple[Tensor, HeadCache | LinearState]:
        """Run a prompt; the state is the features of its keys and its values, or without a bias their sums. See :meth:`TokenMixer.prefill`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        self.check(x, padding_mask)
        phi_q, phi_k, v, scale = self.heads.inputs(x, padding_mask)
        state: HeadCache | LinearState
        if self.relative is None:
            y, state = linear_prefill(phi_q, phi_k, v, key_scale=scale, chunk=self.chunk or _LINEAR_CHUNK)
        else:
            y = self._attend(phi_q, phi_k, v, scale, padding_mask)
            state = HeadCache.of((phi_k, v, key_column(scale, v)), padding_mask)
        return self.heads.merge(y.to(x.dtype), padding_mask), state

    def step(self, x_t: Float[Tensor, "batch dim"], state: Any) -> tuple[Float[Tensor, "batch dim"], HeadCache | LinearState]:
        """One more position, in O(L), or without a bias in O(1). See :meth:`TokenMixer.step`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        self.check(x_t[:, None], None)
        phi_q, phi_k, v, scale = self.heads.inputs(x_t[:, None], None)
        if self.relative is None:
            key_scale = None if scale is None else scale[:, :, 0]
            y, state = linear_step(phi_q[:, :, 0], phi_k[:, :, 0], v[:, :, 0], state, key_scale=key_scale)
            return self.heads.merge(y[:, :, None].to(x_t.dtype))[:, 0], state
        state = state.append((phi_k, v, key_column(scale, v)))
        keys, values, scales = state.keys
        back = self.relative.at(torch.arange(1 - keys.shape[2], 1, device=v.device)).to(v.dtype)
        # One row against all columns: its diagonals are its biases in the order of the columns.
        y = kernel_attention(phi_q, keys, values, back, key_scale=scales[..., 0], method="naive")
        return self.heads.merge(y.to(x_t.dtype))[:, 0], state


MIXERS = {"nprf": KernelRPEAttention}
