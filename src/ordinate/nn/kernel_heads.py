"""Heads whose queries and keys go through a feature map: what the kernelized attentions have in common."""

import torch
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.nn.feature_maps import feature_map, unit_norm
from ordinate.nn.heads import Heads, hide_padding
from ordinate.nn.precision import full_precision, without_autocast

__all__ = ["KernelHeads"]

_SHORT = 2.0


class KernelHeads(Heads):
    """Linear maps to queries, keys and values, a feature map of queries and keys, and the output map."""

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        kind: str,
        features: int | None = None,
        normalize: bool = False,
        norm_scale: float = 1.0,
        orthogonal: bool = False,
        redraw_every: int | None = None,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        """
        Args:
            dim: the width D.
            heads: H, a divisor of D.
            kind: one of `ordinate.nn.feature_maps.FEATURE_MAPS`.
            features: m of a random map; the width of a head by default.
            normalize: queries and keys are brought to length `norm_scale` a head; otherwise those of ``"prf"`` and ``"trf"`` are divided by d^(1/4), so that their kernel estimates exp(q.k / sqrt(d)).
            norm_scale: R, the length of normalised queries and keys.
            orthogonal: projections of a random map are orthogonal.
            redraw_every: draw them anew after so many forward passes in training.
            bias: the linear maps have biases.
            generator: of the random projections.

        Raises:
            InputError: D cannot be divided among H heads, an unknown map, or a number out of range.
        """
        super().__init__(dim, heads, bias=bias)
        if not norm_scale > 0 or (norm_scale != 1.0 and not normalize):
            raise InputError(f"norm_scale is a positive length of normalised queries and keys, not {norm_scale} with normalize={normalize}")
        self.features = feature_map(
            kind, self.width, features=features, heads=heads, orthogonal=orthogonal, redraw_every=redraw_every, generator=generator
        )
        self.normalize, self.norm_scale = normalize, norm_scale
        self.scale = self.width**-0.25 if kind in ("prf", "trf") else 1.0

    def inputs(
        self, x: Tensor, padding_mask: Tensor | None, context: Tensor | None = None, context_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Features of queries (B, H, L, m) and keys, values (B, H, C, d), and the logarithm of every key's missing factor (B, H, C), -inf for padding, or None; in float32, or float64 where x is."""
        self.features.count_call()
        if context is None:
            q, k, v = self.split(hide_padding(x, padding_mask))
            mask = padding_mask
        else:
            q, k, v = self.split(hide_padding(x, padding_mask), hide_padding(context, context_mask))
            mask = context_mask
        q, k, v = full_precision(q), full_precision(k), full_precision(v)
        with without_autocast(v):
            phi_q, _ = self._features(q)
            phi_k, lacking = self._features(k)
        if mask is not None:
            lacking = (v.new_zeros(v.shape[:3]) if lacking is None else lacking).masked_fill(~mask[:, None], -torch.inf)
        return phi_q, phi_k, v, lacking

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.normalize:
            return self.features.scaled(x * self.scale)
        x = unit_norm(x) * self.norm_scale
        # Exponents of short vectors are those of a Gaussian of a few dozen at the most, which float32 holds without help.
        return (self.features(x), None) if self.norm_scale <= _SHORT else self.features.scaled(x)
