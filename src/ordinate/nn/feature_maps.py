r"""Feature maps :math:`\phi`, by which a kernel of queries and keys becomes a dot product, :math:`\kappa(q, k) = \phi(q) \cdot \phi(k)`.

- ``prf``, positive random features of :math:`e^{q \cdot k}`: :math:`\phi(x) = m^{-1/2} e^{w_r \cdot x - |x|^2 / 2}`, r = 1..m, with :math:`w_r \sim N(0, I)`. Unbiased and positive. For independent :math:`w_r` the relative variance of the estimate is
  :math:`(e^{|x + y|^2} - 1) / m`: it grows exponentially with the norms, and is at most :math:`(e^4 - 1)/m` for unit vectors, which is why normalised PRF ("NPRF") is stable.
- ``trf``, trigonometric: :math:`\phi(x) = m^{-1/2} e^{|x|^2 / 2} (\sin w_r \cdot x, \cos w_r \cdot x)`. Unbiased too, and of either sign, so that denominators can vanish.
- ``relu``: :math:`\max(0, w_r \cdot x) / \sqrt m + 10^{-3}`, the Performer's generalised attention; ``elu``: :math:`\operatorname{elu}(x) + 1`, which has no randomness. Neither is an estimate of the exponential.

Exponentials overflow. `scaled` therefore gives the features of every vector divided by its largest exponential, and the logarithm of what they were divided by: for a query it cancels in the quotient of attention,
for a key it joins the logarithm of the key's weight.

Sources: Choromanski et al., Rethinking Attention with Performers (ICLR 2021), lemma 1 and section 2.4; Luo et al. (NeurIPS 2021), section 2; Katharopoulos et al., Transformers are RNNs (ICML 2020), for elu + 1.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator

__all__ = ["FEATURE_MAPS", "EluFeatures", "FeatureMap", "RandomFeatures", "feature_map", "unit_norm"]

FEATURE_MAPS = ("prf", "trf", "relu", "elu")
_RELU_FLOOR = 1e-3


def unit_norm(x: Float[Tensor, "*batch dim"], eps: float = 1e-6) -> Float[Tensor, "*batch dim"]:
    """x divided by its length along the last axis, smoothly: :math:`x / \\sqrt{|x|^2 + \\epsilon^2}`, so that the gradient at 0 is finite."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + eps**2)


class FeatureMap(nn.Module, ABC):
    """(..., heads, length, dim) -> (..., heads, length, width) features.

    Attributes:
        width: how many features.
        positive: no feature is negative, so that no denominator can vanish.
    """

    width: int
    positive: bool

    @abstractmethod
    def scaled(self, x: Float[Tensor, "*batch dim"]) -> tuple[Float[Tensor, "*batch width"], Float[Tensor, "*batch"] | None]:
        """Features of a moderate size, and the logarithm of the factor that they lack (None where they lack nothing); a constant to the gradient, of which the product does not depend."""

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch width"]:
        """The features themselves."""
        features, lacking = self.scaled(x)
        return features if lacking is None else features * lacking.exp()[..., None]

    def count_call(self) -> None:
        """To be called once a forward pass of the layer that owns the map, which may then draw itself anew; see `redraw_every` of :class:`RandomFeatures`."""


class EluFeatures(FeatureMap):
    """elu(x) + 1: as many features as dimensions, and nothing random."""

    positive = True

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = dim

    def scaled(self, x: Float[Tensor, "*batch dim"]) -> tuple[Float[Tensor, "*batch dim"], None]:
        """The features; nothing is lacking."""
        return F.elu(x.contiguous()) + 1, None  # heads arrive as strided views, which every product after this would copy


