r"""Recursive gated convolution, g^n Conv: spatial interactions of order n + 1 at about the cost of one depthwise convolution.

With widths :math:`C_k = C / 2^{n-1-k}` for :math:`k = 0, \dots, n-1`, an input is projected once to a gate :math:`p_0` of :math:`C_0` channels and features :math:`q` of :math:`\sum_k C_k`; together
they are :math:`2C` channels. The features are mixed over space once, by a depthwise convolution or a filter as large as the map, and multiplied into the gate one after the other, from the narrowest
to the widest:

.. math:: (d_0, \dots, d_{n-1}) = s \cdot \mathrm{Mix}(q), \qquad p_1 = p_0 \odot d_0, \qquad p_{k+1} = W_k p_k \odot d_k, \qquad y = W_{\text{out}}\, p_n.

There is no activation: without its biases the map is homogeneous of degree n + 1. Hence the scale s = 1/3 of every released network, and the need for a norm in front.
Multiply-adds a pixel are :math:`2C^2 + C^2 + \sum_k C_k C_{k+1} + (K^2 + 1)\sum_k C_k < C (2K^2 + 11C/3 + 2)` for a K x K kernel, whatever the order.

Source: Rao et al., HorNet: Efficient High-Order Spatial Interactions with Recursive Gated Convolutions (NeurIPS 2022), section 3.1, equations 3.1 to 3.9.
"""

import warnings
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.nn.global_filter import GlobalLocalFilter

__all__ = ["MIXER_NAMES", "SCALE", "GnConv", "GnConvModule", "gated_bound", "gated_cost", "gated_widths"]

MIXER_NAMES = ("dw", "gf")
SCALE = 1 / 3


