"""Linear attention as token mixers: elu + 1 features, and the Performer's positive random features.

See `ordinate.nn.linear_attention` for the sums and `ordinate.nn.feature_maps` for the maps.

Sources: Katharopoulos et al., Transformers are RNNs (ICML 2020); Choromanski et al., Rethinking Attention with Performers (ICLR 2021).
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.nn.kernel_heads import KernelHeads
from ordinate.nn.linear_attention import LinearState, linear_attention, linear_prefill, linear_step
from ordinate.nn.mixers.base import MixerSpec, TokenMixer

__all__ = ["MIXERS", "LinearAttention", "Performer"]


class LinearAttention(TokenMixer):
    """Kernel attention without a bias, in O(L), with a state of constant size."""

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        causal: bool = False,
        max_length: int | None = None,
        kind: str = "elu",
        features: int | None = None,
        orthogonal: bool = False,
        redraw_every: int | None = None,
        floor: float = 0.0,
        chunk: int = 128,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        """
        Args:
            dim: the width D.
            heads: H, a divisor of D.
            causal: position i sees only positions j <= i.
            max_length: longer sequences are refused; None takes any.
            kind: the feature map: ``"elu"``, ``"relu"``, ``"prf"``, ``"trf"``.
            features: m of a random map; the width of a head by default.
            orthogonal: projections of a random map are orthogonal.
            redraw_every: draw them anew after so many forward passes in training.
            floor: added to every feature, relative to the largest of its query, or of the keys (so far): denominators then do not vanish.
            chunk: positions at a time of the causal form.
            bias: the linear maps have biases.
            generator: of the random projections.

        Raises:
            InputError: D cannot be divided among H heads, an unknown map, or a number below 1.
        """
        super().__init__(dim, causal=causal)
        if chunk < 1 or (max_length is not None and max_length < 1):
            raise InputError(f"chunk and max_length must be at least 1, not {chunk} and {max_length}")
        if not floor >= 0:
            raise InputError(f"floor must be 0 or more, not {floor}")
        self.max_length, self.chunk, self.floor = max_length, chunk, floor
        self.heads = KernelHeads(
            dim, heads, kind=kind, features=features, orthogonal=orthogonal, redraw_every=redraw_every, bias=bias, generator=generator
        )

    @property
    def spec(self) -> MixerSpec:
        """Dot products of features."""
        return MixerSpec(mixes_with="dot products of features", time="L", memory="L", state="1", shards="heads")

    def forward(
        self, x: Float[Tensor, "batch length dim"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "batch length dim"]:
        """Mix across positions. See :meth:`TokenMixer.forward`.

        Raises:
            InputError: wrong rank, width or mask shape, or a sequence beyond max_length.
        """
        phi_q, phi_k, v, scale = self._inputs(x, padding_mask)
        y = linear_attention(phi_q, phi_k, v, key_scale=scale, causal=self.causal, floor=self.floor, chunk=self.chunk)
        return self.heads.merge(y.to(x.dtype), padding_mask)

    def prefill(
        self, x: Float[Tensor, "batch length dim"], *, padding_mask: Bool[Tensor, "batch length"] | None = None
    ) -> tuple[Tensor, LinearState]:
        """Run a prompt; the state is its sums. See :meth:`TokenMixer.prefill`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        phi_q, phi_k, v, scale = self._inputs(x, padding_mask)
        y, state = linear_prefill(phi_q, phi_k, v, key_scale=scale, floor=self.floor, chunk=self.chunk)
        return self.heads.merge(y.to(x.dtype), padding_mask), state

    def step(self, x_t: Float[Tensor, "batch dim"], state: Any) -> tuple[Float[Tensor, "batch dim"], LinearState]:
        """One more position, in O(1). See :meth:`TokenMixer.step`."""
        if not self.causal:
            raise InputError(self._cannot_step())
        phi_q, phi_k, v, scale = self._inputs(x_t[:, None], None)
        y, state = linear_step(
            phi_q[:, :, 0], phi_k[:, :, 0], v[:, :, 0], state, key_scale=None if scale is None else scale[:, :, 0], floor=self.floor
        )
        return self.heads.merge(y[:, :, None].to(x_t.dtype))[:, 0], state

    def _inputs(self, x: Tensor, padding_mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        self.check(x, padding_mask)
        if self.max_length is not None and x.shape[1] > self.max_length:
            raise InputError(
                f"{type(self).__name__} was made for max_length={self.max_length}, and the sequence has {x.shape[1]} positions"
            )
        phi_q, phi_k, v, scale = self.heads.inputs(x, padding_mask)
        return phi_q + self.floor if self.floor else phi_q, phi_k, v, scale


class Performer(LinearAttention):
    """Linear attention with positive random features of the exponential: an estimate of softmax attention whose variance grows exponentially with the norms of queries and keys."""

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        causal: bool = False,
        max_length: int | None = None,
        kind: str = "prf",
        features: int | None = None,
        orthogonal: bool = True,
        redraw_every: int | None = None,
        floor: float = 1e-4,
        chunk: int = 128,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        """See :class:`LinearAttention`; by default the map is ``"prf"``, its projections are orthogonal, and the floor is that of the authors' code."""
        super().__init__(
            dim,
            heads=heads,
            causal=causal,
            max_length=max_length,
            kind=kind,
            features=features,
            orthogonal=orthogonal,
            redraw_every=redraw_every,
            floor=floor,
            chunk=chunk,
            bias=bias,
            generator=generator,
        )


MIXERS = {"linear-attention": LinearAttention, "performer": Performer}