class RandomFeatures(FeatureMap):
    """Random features with frozen projections, drawn at construction.

    The projections are a buffer: they are saved with the weights, and not trained. `redraw` draws others; with `redraw_every` that happens by itself in training, from a seed of the module's own, so that the
    draw at a given call is the same however training was interrupted.
    """

    weight: Tensor
    calls: Tensor
    seed: Tensor

    def __init__(
        self,
        kind: str,
        dim: int,
        features: int,
        *,
        heads: int = 1,
        orthogonal: bool = False,
        redraw_every: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """
        Args:
            kind: ``"prf"``, ``"trf"`` or ``"relu"``.
            dim: of a vector.
            features: m, how many projections; ``"trf"`` gives twice as many features.
            heads: every head has projections of its own.
            orthogonal: in blocks of `dim`, projections are orthogonal (the QR factor of a Gaussian matrix), with the lengths that Gaussian vectors have: less variance, the same mean.
            redraw_every: draw anew after so many forward passes in training; None keeps the first draw.
            generator: of the randomness; torch's own by default.

        Raises:
            InputError: an unknown kind, or a number below 1.
        """
        super().__init__()
        self.kind = choose("kind of random features", kind, ("prf", "trf", "relu"))
        if min(dim, features, heads) < 1:
            raise InputError(f"random features need dim, features and heads of at least 1, not {dim}, {features}, {heads}")
        if redraw_every is not None and redraw_every < 1:
            raise InputError(f"redraw_every must be at least 1 forward pass, or None, not {redraw_every}")
        self.width = 2 * features if kind == "trf" else features
        self.positive = kind != "trf"
        self.orthogonal = orthogonal
        self.redraw_every = redraw_every
        self.register_buffer("weight", torch.empty(heads, features, dim))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seed", torch.randint(1 << 62, (), generator=generator))
        self.redraw(generator)

    @torch.no_grad()
    def redraw(self, generator: torch.Generator | None = None) -> None:
        """Draw other projections, from `generator` or torch's own."""
        heads, features, dim = self.weight.shape
        drawn = torch.randn(heads, features, dim, generator=generator)
        if self.orthogonal:
            blocks = -(-features // dim)
            directions = torch.linalg.qr(torch.randn(heads * blocks, dim, dim, generator=generator)).Q.mT
            directions = directions.reshape(heads, blocks * dim, dim)[:, :features]
            drawn = directions * drawn.norm(dim=-1, keepdim=True)
        self.weight.copy_(drawn)

    def count_call(self) -> None:
        """In training, draws anew when it is time to. To be called once a forward pass of the layer that owns the map."""
        if self.redraw_every is None or not self.training:
            return
        self.calls += 1
        if int(self.calls) % self.redraw_every == 0:
            self.redraw(generator(int(self.seed), "redraw", int(self.calls)))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch width"]:
        """The features themselves, (..., heads, length, dim) -> (..., heads, length, width).

        Raises:
            InputError: another width, or another number of heads.
        """
        if self.kind == "prf":
            return self._exponent(x).exp() / self.weight.shape[1] ** 0.5
        return super().forward(x)

    def scaled(self, x: Float[Tensor, "*batch dim"]) -> tuple[Float[Tensor, "*batch width"], Float[Tensor, "*batch"] | None]:
        """Features whose largest exponential is 1, and its logarithm.

        Raises:
            InputError: another width, or another number of heads.
        """
        root = self.weight.shape[1] ** 0.5
        if self.kind == "relu":
            return self._project(x).relu() / root + _RELU_FLOOR, None
        if self.kind == "prf":
            exponent = self._exponent(x)
            top = exponent.detach().amax(-1, keepdim=True)
            return (exponent - top).exp() / root, top.squeeze(-1)
        half = x.square().sum(-1, keepdim=True) / 2
        projected, top = self._project(x), half.detach()
        waves = torch.cat([projected.sin(), projected.cos()], dim=-1)
        return waves * (half - top).exp() / root, top.squeeze(-1)

    def _exponent(self, x: Tensor) -> Tensor:
        return self._project(x) - x.square().sum(-1, keepdim=True) / 2

    def _project(self, x: Tensor) -> Tensor:
        heads, _, dim = self.weight.shape
        if x.ndim < 2 or x.shape[-1] != dim or (heads > 1 and (x.ndim < 3 or x.shape[-3] != heads)):
            raise InputError(f"these random features take (..., {heads} heads, length, {dim}), not {tuple(x.shape)}")
        return x @ (self.weight if heads > 1 else self.weight[0]).to(x.dtype).mT


def feature_map(
    kind: str,
    dim: int,
    *,
    features: int | None = None,
    heads: int = 1,
    orthogonal: bool = False,
    redraw_every: int | None = None,
    generator: torch.Generator | None = None,
) -> FeatureMap:
    """The feature map called `kind` for heads of width `dim`.

    Args:
        kind: one of `FEATURE_MAPS`.
        dim: of a vector.
        features: how many projections; `dim` by default. ``"elu"`` has none.
        heads: how many heads, each with projections of its own.
        orthogonal: see :class:`RandomFeatures`.
        redraw_every: see :class:`RandomFeatures`.
        generator: of the randomness.

    Raises:
        InputError: an unknown kind, a number below 1, or an argument that ``"elu"`` does not have.
    """
    choose("feature map", kind, FEATURE_MAPS)
    if kind == "elu":
        if features not in (None, dim) or orthogonal or redraw_every is not None:
            raise InputError(
                f"the elu feature map has {dim} features, one a dimension, and nothing to draw: leave out features, orthogonal and redraw_every"
            )
        return EluFeatures(dim)
    wanted = dim if features is None else features
    return RandomFeatures(kind, dim, wanted, heads=heads, orthogonal=orthogonal, redraw_every=redraw_every, generator=generator)
