r"""UPerNet's segmentation head, with an ordinary or a recursive gated convolution as its last fusion.

The coarsest map of the backbone is pooled to several small grids and read beside itself (the pyramid pooling of PSPNet); the finer ones are projected, and each is added the up-sampled level above. Every
level is convolved, all are brought to the finest resolution and concatenated, and a 3 x 3 convolution from 4 ch to ch channels fuses them before a linear classifier of the pixels. That one
convolution costs about half of the whole model: ``fusion="gnconv"`` replaces it, and nothing else.

Source: Xiao et al., Unified Perceptual Parsing (ECCV 2018); Rao et al., HorNet (NeurIPS 2022), section 3.3.
"""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError, choose
from ordinate.models.base import Model
from ordinate.models.horfpn import check_maps
from ordinate.nn.gnconv import GnConvModule

__all__ = ["MODELS", "UPerHead"]


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


class ConvNormAct(nn.Module):
    """A convolution without bias that keeps the size, batch normalisation, ReLU."""

    def __init__(self, in_dim: int, out_dim: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, out_dim, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class UPerHead(Model):
    """Backbone maps (B, in_channels[i], h_i, w_i), the finest first, to the logits (B, num_classes, h_0, w_0) of the pixels of the finest map."""

    def __init__(
        self,
        *,
        in_channels: Sequence[int] = (96, 192, 384, 768),
        channels: int = 512,
        num_classes: int = 150,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        fusion: str = "gnconv",
        order: int = 2,
        mixer: str = "dw",
        kernel_size: int = 7,
        filter_size: Sequence[int] = (32, 17),
        dim_ratio: int = 1,
        project_out: bool = True,
        dropout: float = 0.1,
    ) -> None:
        """
        Args:
            in_channels: of the backbone's maps, by default HorNet-S's.
            channels: the width ch of every level.
            num_classes: of a pixel.
            pool_scales: the sides of the grids that the coarsest map is pooled to.
            fusion: the last convolution: ``"gnconv"``, or ``"conv"`` for a 3 x 3 one, where the next five count for nothing.
            order, mixer, kernel_size, dim_ratio, project_out: of the gated convolution.
            filter_size: (h, w) of the stored half-spectrum of the mixer ``"gf"``.
            dropout: whole channels before the classifier, in training.

        Raises:
            InputError: no inputs, or an unknown fusion or mixer.
        """
        super().__init__()
        if not in_channels:
            raise InputError("a segmentation head needs at least one map")
        self.in_channels, self.num_classes = list(in_channels), num_classes
        self.pool_scales = list(pool_scales)
        self.pools = nn.ModuleList(ConvNormAct(in_channels[-1], channels, 1) for _ in pool_scales)
        self.bottleneck = ConvNormAct(in_channels[-1] + len(pool_scales) * channels, channels, 3)
        self.laterals = nn.ModuleList(ConvNormAct(width, channels, 1) for width in in_channels[:-1])
        self.levels = nn.ModuleList(ConvNormAct(channels, channels, 3) for _ in in_channels[:-1])
        wide = len(in_channels) * channels
        if choose("fusion", fusion, ("conv", "gnconv")) == "conv":
            self.fusion: nn.Module = ConvNormAct(wide, channels, 3)
        else:
            self.fusion = GnConvModule(
                wide,
                channels,
                order=order,
                mixer=mixer,
                kernel_size=kernel_size,
                filter_size=(filter_size[0], filter_size[1]) if mixer == "gf" else None,
                dim_ratio=dim_ratio,
                project_out=project_out,
                norm=nn.BatchNorm2d(channels),
                activation=nn.ReLU(),
            )
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Float[Tensor, "batch classes rows columns"]:
        """Classify the pixels of the finest map.

        Args:
            maps: (B, in_channels[i], h_i, w_i), the finest first.

        Raises:
            InputError: another number of maps, or other channels.
        """
        check_maps(type(self).__name__, maps, self.in_channels)
        coarsest = maps[-1]
        pooled = [
            _resize(read(F.adaptive_avg_pool2d(coarsest, side)), coarsest) for side, read in zip(self.pool_scales, self.pools, strict=True)
        ]
        levels = [lateral(level) for lateral, level in zip(self.laterals, maps[:-1], strict=True)]
        levels.append(self.bottleneck(torch.cat([coarsest, *pooled], dim=1)))
        for index in range(len(levels) - 1, 0, -1):
            levels[index - 1] = levels[index - 1] + _resize(levels[index], levels[index - 1])
        outputs = [convolve(level) for convolve, level in zip(self.levels, levels[:-1], strict=True)] + [levels[-1]]
        fused = self.fusion(torch.cat([outputs[0], *(_resize(output, outputs[0]) for output in outputs[1:])], dim=1))
        return self.classifier(self.dropout(fused))


MODELS = {"upernet": partial(UPerHead)}
