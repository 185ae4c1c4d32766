r"""A global and a local filter, interleaved: the mixer of HorNet's GF flavour.

The channels of :math:`\mathrm{LN}(x)` are halved. One half is convolved with a depthwise 3x3 kernel, the other is multiplied by a learnt complex weight in the frequency domain, a circular convolution
as large as the map:

.. math:: y_{2c} = k_c * u_c, \qquad y_{2c+1} = \mathcal{F}^{-1}\big(W_c \odot \mathcal{F}(v_c)\big), \qquad (u, v) = \mathrm{LN}(x), \qquad \text{out} = \mathrm{LN}(y).

The weight covers the half-spectrum of a real map, (h, w) = (H, W // 2 + 1), and is resized bilinearly, real and imaginary plane apart, where the map has another size. It is stored as real numbers with
a last axis of 2, which optimizers, clipping and distributed training take as they take any other. Transforms are orthonormal and run in float32 at least.

Source: Rao et al., HorNet (NeurIPS 2022), section 3.2 and appendix; the frequency filter is that of Rao et al., Global Filter Networks (NeurIPS 2021).
"""

import math
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.norms import LayerNorm2d

__all__ = ["GlobalLocalFilter", "half_spectrum", "resize_spectrum"]


def half_spectrum(height: int, width: int) -> tuple[int, int]:
    """The size (h, w) of the half-spectrum of a real map of `height` x `width`."""
    return height, width // 2 + 1


def resize_spectrum(weight: Float[Tensor, "channels h w 2"], size: tuple[int, int]) -> Float[Tensor, "channels rows columns 2"]:
    """Resize a stored spectrum bilinearly (corners aligned), real and imaginary planes apart; the identity at its own size."""
    if tuple(weight.shape[1:3]) == tuple(size):
        return weight
    return F.interpolate(weight.permute(3, 0, 1, 2), size=size, mode="bilinear", align_corners=True).permute(1, 2, 3, 0)


