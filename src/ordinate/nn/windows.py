r"""Attention inside windows, and inside windows that are shifted.

A map is cut into windows of w x w; the pixels of a window attend to each other with a learned bias of their offset,

.. math:: \mathrm{softmax}\big(Q K^\top / \sqrt d + B\big)\, V,

at a cost that is linear in the number of pixels. Every other layer shifts the map by w / 2 first, cyclically, so that neighbouring windows exchange what they know; pixels that the shift has brought
together from opposite sides of the map do not see each other. Maps that are no multiple of the window are padded with pixels that nobody sees, and a map smaller than the window is one window.

Source: Liu et al., Swin Transformer (ICCV 2021), sections 3.2 and 3.3.
"""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.nn.heads import Heads
from ordinate.nn.positions import RelativeBias2d

__all__ = ["WindowAttention", "merge_windows", "split_windows", "window_regions"]


def split_windows(x: Shaped[Tensor, "batch height width channels"], window: int) -> Shaped[Tensor, "windows pixels channels"]:
    """(B, H, W, C) -> (B H W / w^2, w^2, C), windows in row order, for H and W that are multiples of w."""
    batch, height, width, channels = x.shape
    cut = x.view(batch, height // window, window, width // window, window, channels)
    return cut.transpose(2, 3).reshape(-1, window * window, channels)


def merge_windows(
    windows: Shaped[Tensor, "windows pixels channels"], window: int, height: int, width: int
) -> Shaped[Tensor, "batch height width channels"]:
    """The inverse of `split_windows`, for maps of `height` x `width`."""
    cut = windows.view(-1, height // window, width // window, window, window, windows.shape[-1])
    return cut.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])


def window_regions(
    height: int, width: int, window: int, shift: tuple[int, int], device: torch.device | None = None
) -> Bool[Tensor, "windows pixels pixels"] | None:
    """Which pixels of a window see each other in a map of `height` x `width`, padded to multiples of the window and then shifted; None where all do.

    Args:
        height, width: the map's sides before padding.
        window: the side w.
        shift: by how many pixels the padded map is rolled up, and left.
        device: where the answer is to be.
    """
    full_height, full_width = -(-height // window) * window, -(-width // window) * window
    if shift == (0, 0) and (full_height, full_width) == (height, width):
        return None

    def regions(side: int, full: int, by: int) -> Tensor:
        place = torch.arange(full, device=device)
        # 0: real; 1: real and rolled in from the other end; 2: padding
        rolled = (2 * (place >= side)).roll(-by)
        return torch.where((place >= full - by) & (rolled == 0), 1, rolled)

    rows, columns = regions(height, full_height, shift[0]), regions(width, full_width, shift[1])
    region = torch.where((rows[:, None] == 2) | (columns[None] == 2), 4, 2 * rows[:, None] + columns[None])
    windows = split_windows(region[None, :, :, None], window)[..., 0]
    return windows[:, :, None] == windows[:, None]


class WindowAttention(nn.Module):
    """(B, H, W, dim) -> (B, H, W, dim): multi-head softmax attention inside windows, with a learned bias a head and offset."""

    def __init__(self, dim: int, heads: int, window: int, *, shift: int = 0) -> None:
        """
        Args:
            dim: the width D.
            heads: a divisor of D.
            window: the side w of a window, in pixels.
            shift: by how many pixels the windows are moved, 0 <= shift < w.

        Raises:
            InputError: heads that do not divide D, or a shift outside the window.
        """
        super().__init__()
        if window < 1 or not 0 <= shift < window:
            raise InputError(f"a shift lies between 0 and window - 1, not {shift} for window={window}")
        self.window, self.shift = window, shift
        self.heads = Heads(dim, heads)
        self.bias = RelativeBias2d(heads, window, window)

    def forward(self, x: Float[Tensor, "batch height width dim"]) -> Float[Tensor, "batch height width dim"]:
        """Mix inside the windows."""
        batch, height, width, _ = x.shape
        # A map that fits into one window along an axis has no neighbours there to be shifted towards.
        up = self.shift if height > self.window else 0
        left = self.shift if width > self.window else 0
        down, right = -height % self.window, -width % self.window
        full_height, full_width = height + down, width + right
        padded = F.pad(x, (0, 0, 0, right, 0, down)).roll((-up, -left), (1, 2))
        # Windows are laid beside the heads, so that one mask serves the whole batch.
        q, k, v = (each.unflatten(0, (batch, -1)).flatten(1, 2) for each in self.heads.split(split_windows(padded, self.window)))
        bias = self.bias.matrix().to(q.dtype)
        seen = window_regions(height, width, self.window, (up, left), x.device)
        visible = bias.expand(q.shape[1] // len(bias), -1, -1, -1) if seen is None else torch.where(seen[:, None], bias, -torch.inf)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=visible.flatten(0, 1))
        merged = merge_windows(self.heads.merge(y.unflatten(1, (-1, len(bias))).flatten(0, 1)), self.window, full_height, full_width)
        return merged.roll((up, left), (1, 2))[:, :height, :width]
