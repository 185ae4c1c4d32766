r"""Swin: a pyramid of transformer stages that attend inside windows, shifted in every other block.

Patches of 4 x 4 are embedded; four stages of widths C, 2C, 4C, 8C follow, and between them every 2 x 2 pixels are joined, normalised, and mapped to twice the width. A block is

.. math:: x \leftarrow x + \mathrm{WindowAttention}(\mathrm{LN}(x)), \qquad x \leftarrow x + W_2\,\mathrm{GELU}(W_1\,\mathrm{LN}(x)).

Images smaller than the published 224 pixels take a smaller patch and smaller windows: the last stage's map is one window, of 4 pixels a side at the least.

Source: Liu et al., Swin Transformer (ICCV 2021), section 3.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.models.base import VisionEncoder
from ordinate.nn.drop_path import DropPath, rising_rates
from ordinate.nn.initial import draw_weights
from ordinate.nn.patches import PatchEmbed, patch_for
from ordinate.nn.windows import WindowAttention

__all__ = ["MODELS", "SwinTransformer"]

_SMALLEST_WINDOW = 4


class _Block(nn.Module):
    """(B, H, W, dim) -> (B, H, W, dim)."""

    def __init__(self, dim: int, heads: int, window: int, shift: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        inner = max(1, round(mlp_ratio * dim))
        self.norm1 = nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, heads, window, shift=shift)
        self.norm2 = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, inner)
        self.contract = nn.Linear(inner, dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attention(self.norm1(x)))
        return x + self.drop_path(self.contract(F.gelu(self.expand(self.norm2(x)))))


class _Merge(nn.Module):
    """(B, H, W, dim) -> (B, ceil(H / 2), ceil(W / 2), out_dim): 2 x 2 pixels joined, normalised, mapped; an odd side is padded."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduce = nn.Linear(4 * dim, out_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduce(self.norm(torch.cat(corners, dim=-1)))


class SwinTransformer(VisionEncoder):
    """The four-stage network; its features are the last stage's map (B, num_features, h, w), normalised."""

    width_multiple = 2

    def __init__(
        self,
        *,
        widths: int | Sequence[int] = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        window: int | None = None,
        mlp_ratio: float = 4.0,
        in_chans: int = 3,
        num_classes: int = 1000,
        image_size: int = 224,
        patch: int | None = None,
        drop_path_rate: float = 0.0,
        init_std: float | None = 0.02,
    ) -> None:
        """
        Args:
            widths: of every stage, or of the first stage, which then double.
            depths: blocks a stage; every second one is shifted by half a window.
            heads: a stage, divisors of its width.
            window: the windows' side; None is the side of the last stage's map at `image_size` (7 at 224 pixels), 4 at the least; a stage whose map is smaller has one window.
            mlp_ratio: the MLPs' inner width over the stage's.
            in_chans: the images' channels.
            num_classes: of the head; 0 for none.
            image_size: the side of the images, from which the patch and the window follow. Other sizes can be given to `forward`.
            patch: the stem's patch; None is `patch_for(image_size)`, 4 from 64 pixels on.
            drop_path_rate: stochastic depth of the last block; rates rise linearly from 0.
            init_std: the standard deviation of the initial weights; None for 1 / sqrt(fan-in), see `ordinate.nn.initial`.

        Raises:
            InputError: lists of unequal length, heads that do not divide their width, or images that are too small.
        """
        super().__init__()
        widths = [widths * 2**stage for stage in range(len(depths))] if isinstance(widths, int) else list(widths)
        if not depths or not len(widths) == len(depths) == len(heads):
            raise InputError(f"one width, depth and number of heads a stage, not {len(widths)}, {len(depths)} and {len(heads)}")
        shrinks = 2 ** (len(depths) - 1)
        self.patch = patch_for(image_size, largest=4, stride=shrinks) if patch is None else patch
        sides = [max(1, image_size // (self.patch * 2**stage)) for stage in range(len(depths))]
        window = max(_SMALLEST_WINDOW, sides[-1]) if window is None else window
        self.in_chans, self.num_classes, self.num_features = in_chans, num_classes, widths[-1]
        self.feature_widths = widths
        rates = iter(rising_rates(drop_path_rate, sum(depths)))
        self.stem = PatchEmbed(in_chans, widths[0], self.patch)
        self.stem_norm = nn.LayerNorm(widths[0])
        self.merges = nn.ModuleList(_Merge(before, after) for before, after in pairwise(widths))
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    _Block(width, count, min(window, side), min(window, side) // 2 if index % 2 else 0, mlp_ratio, next(rates))
                    for index in range(depth)
                )
            )
            for width, depth, count, side in zip(widths, depths, heads, sides, strict=True)
        )
        self.norm = nn.LayerNorm(self.num_features)
        self.head: nn.Module = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        draw_weights(self, init_std)
        draw_weights(self.stem, None)  # patches reach the first block at the scale of their pixels

    @classmethod
    def small(cls, width: int, *, image_size: int, in_chans: int, num_classes: int, inner_ratio: float = 4.0) -> "SwinTransformer":
        """The family's shape for small images: depths 2, 2, 2, 1 and 1, 2, 4, 8 heads from `width` channels."""
        return cls(
            widths=width,
            depths=(2, 2, 2, 1),
            heads=(1, 2, 4, 8),
            mlp_ratio=inner_ratio,
            init_std=None,
            in_chans=in_chans,
            num_classes=num_classes,
            image_size=image_size,
        )

    def feature_maps(self, x: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Every stage's map, the finest first, (B, widths[i], h_i, w_i), without a norm."""
        self.check_images(x, self.patch)
        x = self.stem_norm(self.stem(x).permute(0, 2, 3, 1))
        maps = [self.stages[0](x)]
        for merge, stage in zip(self.merges, list(self.stages)[1:], strict=True):
            maps.append(stage(merge(maps[-1])))
        return [level.permute(0, 3, 1, 2) for level in maps]

    def forward_features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features rows columns"]:
        """The last stage's map, normalised over its channels.

        Raises:
            InputError: wrong rank or channels, or images smaller than a patch.
        """
        return self.norm(self.feature_maps(x)[-1].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def pool(self, features: Float[Tensor, "batch features rows columns"]) -> Float[Tensor, "batch features"]:
        """The mean over the map."""
        return features.mean(dim=(2, 3))


MODELS = {
    "swin-tiny": partial(SwinTransformer),
    "swin-small": partial(SwinTransformer, depths=(2, 2, 18, 2)),
    "swin-base": partial(SwinTransformer, widths=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32)),
}
