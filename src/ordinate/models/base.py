"""What every whole network here has in common: a configuration that rebuilds it, and weights that travel through the Hugging Face hub.

`Model` is an `nn.Module` whose constructor arguments are JSON values. They are written to `config.json` beside `model.safetensors` by `save_pretrained`,
and `push_to_hub` and `from_pretrained` are those of `huggingface_hub`'s mixin.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.ground.files import write_json

__all__ = ["FAMILY_FILE", "Model", "VisionEncoder"]

FAMILY_FILE = "ordinate.json"


class Model(nn.Module, PyTorchModelHubMixin, library_name="ordinate", tags=["ordinate"]):
    """A whole network. Constructor arguments are keyword-able JSON values (numbers, strings, lists, None)."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor arguments that rebuild this network, defaults included."""
        return dict(self._hub_mixin_config or {})  # type: ignore[arg-type]  # a dictionary, since no constructor here takes a dataclass

    def _save_pretrained(self, save_directory: Path) -> None:
        super()._save_pretrained(save_directory)
        # config.json holds the arguments; the family lets load_model find the class among those that the registry knows.
        write_json(save_directory / FAMILY_FILE, {"family": type(self).__name__})


class VisionEncoder(Model, ABC):
    """An image network that speaks timm's verbs.

    `forward(x) == forward_head(forward_features(x))`. A subclass sets `num_features`, `num_classes` and `in_chans`, keeps its classifier in `head`,
    and implements `forward_features` and `pool`. For comparisons at a budget it declares, in `small`, its shape for small images as a function of one width, of which `width_multiple` is the unit.
    """

    width_multiple: ClassVar[int] = 1
    num_features: int
    num_classes: int
    in_chans: int
    head: nn.Module

    @classmethod
    def small(cls, width: int, *, image_size: int, in_chans: int, num_classes: int, inner_ratio: float = 4.0) -> "VisionEncoder":
        """The family's shape for small images (8 to 64 pixels); see `ordinate.models.budget`.

        Args:
            width: of the narrowest stage, a multiple of `width_multiple`.
            image_size: the side of the images, in pixels.
            in_chans: the images' channels.
            num_classes: of the head.
            inner_ratio: the inner width of a block (its MLP's, say) over its outer one; the default is the family's own.

        Raises:
            InputError: the family has no such shape.
        """
        raise InputError(f"{cls.__name__} declares no shape for small images")

    @abstractmethod
    def forward_features(self, x: Float[Tensor, "batch channels height width"]) -> Tensor:
        """Images (B, C, H, W) to unpooled features: a map (B, num_features, h, w) or tokens (B, n, num_features)."""

    @abstractmethod
    def pool(self, features: Tensor) -> Float[Tensor, "batch features"]:
        """Unpooled features to one vector an image, (B, num_features): what `head` reads."""

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Float[Tensor, "batch classes"]:
        """Unpooled features to logits (B, num_classes), or to the pooled embedding (B, num_features) if `pre_logits`."""
        pooled = self.pool(features)
        return pooled if pre_logits else self.head(pooled)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Images (B, C, H, W) to logits (B, num_classes); the embedding (B, num_features) where num_classes is 0."""
        return self.forward_head(self.forward_features(x))

    def embed(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """Images (B, C, H, W) to embeddings (B, num_features)."""
        return self.forward_head(self.forward_features(x), pre_logits=True)

    def get_classifier(self) -> nn.Module:
        """The head."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a new linear one for `num_classes` classes; 0 leaves the embedding as the output."""
        if num_classes < 0:
            raise InputError(f"num_classes must be 0 (no head) or more, not {num_classes}")
        parameter = next(self.parameters())
        self.num_classes = num_classes
        if self._hub_mixin_config is not None:  # what is saved must rebuild the new head
            self._hub_mixin_config = {**self.arguments, "num_classes": num_classes}
        head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.head = head.to(device=parameter.device, dtype=parameter.dtype)

    def check_images(self, x: Tensor, smallest: int = 1) -> None:
        """Raise `InputError` unless `x` is (B, in_chans, H, W) with sides of at least `smallest` pixels."""
        name = type(self).__name__
        if x.ndim != 4 or x.shape[1] != self.in_chans:
            raise InputError(f"{name} takes images (batch, {self.in_chans}, height, width), channels first, not {tuple(x.shape)}")
        if min(x.shape[2:]) < smallest:
            raise InputError(
                f"{name} needs images of at least {smallest}x{smallest} pixels, not {x.shape[2]}x{x.shape[3]}: resize them, or use a smaller stem"
            )
