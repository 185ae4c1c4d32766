"""Residual networks by the names of the SwAV code, whose released weights, one network or several side by side, are read here.

It is the bottleneck ResNet with the stride in the 3 x 3 convolution. Images are padded by one pixel of zeros before the stem, whose 7 x 7 convolution pads two more; the stem for small images is a 3 x 3 convolution of stride 1 that
pads one more, without pool. Networks are widened by their number of channels throughout.

`load_official("rich-resnet", "checkpoint_run0.pth.tar")` reads one network; `load_official("rich-concat", ...)` reads several with their classifier, as one `Classifier` of a `Concat`.

Sources: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (SwAV), 2020, released code; used by Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023.
"""

import re
from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.base import VisionEncoder
from ordinate.models.concatenated import Concat
from ordinate.models.encoding import Classifier
from ordinate.nn.official import OfficialCheckpoint, State
from ordinate.nn.probe_head import ProbeHead

__all__ = ["MODELS", "OFFICIAL", "SwavResNet"]

_EXPANSION = 4
_HEADS = ("fc", "classifier.linear", "classifier")
_MEMBER = re.compile(r"model(\d+)\.(.*)")
_TWICE = re.compile(r"(?:net\.)?models\.\d+\.")  # a list of the networks, kept beside their names


class _Bottleneck(nn.Module):
    def __init__(self, in_chans: int, width: int, inner: int, stride: int) -> None:
        super().__init__()
        out_chans = width * _EXPANSION
        self.conv1 = nn.Conv2d(in_chans, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out_chans, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_chans)
        same = stride == 1 and in_chans == out_chans
        self.downsample = None if same else nn.Sequential(nn.Conv2d(in_chans, out_chans, 1, stride, bias=False), nn.BatchNorm2d(out_chans))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class SwavResNet(VisionEncoder):
    """Images (B, 3, H, W) to the embedding (B, 32 * width), and a linear head."""

    def __init__(
        self,
        num_classes: int = 1000,
        layers: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        base_width: int = 64,
        small_images: bool = False,
        in_chans: int = 3,
    ) -> None:
        """
        Args:
            num_classes: 0 leaves the embedding as the output.
            layers: blocks in each of the four stages.
            width: channels of the stem: 64 for a ResNet50, 128 and 256 for those widened by 2 and 4.
            base_width: the 3 x 3 convolutions have base_width / 64 times the channels of their stage.
            small_images: the stem for small images.
            in_chans: channels of the images.

        Raises:
            InputError: other than four stages, or a number below 1.
        """
        super().__init__()
        if len(layers) != 4 or min(*layers, width, base_width, in_chans) < 1 or num_classes < 0 or width * base_width < 64:
            raise InputError(
                f"a ResNet has four stages of at least one block and one channel, not {list(layers)}, {width} and {base_width} channels"
            )
        self.num_classes, self.in_chans = num_classes, in_chans
        self.num_features = width * 8 * _EXPANSION
        self.small_images = small_images
        kernel, stride, padding = (3, 1, 1) if small_images else (7, 2, 2)
        self.conv1 = nn.Conv2d(in_chans, width, kernel, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        before = width
        for stage, blocks in enumerate(layers):
            here = width << stage
            built = []
            for block in range(blocks):
                built.append(_Bottleneck(before, here, here * base_width // 64, 2 if stage and not block else 1))
                before = here * _EXPANSION
            setattr(self, f"layer{stage + 1}", nn.Sequential(*built))
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features h w"]:
        """The map of the last stage.

        Raises:
            InputError: wrong rank or channels.
        """
        self.check_images(x)
        x = F.relu(self.bn1(self.conv1(F.pad(x, (1, 1, 1, 1)))))
        if not self.small_images:
            x = F.max_pool2d(x, 3, 2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))  # type: ignore[operator]

    def pool(self, features: Float[Tensor, "batch features h w"]) -> Float[Tensor, "batch features"]:
        """The mean over the positions."""
        return features.mean(dim=(2, 3))


MODELS = {
    "resnet50-swav": partial(SwavResNet),
    "resnet50-swav-w2": partial(SwavResNet, width=128),
    "resnet50-swav-w4": partial(SwavResNet, width=256),
}


def _parts(state: State) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor], bool]:
    """The networks by number, what is left (heads), and whether they are numbered."""
    networks: dict[str, dict[str, Tensor]] = {}
    heads: dict[str, Tensor] = {}
    numbered = any(_MEMBER.match(key) for key in state)
    for key, tensor in state.items():
        if _TWICE.match(key):
            continue
        found = _MEMBER.match(key)
        if found:
            networks.setdefault(found[1], {})[found[2]] = tensor
        elif numbered or key.startswith(_HEADS):
            heads[key] = tensor
        else:
            networks.setdefault("0", {})[key] = tensor
    return networks, heads, numbered


def _body(state: State, num_classes: int) -> SwavResNet:
    stem = state["conv1.weight"]
    width = stem.shape[0]
    layers = [len({key.split(".")[1] for key in state if key.startswith(f"layer{stage}.")}) for stage in range(1, 5)]
    inner = state["layer4.0.conv1.weight"].shape[0]
    return SwavResNet(num_classes, layers, width, max(1, inner * 8 // width), stem.shape[2] == 3, stem.shape[1])


def _head_of(heads: State) -> str | None:
    return next((name for name in _HEADS if f"{name}.weight" in heads), None)


def _build_one(state: State) -> nn.Module:
    networks, heads, _ = _parts(state)
    if len(networks) != 1:
        raise InputError(f"the checkpoint holds {len(networks)} networks: read it as rich-concat")
    name = _head_of(heads)
    return _body(networks["0"], heads[f"{name}.weight"].shape[0] if name else 0)


def _translate_one(state: State, module: nn.Module) -> dict[str, Tensor]:
    networks, heads, _ = _parts(state)
    name = _head_of(heads)
    return networks["0"] | {(key.replace(f"{name}.", "head.", 1) if name else key): tensor for key, tensor in heads.items()}


def _build_several(state: State) -> nn.Module:
    networks, heads, _ = _parts(state)
    members = [_body(networks[number], 0) for number in sorted(networks, key=int)]
    name = _head_of(heads)
    if not name:
        return Concat(members, copies=True)
    return Classifier(
        Concat(members, copies=True),
        ProbeHead(sum(each.num_features for each in members), heads[f"{name}.weight"].shape[0], use_bn="classifier.bn.weight" in heads),
    )


def _translate_several(state: State, module: nn.Module) -> dict[str, Tensor]:
    networks, heads, _ = _parts(state)
    name = _head_of(heads)
    place = "encoder.members" if name else "members"
    ours = {
        f"{place}.{position}.{key}": tensor
        for position, number in enumerate(sorted(networks, key=int))
        for key, tensor in networks[number].items()
    }
    for key, tensor in heads.items():
        bare = (
            key.replace(f"{name}.", "head.linear.", 1)
            if name and key.startswith(f"{name}.") and not key.startswith("classifier.bn.")
            else key
        )
        ours[bare.replace("classifier.bn.", "head.bn.", 1)] = tensor
    return ours


OFFICIAL = {
    "rich-resnet": OfficialCheckpoint(_build_one, _translate_one),
    "rich-concat": OfficialCheckpoint(_build_several, _translate_several),
}
