"""A multi-layer perceptron on pixels: the smallest encoder there is, for grey images of a few hundred pixels and for checks that must take seconds."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.base import VisionEncoder

__all__ = ["MLP", "MODELS"]


class MLP(VisionEncoder):
    """Pixels to hidden layers with ReLU to the embedding (B, num_features), linear in the last hidden layer, and a linear head."""

    def __init__(
        self,
        num_classes: int = 10,
        image_size: int | Sequence[int] = 28,
        in_chans: int = 1,
        hidden: Sequence[int] = (256,),
        num_features: int = 64,
    ) -> None:
        """
        Args:
            num_classes: 0 leaves the embedding as the output.
            image_size: pixels of a side, or (height, width).
            in_chans: channels of the images.
            hidden: widths of the hidden layers.
            num_features: width of the embedding.

        Raises:
            InputError: a width, a size or a number of channels below 1.
        """
        super().__init__()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if min(height, width, in_chans, num_features, *hidden) < 1 or num_classes < 0:
            raise InputError("widths, sizes and channels of an MLP must be at least 1, and num_classes 0 or more")
        self.image_size = (height, width)
        self.in_chans = in_chans
        self.num_features = num_features
        self.num_classes = num_classes
        layers: list[nn.Module] = []
        for before, after in pairwise([prod(self.image_size) * in_chans, *hidden]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Linear(([prod(self.image_size) * in_chans, *hidden])[-1], num_features))
        self.head = nn.Linear(num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features 1 1"]:
        """Images (B, C, H, W) to their embeddings as maps of one position (B, num_features, 1, 1).

        Raises:
            InputError: images of another shape than the one that it was made for.
        """
        self.check_images(x)
        if tuple(x.shape[2:]) != self.image_size:
            raise InputError(
                f"this MLP was made for images of {self.image_size[0]}x{self.image_size[1]} pixels, not {x.shape[2]}x{x.shape[3]}"
            )
        return self.body(x.flatten(1))[:, :, None, None]

    def pool(self, features: Float[Tensor, "batch features 1 1"]) -> Float[Tensor, "batch features"]:
        """The embedding (B, num_features)."""
        return features.flatten(1)


MODELS = {"mlp": partial(MLP)}
