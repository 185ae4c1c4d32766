"""ResNet50 with blurred downsampling, the encoder of the nested embeddings on ImageNet, with a plain, a fixed-feature or a nested head.

Every strided convolution that reads at least 16 channels is preceded by the binomial filter [1, 2, 1] x [1, 2, 1] / 16 of each channel, so that subsampling does not alias (Zhang, "Making Convolutional Networks Shift-Invariant
Again", 2019; the recipe of FFCV). Otherwise it is the bottleneck ResNet with the stride on the 3x3 convolution (He et al., 2016; the variant of torchvision), by torchvision's names.

`load_official("matryoshka-resnet50", "r50_mrl1_e0_ff2048.pt", **official_settings("r50_mrl1_e0_ff2048.pt"))` reads the checkpoints that Kusupati et al. (2022) released, of both generations of heads.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.base import VisionEncoder
from ordinate.nn.nested_head import FixedFeatureHead, MatryoshkaHead, check_dims, official_head, official_head_state
from ordinate.nn.official import OfficialCheckpoint, State

__all__ = ["MODELS", "OFFICIAL", "BlurPoolConv", "BlurPoolResNet", "official_settings"]

_EXPANSION = 4
_LEAST_CHANNELS = 16


class BlurPoolConv(nn.Module):
    """A strided convolution after a 3x3 binomial blur of every channel."""

    blur_filter: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        """
        Args:
            conv: (B, C, H, W) to (B, C', H', W').
        """
        super().__init__()
        self.conv = conv
        line = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("blur_filter", (torch.outer(line, line) / 16.0).expand(conv.in_channels, 1, 3, 3).clone())

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels_out height_out width_out"]:
        """Blur, then convolve."""
        return self.conv(F.conv2d(x, self.blur_filter, padding=1, groups=self.conv.in_channels))


def _conv(in_chans: int, out_chans: int, size: int, stride: int, blur: bool) -> nn.Module:
    conv = nn.Conv2d(in_chans, out_chans, size, stride, padding=size // 2, bias=False)
    return BlurPoolConv(conv) if blur and stride > 1 and in_chans >= _LEAST_CHANNELS else conv


class _Bottleneck(nn.Module):
    def __init__(self, in_chans: int, width: int, stride: int, blur: bool) -> None:
        super().__init__()
        out_chans = width * _EXPANSION
        self.conv1 = _conv(in_chans, width, 1, 1, blur)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride, blur)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, out_chans, 1, 1, blur)
        self.bn3 = nn.BatchNorm2d(out_chans)
        same = stride == 1 and in_chans == out_chans
        self.downsample = None if same else nn.Sequential(_conv(in_chans, out_chans, 1, stride, blur), nn.BatchNorm2d(out_chans))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class BlurPoolResNet(VisionEncoder):
    """A bottleneck ResNet whose embedding is (B, 32 * width): 2048 for the ResNet50."""

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        layers: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        blur: bool = True,
        dims: Sequence[int] | None = None,
        tied: bool = False,
        fixed_feature: int | None = None,
    ) -> None:
        """
        Args:
            num_classes: 0 leaves the embedding as the output.
            in_chans: channels of the images.
            layers: blocks in each of the four stages.
            width: channels of the stem.
            blur: blur before the strided convolutions.
            dims: the sizes of a nested head, ascending, the last 32 * width; None is a plain head.
            tied: the nested head has one classifier whose columns the smaller sizes share (MRL-E).
            fixed_feature: the head reads that many features alone (FF-m).

        Raises:
            InputError: other than four stages, sizes that are not a nesting, or both a nested and a fixed-feature head.
        """
        super().__init__()
        if len(layers) != 4 or min(layers) < 1 or width < 1 or num_classes < 0:
            raise InputError(
                f"a ResNet has four stages of at least one block, not {list(layers)}, at least one channel, and no negative number of classes"
            )
        if dims is not None and fixed_feature is not None:
            raise InputError("a head is either nested (dims) or of fixed features (fixed_feature), not both")
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.num_features = width * 8 * _EXPANSION
        self.conv1 = _conv(in_chans, width, 7, 2, blur)
        self.bn1 = nn.BatchNorm2d(width)
        chans = width
        for stage, blocks in enumerate(layers):
            inner, stride = width << stage, 1 if stage == 0 else 2
            built = []
            for block in range(blocks):
                built.append(_Bottleneck(chans, inner, stride if block == 0 else 1, blur))
                chans = inner * _EXPANSION
            setattr(self, f"layer{stage + 1}", nn.Sequential(*built))
        self.head = self._make_head(num_classes, dims, tied, fixed_feature)

    def _make_head(self, num_classes: int, dims: Sequence[int] | None, tied: bool, fixed_feature: int | None) -> nn.Module:
        if num_classes == 0:
            return nn.Identity()
        if dims is not None:
            return MatryoshkaHead(check_dims(dims, self.num_features), num_classes, tied)
        if fixed_feature is not None:
            return FixedFeatureHead(fixed_feature, num_classes)
        return nn.Linear(self.num_features, num_classes)

    def forward_features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features h w"]:
        """Images (B, C, H, W) to the map of the last stage (B, num_features, H/32, W/32)."""
        self.check_images(x)
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))  # type: ignore[operator]

    def pool(self, features: Float[Tensor, "batch features h w"]) -> Float[Tensor, "batch features"]:
        """The mean over the positions."""
        return features.mean(dim=(2, 3))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The map to logits (B, num_classes), of the full size where the head is nested; or to the embedding (B, num_features)."""
        pooled = self.pool(features)
        if pre_logits:
            return pooled
        return self.head.at(pooled, self.num_features) if isinstance(self.head, MatryoshkaHead) else self.head(pooled)

    def nested_logits(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "sizes batch classes"]:
        """Images (B, C, H, W) to the logits (G, B, L) of every size.

        Raises:
            InputError: the head is not nested.
        """
        if not isinstance(self.head, MatryoshkaHead):
            raise InputError("the head of this network is not nested: build it with dims=[8, 16, ...]")
        return self.head.stacked(self.embed(x))


MODELS = {"resnet50-blurpool": partial(BlurPoolResNet)}


def official_settings(name: str | Path) -> dict[str, Any]:
    """What the name of a released file, ``r50_mrl{0|1}_e{0|1}_ff{dim}.pt``, says of its head, as arguments of `load_official("matryoshka-resnet50", ...)`.

    Raises:
        InputError: a name of another form.
    """
    found = re.fullmatch(r"r50_mrl([01])_e([01])_ff(\d+)", Path(name).stem)
    if not found:
        raise InputError(f"{Path(name).name} is not named r50_mrl{{0|1}}_e{{0|1}}_ff{{dim}}.pt: say efficient=True or False yourself")
    return {"efficient": found[2] == "1"}


def _split(state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The body and the head, the latter without its prefix."""
    head = {key.removeprefix("fc."): tensor for key, tensor in state.items() if key.startswith("fc.")}
    return {key: tensor for key, tensor in state.items() if not key.startswith("fc.")}, head


def _build(state: State, *, efficient: bool | None = None, nesting_list: Sequence[int] | None = None) -> nn.Module:
    _, head_state = _split(state)
    head = official_head(head_state, nesting_list=nesting_list, efficient=efficient)
    layers = [len({key.split(".")[1] for key in state if key.startswith(f"layer{stage}.")}) for stage in range(1, 5)]
    width, in_chans = state["conv1.weight"].shape[:2]
    build = partial(BlurPoolResNet, in_chans=in_chans, layers=layers, width=width, blur=any(key.endswith("blur_filter") for key in state))
    if isinstance(head, MatryoshkaHead):
        return build(num_classes=head.num_classes, dims=list(head.dims), tied=head.tied)
    return build(num_classes=head.out_features, fixed_feature=None if head.in_features == width * 32 else head.in_features)


def _translate(state: State, module: nn.Module) -> dict[str, Tensor]:
    body, head = _split(state)
    return body | {f"head.{key}": tensor for key, tensor in official_head_state(head, module.head).items()}  # type: ignore[arg-type]


OFFICIAL = {"matryoshka-resnet50": OfficialCheckpoint(_build, _translate)}