def gated_widths(dim: int, order: int) -> list[int]:
    """The widths C_0, ..., C_{order-1}: each twice the one before it, the last one `dim`. C_0 and their sum make 2 * `dim`.

    Raises:
        InputError: `order` is below 1, or `dim` cannot be halved order - 1 times.
    """
    if order < 1:
        raise InputError(f"a gated convolution's order is at least 1, not {order}")
    if dim < 1 or dim % 2 ** (order - 1):
        raise InputError(
            f"a gated convolution of order {order} halves its width {order - 1} times: dim={dim} is not divisible by {2 ** (order - 1)}"
        )
    return [dim // 2 ** (order - 1 - k) for k in range(order)]


def gated_cost(dim: int, order: int, kernel_size: int) -> int:
    """Multiply-adds a pixel of a gated convolution with a depthwise kernel, from `dim` to `dim` channels."""
    widths = gated_widths(dim, order)
    return 3 * dim**2 + sum(narrow * wide for narrow, wide in pairwise(widths)) + (kernel_size**2 + 1) * sum(widths)


def gated_bound(dim: int, kernel_size: int) -> float:
    """What `gated_cost` stays below for every order."""
    return dim * (2 * kernel_size**2 + 11 * dim / 3 + 2)


class GnConv(nn.Module):
    """(B, in_dim, H, W) -> (B, out_dim, H, W) by a chain of `order` gated products of inner width `dim`."""

    def __init__(
        self,
        dim: int,
        order: int = 5,
        *,
        scale: float = SCALE,
        kernel_size: int = 7,
        mixer: str | Callable[[int], nn.Module] = "dw",
        filter_size: tuple[int, int] | None = None,
        in_dim: int | None = None,
        out_dim: int | None = None,
        project_out: bool = True,
        normed: bool = False,
        export_friendly: bool = False,
    ) -> None:
        """
        Args:
            dim: the inner width C, divisible by 2^(order - 1).
            order: the number n of products.
            scale: the factor s of the mixed features.
            kernel_size: K of the depthwise convolution, odd.
            mixer: ``"dw"`` (depthwise K x K), ``"gf"`` (`GlobalLocalFilter`), or a function from the number of channels to a module that keeps (B, channels, H, W).
            filter_size: (h, w) of the stored half-spectrum, for ``"gf"``.
            in_dim: the channels that come; None is `dim`.
            out_dim: the channels that go; None is `dim`.
            project_out: the last 1x1 convolution; without it `out_dim` is `dim`.
            normed: the caller normalises the input. A chain of order 4 or more with scale 1 explodes without, and is warned of.
            export_friendly: see `GlobalLocalFilter`.

        Raises:
            InputError: `dim` does not suit `order`, an even kernel, a filter size without ``"gf"`` or the reverse, an odd number of channels for ``"gf"``, or an `out_dim` that nothing projects to.
        """
        super().__init__()
        self.widths = gated_widths(dim, order)
        self.dim = dim
        self.order = order
        self.scale = scale
        self.in_dim = dim if in_dim is None else in_dim
        if not project_out and out_dim not in (None, dim):
            raise InputError(f"without its last projection a gated convolution gives dim={dim} channels, not out_dim={out_dim}")
        if scale == 1 and order >= 4 and not normed:
            warnings.warn(
                f"GnConv of order {order} with scale=1 is of degree {order + 1} in its input: put a norm in front (and say normed=True), or use scale=1/3",
                stacklevel=2,
            )
        total = sum(self.widths)
        self.proj_in = nn.Conv2d(self.in_dim, 2 * dim, 1)
        self.mixer = _make_mixer(mixer, total, kernel_size, filter_size, export_friendly)
        self.pointwise = nn.ModuleList(nn.Conv2d(narrow, wide, 1) for narrow, wide in pairwise(self.widths))
        self.proj_out = nn.Conv2d(dim, dim if out_dim is None else out_dim, 1) if project_out else nn.Identity()

    def forward(self, x: Float[Tensor, "batch in_dim height width"]) -> Float[Tensor, "batch out_dim height width"]:
        """Mix a map.

        Raises:
            InputError: not `in_dim` channels.
        """
        if x.ndim != 4 or x.shape[1] != self.in_dim:
            raise InputError(f"GnConv takes (batch, {self.in_dim}, height, width), channels first, not {tuple(x.shape)}")
        gate, features = self.proj_in(x).split((self.widths[0], sum(self.widths)), dim=1)
        mixed = self.mixer(features)
        if self.scale != 1:
            mixed = mixed * self.scale
        first, *rest = mixed.split(self.widths, dim=1)
        product = gate * first
        for widen, factor in zip(self.pointwise, rest, strict=True):
            product = widen(product) * factor
        return self.proj_out(product)

    @torch.no_grad()
    def fold_scale_(self) -> None:
        """Move the scale into the mixer's last weights, in place: the same function with one product a channel and pixel fewer.

        Raises:
            InputError: the mixer is not one of those named here.
        """
        last = self.mixer.post_norm if isinstance(self.mixer, GlobalLocalFilter) else self.mixer
        if not isinstance(last, nn.Conv2d | nn.LayerNorm):
            raise InputError(f"the scale cannot be folded into a mixer of type {type(self.mixer).__name__}")
        for parameter in last.parameters():
            parameter.mul_(self.scale)
        self.scale = 1.0

    def extra_repr(self) -> str:
        """The widths and the scale."""
        return f"widths={self.widths}, scale={self.scale:g}"


def _make_mixer(
    mixer: str | Callable[[int], nn.Module], channels: int, kernel_size: int, filter_size: tuple[int, int] | None, export_friendly: bool
) -> nn.Module:
    if not isinstance(mixer, str):
        return mixer(channels)
    if (choose("mixer", mixer, MIXER_NAMES) == "gf") != (filter_size is not None):
        raise InputError(
            "the mixer 'gf' needs the filter_size (h, w) of its half-spectrum" if mixer == "gf" else "filter_size belongs to the mixer 'gf'"
        )
    if filter_size is not None:
        return GlobalLocalFilter(channels, filter_size, export_friendly=export_friendly)
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise InputError(f"kernel_size must be odd, so that the map keeps its size, not {kernel_size}")
    return nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)


class GnConvModule(nn.Module):
    """A gated convolution in the place of a convolution with its norm and activation, as in HorFPN: (B, in_dim, H, W) -> (B, out_dim, H, W), with scale 1."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        kernel_size: int = 7,
        order: int = 2,
        mixer: str | Callable[[int], nn.Module] = "dw",
        filter_size: tuple[int, int] | None = None,
        project_out: bool = True,
        dim_ratio: int = 1,
        norm: nn.Module | None = None,
        activation: nn.Module | None = None,
    ) -> None:
        """
        Args:
            in_dim: the channels that come.
            out_dim: the channels that go.
            kernel_size, order, mixer, filter_size: as in `GnConv`.
            project_out: the last 1x1 convolution; without it `dim_ratio` must be 1.
            dim_ratio: the inner width is `out_dim * dim_ratio`.
            norm: applied to the output, for `out_dim` channels.
            activation: applied last.

        Raises:
            InputError: as `GnConv`.
        """
        super().__init__()
        self.gnconv = GnConv(
            out_dim * dim_ratio,
            order,
            scale=1.0,
            kernel_size=kernel_size,
            mixer=mixer,
            filter_size=filter_size,
            in_dim=in_dim,
            out_dim=out_dim,
            project_out=project_out,
        )
        self.norm = norm or nn.Identity()
        self.activation = activation or nn.Identity()

    def forward(self, x: Float[Tensor, "batch in_dim height width"]) -> Float[Tensor, "batch out_dim height width"]:
        """Mix, normalise, activate."""
        return self.activation(self.norm(self.gnconv(x)))
