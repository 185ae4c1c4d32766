r"""Kernelized attention with a relative bias over a grid, for images.

The bias depends on the pair of offsets, :math:`b_{(y_j - y_i,\, x_j - x_i)}`, so that the matrix :math:`e^b` has Toeplitz blocks in a Toeplitz arrangement, and its products are two-dimensional FFTs of at least (2 h - 1) x (2 w - 1).
A leading class token has no place on the grid. It is a further key with a bias of its own, which is merged into the patches' quotients by their denominators, and a further row of its own.

Source: Luo et al. (NeurIPS 2021), section 4, apply it to images; how they treat the class token is not said in what we could read, and three biases a head are ours.
"""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ordinate.ground.errors import InputError, choose
from ordinate.nn.heads import HeadCache, key_column
from ordinate.nn.kernel_attention import METHODS, attend, choose_method
from ordinate.nn.kernel_attention.direct import attend_rows
from ordinate.nn.kernel_heads import KernelHeads
from ordinate.nn.mixers.base import MixerSpec, TokenMixer
from ordinate.nn.positions import RelativeBias2d
from ordinate.nn.precision import without_autocast

__all__ = ["MIXERS", "KernelRPEAttention2d"]

_DEFAULT_CELLS = 256


class KernelRPEAttention2d(TokenMixer):
    """Kernelized attention with a learned bias a head and pair of offsets; the sequence is a grid in row order, or its beginning."""

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        causal: bool = False,
        max_length: int | None = None,
        height: int | None = None,
        width: int | None = None,
        class_token: bool = False,
        features: int | None = None,
        kind: str = "prf",
        normalize: bool = True,
        norm_scale: float = 1.0,
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
            causal: a position sees only those that are not after it in row order.
            max_length: without height and width, the grid is the smallest square for so many positions (256 by default).
            height: rows of the grid; given together with width.
            width: columns of the grid.
            class_token: the sequence begins with a token that has no place on the grid.
            features: m, the number of random features; the width of a head by default.
            kind: the feature map. ``"trf"``, whose denominators can vanish, with a class token is taken by the naive method only.
            normalize: queries and keys have length `norm_scale`.
            norm_scale: R, 1 in the paper.
            method: ``"auto"``, ``"naive"``, ``"chunked"`` or ``"fft"``; see `ordinate.nn.kernel_attention`.
            chunk: rows at a time of ``"chunked"``; by default as many as fit a cache.
            orthogonal: random projections are orthogonal.
            redraw_every: draw them anew after so many forward passes in training.
            bias: the linear maps have biases.
            generator: of the random projections.

        Raises:
            InputError: D cannot be divided among H heads, an unknown map or method, a number out of range, or a grid that is half given.
        """
        super().__init__(dim, causal=causal)
        lead = int(class_token)
        if (height is None) != (width is None):
            raise InputError("a grid is given by height and width together")
        if height is None or width is None:
            cells = (_DEFAULT_CELLS + lead if max_length is None else max_length) - lead
            if cells < 1:
                raise InputError(f"max_length={max_length} leaves no position on the grid")
            height = width = math.isqrt(cells - 1) + 1
        elif max_length is not None and max_length != height * width + lead:
            raise InputError(f"a grid of {height}x{width} has {height * width + lead} positions, not max_length={max_length}")
        if chunk is not None and chunk < 1:
            raise InputError(f"chunk must be at least 1, not {chunk}")
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
        self.relative = RelativeBias2d(heads, height, width, causal=causal, class_token=class_token)
        self.lead, self.cells = lead, height * width
        self.chunk = chunk
        self.method = choose("method", method, METHODS)
        if class_token and not self.heads.features.positive:
            if method not in ("auto", "naive"):
                raise InputError(
                    f"features of either sign have no denominator to merge a class token by: use method='naive', not {method!r}"
                )
            self.method = "naive"

    @property
    def spec(self) -> MixerSpec:
        """Dot products of features, times the exponential of a bias of the offsets."""
        return MixerSpec(
            mixes_with="dot products of features, weighted by the offset on a grid", time="L log L", memory="L", state="L", shards="heads"
        )

    def forward(
        self, x: Float[Tensor, "batch length dim"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "batch length dim"]:
        """Mix across positions.

        Args:
            x: (B, L, D), the first L positions: the class token where there is one, then the grid in row order.
            padding_mask: (B, L), True = real token.

        Raises:
            InputError: wrong rank, width or mask shape, or more positions than the grid has.
        """
        return self._forward(x, padding_mask)[0]

    def _forward(self, x: Tensor, padding_mask: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        self.check(x, padding_mask)
        if x.shape[1] > self.cells + self.lead:
            raise InputError(f"{type(self).__name__} has a grid of {self.cells + self.lead} positions, and the sequence has {x.shape[1]}")
        phi_q, phi_k, v, scale = self.heads.inputs(x, padding_mask)
        # Without a position on the grid there is nothing, or the class token, which sees itself alone.
        y = v if x.shape[1] <= self.lead else self._attend(phi_q, phi_k, v, scale, padding_mask)
        return self.heads.merge(y.to(x.dtype), padding_mask), (phi_k, v, key_column(scale, v))

    def _attend(self, phi_q: Tensor, phi_k: Tensor, v: Tensor, scale: Tensor | None, counts: Tensor | None) -> Tensor:
        batch, heads, length, _ = phi_q.shape
        method = self.method
        if method == "auto":
            method = choose_method(
                batch, heads, self.cells, self.cells, phi_q.shape[-1], v.shape[-1], causal=self.causal, device=v.device.type
            )
        if method == "naive":
            with without_autocast(v):
                return attend_rows(phi_q, phi_k, v, self.relative.matrix(length).to(v.dtype), scale)[0]
        lead, beyond = self.lead, self.cells + self.lead - length
        if beyond:
            scale = v.new_zeros(v.shape[:3]) if scale is None else scale
            counts = torch.ones(batch, length, dtype=torch.bool, device=v.device) if counts is None else counts
        patches, mass = attend(
            F.pad(phi_q[:, :, lead:], (0, 0, 0, beyond)),
            F.pad(phi_k[:, :, lead:], (0, 0, 0, beyond)),
            F.pad(v[:, :, lead:], (0, 0, 0, beyond)),
            self.relative().to(v.dtype),
            key_scale=None if scale is None else F.pad(scale[:, :, lead:], (0, beyond), value=-torch.inf),
            counts=None if counts is None else F.pad(counts[:, lead:], (0, beyond)),
            grid=self.relative.grid,
            causal=self.causal,
            method=method,
            chunk=self.chunk,
        )
        patches, mass = patches[:, :, : length - lead], mass[:, :, : length - lead]
        if self.relative.class_bias is None:
            return patches
        with without_autocast(v):
            to_class, from_class, own = self.relative.class_bias.to(v.dtype).unbind(1)
            class_mass = (phi_q[:, :, 1:] @ phi_k[:, :, :1].mT).squeeze(-1).log() + to_class[:, None]
            class_mass = class_mass if scale is None else class_mass + scale[:, :, :1]
            patches = _merge(patches, mass, v[:, :, :1], class_mass)
            ahead = torch.full_like(from_class, -torch.inf) if self.causal else from_class
            row = torch.cat([own[:, None], ahead[:, None].expand(-1, length - 1)], dim=1)
            first, _ = attend_rows(phi_q[:, :, :1], phi_k, v, row[:, None], scale)
        return torch.cat([first, patches], dim=2)

    def prefill(
        self, x: Float[Tensor, "batch length dim"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> tuple[Tensor, HeadCache]:
        """Run the beginning of an image; the state is the features of its keys and its values. See :meth:`TokenMixer.prefill`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        y, keys = self._forward(x, padding_mask)
        return y, HeadCache.of(keys, padding_mask)

    def step(self, x_t: Float[Tensor, "batch dim"], state: Any) -> tuple[Float[Tensor, "batch dim"], HeadCache]:
        """One more position, in O(L). See :meth:`TokenMixer.step`.

        Raises:
            InputError: the grid is full.
        """
        if not self.causal:
            raise InputError(self._cannot_step())
        self.check(x_t[:, None], None)
        phi_q, phi_k, v, scale = self.heads.inputs(x_t[:, None], None)
        cache: HeadCache = state.append((phi_k, v, key_column(scale, v)))
        keys, values, scales = cache.keys
        row = self.relative.matrix(keys.shape[2])[:, -1:].to(v.dtype)
        with without_autocast(v):
            y, _ = attend_rows(phi_q, keys, values, row, scales[..., 0])
        return self.heads.merge(y.to(x_t.dtype))[:, 0], cache


def _merge(out: Tensor, mass: Tensor, other: Tensor, other_mass: Tensor) -> Tensor:
    """Attention over two disjoint sets of keys, from the outputs (B, H, L, d) over each and the logarithms of their denominators (B, H, L)."""
    top = torch.maximum(mass, other_mass).detach()
    top = top.masked_fill(top == -torch.inf, 0)
    weight, other_weight = (mass - top).exp()[..., None], (other_mass - top).exp()[..., None]
    total = weight + other_weight
    return (weight * out + other_weight * other) / total.masked_fill(total == 0, 1)


MIXERS = {"nprf-2d": KernelRPEAttention2d}
