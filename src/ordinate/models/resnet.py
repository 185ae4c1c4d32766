r"""Residual networks: stages of convolutions whose blocks learn a difference, :math:`x \leftarrow \mathrm{ReLU}(x + F(x))`.

A basic block is two 3 x 3 convolutions, a bottleneck block 1 x 1, 3 x 3, 1 x 1 with a quarter of the width inside; every convolution is followed by batch normalisation. Four stages of widths
64, 128, 256, 512 (times four for bottlenecks) halve the resolution at their first block, where the shortcut is a 1 x 1 convolution. The stem is a 7 x 7 convolution of stride 2 and a max pool; images of 64 pixels or
fewer are read by a 3 x 3 convolution of stride 1 without pool, as is usual on CIFAR.

Source: He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition (CVPR 2016), sections 3.3, 4.1 and 4.2; stride in the 3 x 3 convolution of a bottleneck as in the common reimplementations.
"""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError, choose
from ordinate.models.base import VisionEncoder

__all__ = ["MODELS", "ResNet"]

_LARGEST_SMALL_IMAGE = 64


class _Norm(nn.Sequential):
    """A convolution that keeps or divides the size, and batch normalisation."""

    def __init__(self, in_dim: int, out_dim: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_dim, out_dim, kernel_size, stride=stride, padding=kernel_size // 2, bias=False), nn.BatchNorm2d(out_dim)
        )


class _Block(nn.Module):
    """(B, in_dim, H, W) -> (B, out_dim, H / stride, W / stride)."""

    def __init__(self, in_dim: int, out_dim: int, inner: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        if bottleneck:
            self.convolutions = nn.ModuleList((_Norm(in_dim, inner, 1), _Norm(inner, inner, 3, stride), _Norm(inner, out_dim, 1)))
        else:
            self.convolutions = nn.ModuleList((_Norm(in_dim, inner, 3, stride), _Norm(inner, out_dim, 3)))
        self.shortcut = nn.Identity() if in_dim == out_dim and stride == 1 else _Norm(in_dim, out_dim, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        *first, last = self.convolutions
        for convolution in first:
            y = F.relu(convolution(y))
        return F.relu(self.shortcut(x) + last(y))


class ResNet(VisionEncoder):
    """The four-stage network; its features are the last stage's map (B, num_features, h, w)."""

    def __init__(
        self,
        *,
        widths: int | Sequence[int] = 64,
        depths: Sequence[int] = (2, 2, 2, 2),
        block: str = "basic",
        inner_ratio: float = 1.0,
        in_chans: int = 3,
        num_classes: int = 1000,
        image_size: int = 224,
    ) -> None:
        """
        Args:
            widths: of the 3 x 3 convolutions of every stage, or of the first stage, which then double.
            depths: blocks a stage.
            block: ``"basic"`` or ``"bottleneck"``, whose output is four times as wide.
            inner_ratio: the width inside a block, over the stage's.
            in_chans: the images' channels.
            num_classes: of the head; 0 for none.
            image_size: the side of the images, which decides on the stem. Other sizes can be given to `forward`.

        Raises:
            InputError: an unknown block, or lists of unequal length.
        """
        super().__init__()
        bottleneck = choose("block", block, ("basic", "bottleneck")) == "bottleneck"
        widths = [widths * 2**stage for stage in range(len(depths))] if isinstance(widths, int) else list(widths)
        if not depths or len(widths) != len(depths):
            raise InputError(f"one width and one depth a stage, not {len(widths)} and {len(depths)}")
        self.in_chans, self.num_classes = in_chans, num_classes
        self.feature_widths = [4 * width if bottleneck else width for width in widths]
        self.num_features = self.feature_widths[-1]
        if image_size <= _LARGEST_SMALL_IMAGE:
            self.stem = nn.Sequential(_Norm(in_chans, widths[0], 3), nn.ReLU())
        else:
            self.stem = nn.Sequential(_Norm(in_chans, widths[0], 7, 2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))
        self.stages = nn.ModuleList()
        before = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            after, blocks = self.feature_widths[stage], []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(_Block(before, after, max(1, round(inner_ratio * width)), stride, bottleneck))
                before = after
            self.stages.append(nn.Sequential(*blocks))
        self.head: nn.Module = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @classmethod
    def small(
        cls, width: int, *, image_size: int, in_chans: int, num_classes: int, inner_ratio: float = 1.0, block: str = "basic"
    ) -> "ResNet":
        """The family's shape for small images: one block a stage, from `width` channels."""
        return cls(
            widths=width,
            depths=(1, 1, 1, 1),
            block=block,
            inner_ratio=inner_ratio,
            in_chans=in_chans,
            num_classes=num_classes,
            image_size=image_size,
        )

    def feature_maps(self, x: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Every stage's map, the finest first, (B, feature_widths[i], h_i, w_i)."""
        self.check_images(x)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward_features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features rows columns"]:
        """The last stage's map.

        Raises:
            InputError: wrong rank or channels.
        """
        return self.feature_maps(x)[-1]

    def pool(self, features: Float[Tensor, "batch features rows columns"]) -> Float[Tensor, "batch features"]:
        """The mean over the map."""
        return features.mean(dim=(2, 3))


MODELS = {
    "resnet": partial(ResNet),
    "resnet-34": partial(ResNet, depths=(3, 4, 6, 3)),
    "resnet-50": partial(ResNet, depths=(3, 4, 6, 3), block="bottleneck"),
}
