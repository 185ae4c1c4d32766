"""An encoder whose embedding is brought to a width of one's own by a linear map without bias: what a fixed classifier, an index or a teacher of another width asks for.

In front of fixed class prototypes the map is called the junction (Biondi et al., "Stationary Representations", 2024, whose released networks are read here: a ResNet-18 with the stem for large images, ``fc1`` the junction, and ``fc2``
the prototypes, which follow from their number and are not read).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.base import VisionEncoder
from ordinate.models.registry import create_model, model_class
from ordinate.nn.official import OfficialCheckpoint, State

__all__ = ["MODELS", "OFFICIAL", "Projected"]

_LARGE = 224  # the side that gives a ResNet the stem of the released networks


class Projected(VisionEncoder):
    """Images (B, C, H, W) to embeddings (B, num_features) that are a linear map of another encoder's."""

    def __init__(
        self,
        encoder: str = "resnet",
        num_features: int = 1023,
        num_classes: int = 10,
        image_size: int = 32,
        in_chans: int = 3,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
            encoder: a registered vision encoder's name.
            num_features: the width of the embedding.
            num_classes: of the head on it; 0 for none.
            image_size: the side of the images, in pixels.
            in_chans: channels of the images.
            arguments: further arguments of the encoder.

        Raises:
            InputError: no such encoder, a model of another kind, arguments that it does not have, or a width below 1.
        """
        super().__init__()
        if num_features < 1:
            raise InputError(f"an embedding has at least one feature, not {num_features}")
        family = model_class(encoder)
        if not (isinstance(family, type) and issubclass(family, VisionEncoder)):
            raise InputError(f"{encoder} is not an image network: its embedding cannot be projected")
        given = {"num_classes": 0, "image_size": image_size, "in_chans": in_chans, **(arguments or {})}
        inner = cast(VisionEncoder, create_model(encoder, **given))
        self.encoder = inner
        self.num_features, self.num_classes, self.in_chans = num_features, num_classes, in_chans
        self.junction = nn.Linear(inner.num_features, num_features, bias=False)
        self.head = nn.Linear(num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Float[Tensor, "batch channels height width"]) -> Tensor:
        """The encoder's own unpooled features."""
        return self.encoder.forward_features(x)

    def pool(self, features: Tensor) -> Float[Tensor, "batch features"]:
        """The encoder's embedding through the linear map."""
        return self.junction(self.encoder.pool(features))


def _build(state: State, **config: Any) -> Projected:
    width = len(state["fc1.weight"])
    # Built for images of its published size, whose stem the released networks have whatever they were trained on.
    return Projected("resnet", width, 0, _LARGE, state["backbone.conv1.weight"].shape[1], **config)


def _translate(state: State, module: nn.Module) -> dict[str, Tensor]:
    found = {}
    for key, tensor in state.items():
        name = key.replace(".blocks.", ".")  # as some of the released files have it
        if name == "fc2.weight":
            continue  # the fixed prototypes
        found[_renamed(name)] = tensor
    return found


def _renamed(name: str) -> str:
    if name == "fc1.weight":
        return "junction.weight"
    if not name.startswith("backbone."):
        return name
    parts = name.split(".")[1:]
    stem = {"conv1": "stem.0.0", "bn1": "stem.0.1"}
    if parts[0] in stem:
        return ".".join(["encoder", stem[parts[0]], *parts[1:]])
    if not parts[0].startswith("layer"):
        return name
    stage, block, part, *rest = int(parts[0].removeprefix("layer")) - 1, *parts[1:]
    if part == "downsample":
        return ".".join(["encoder.stages", str(stage), block, "shortcut", *rest])
    kind, number = part[:-1], int(part[-1]) - 1
    return ".".join(["encoder.stages", str(stage), block, "convolutions", str(number), "0" if kind == "conv" else "1", *rest])


MODELS = {"projected": partial(Projected)}
OFFICIAL = {"stationary-resnet18": OfficialCheckpoint(_build, _translate, unwrap=("net", "model", "state_dict"))}