class GlobalLocalFilter(nn.Module):
    """(B, dim, H, W) -> (B, dim, H, W): a depthwise 3x3 convolution of one half of the channels, a filter as large as the map on the other."""

    def __init__(self, dim: int, filter_size: tuple[int, int], *, export_friendly: bool = False) -> None:
        """
        Args:
            dim: the channels, an even number.
            filter_size: (h, w) of the stored half-spectrum; `half_spectrum(H, W)` for maps of H x W. Maps of another size are filtered with a resized weight.
            export_friendly: transform by products with real cosine and sine matrices instead of an FFT, for exporters that have no complex numbers. The function is the same.

        Raises:
            InputError: an odd `dim`, or an empty filter.
        """
        super().__init__()
        if dim < 2 or dim % 2:
            raise InputError(f"a global-local filter halves its channels: their number must be even, not {dim}")
        if min(filter_size) < 1:
            raise InputError(f"filter_size must be at least (1, 1), not {tuple(filter_size)}")
        self.dim = dim
        self.export_friendly = export_friendly
        self.pre_norm = LayerNorm2d(dim)
        self.local = nn.Conv2d(dim // 2, dim // 2, 3, padding=1, groups=dim // 2, bias=False)
        self.spectrum = nn.Parameter(torch.empty(dim // 2, *filter_size, 2))
        self.post_norm = LayerNorm2d(dim)
        nn.init.trunc_normal_(self.spectrum, std=0.02)
        self._resized: tuple[Tensor, int, int, Tensor] | None = None

    def forward(self, x: Float[Tensor, "batch dim height width"]) -> Float[Tensor, "batch dim height width"]:
        """Filter a map.

        Raises:
            InputError: not `dim` channels.
        """
        if x.ndim != 4 or x.shape[1] != self.dim:
            raise InputError(f"this filter takes (batch, {self.dim}, height, width), not {tuple(x.shape)}")
        local, wide = self.pre_norm(x).chunk(2, dim=1)
        local = self.local(local)
        # Half precision has no FFT on most devices, and would lose the small frequencies where it has one.
        wide = self._filter(wide.to(torch.promote_types(wide.dtype, torch.float32)), self.weight_for(*x.shape[2:]))
        interleaved = torch.stack((local, wide.to(local.dtype)), dim=2).flatten(1, 2)
        return self.post_norm(interleaved)

    def weight_for(self, height: int, width: int) -> Float[Tensor, "channels rows columns 2"]:
        """The weight for maps of `height` x `width`: the stored one, or the stored one resized. Where no gradient is wanted the resized weight is kept until the stored one changes."""
        size = half_spectrum(height, width)
        stored = self.spectrum
        if tuple(stored.shape[1:3]) == size:
            return stored
        # Parameters made in inference mode do not say when they change.
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling() or stored.is_inference():
            return resize_spectrum(stored, size)
        kept = self._resized
        # In-place changes raise the version; `.to(...)` swaps the storage; another parameter in its place is another object.
        if kept is None or kept[0] is not stored or kept[1:3] != (stored._version, stored.data_ptr()) or tuple(kept[3].shape[1:3]) != size:
            kept = (stored, stored._version, stored.data_ptr(), resize_spectrum(stored, size))
            self._resized = kept
        return kept[3]

    @torch.no_grad()
    def resize_(self, filter_size: tuple[int, int]) -> None:
        """Resize the stored spectrum for good, for training at another resolution."""
        self.spectrum = nn.Parameter(resize_spectrum(self.spectrum, filter_size).contiguous())

    def _filter(self, x: Float[Tensor, "batch half height width"], weight: Float[Tensor, "half h w 2"]) -> Tensor:
        weight = weight.to(x.dtype)
        if self.export_friendly:
            # autocast would halve the precision of the products; the meta device knows no autocast
            with nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False):
                return _filter_by_matrices(x, weight)
        spectrum = torch.fft.rfft2(x, norm="ortho") * torch.view_as_complex(weight.contiguous())
        return torch.fft.irfft2(spectrum, s=x.shape[-2:], norm="ortho")

    def extra_repr(self) -> str:
        """The channels and the stored size."""
        return f"{self.dim}, filter_size={tuple(self.spectrum.shape[1:3])}"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_resized": None}


def _waves(rows: Tensor, columns: int, period: int) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi i j / period for i in `rows` and j < `columns`."""
    # The product is reduced before it is multiplied by pi: float32 has no digits left for large angles.
    angle = 2 * math.pi / period * (torch.outer(rows, torch.arange(columns, device=rows.device)) % period).double()
    return angle.cos(), angle.sin()


def _filter_by_matrices(x: Float[Tensor, "batch half height width"], weight: Float[Tensor, "half h w 2"]) -> Tensor:
    """Multiply the half-spectrum of `x` by `weight` with real matrix products alone; the same as rfft2, product, irfft2."""
    height, width = x.shape[-2:]
    half = width // 2 + 1
    cos_w, sin_w = (wave.to(x) for wave in _waves(torch.arange(width, device=x.device), half, width))
    cos_h, sin_h = (wave.to(x) for wave in _waves(torch.arange(height, device=x.device), height, height))
    # exp(-i a) = cos a - i sin a, along the width and then along the height
    real, imaginary = x @ cos_w, -(x @ sin_w)
    real, imaginary = cos_h @ real + sin_h @ imaginary, cos_h @ imaginary - sin_h @ real
    a, b = weight.unbind(-1)
    real, imaginary = real * a - imaginary * b, real * b + imaginary * a
    # back along the height, then along the width: every column but the first (and the last of an even width) stands for itself and its conjugate
    real, imaginary = cos_h @ real - sin_h @ imaginary, cos_h @ imaginary + sin_h @ real
    times = x.new_full((half,), 2.0)
    times[0] = 1.0
    if width % 2 == 0:
        times[-1] = 1.0
    return ((real * times) @ cos_w.T - (imaginary * times) @ sin_w.T) / (height * width)
