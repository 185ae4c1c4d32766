"""A plain convolutional network: the smallest encoder of photographs, for checks that must take seconds.

Each stage is a 3 x 3 convolution of stride 2 with batch normalisation and ReLU, and doubles the width; the mean of the last map goes through a linear layer to the embedding. (All-convolutional networks: Springenberg et al., "Striving for Simplicity", 2015.)
"""

from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.base import VisionEncoder

__all__ = ["MODELS", "ConvNet"]


class ConvNet(VisionEncoder):
    """Images (B, C, H, W) to the embedding (B, num_features), and a linear head."""

    def __init__(
        self,
        num_classes: int = 10,
        image_size: int = 32,
        in_chans: int = 3,
        width: int = 32,
        stages: int = 3,
        num_features: int = 64,
    ) -> None:
        """
        Args:
            num_classes: 0 leaves the embedding as the output.
            image_size: the side of the images, in pixels: at least 2**stages. Others can be given to `forward`.
            in_chans: channels of the images.
            width: channels of the first stage.
            stages: how often the side is halved.
            num_features: width of the embedding.

        Raises:
            InputError: a number below 1, or images too small for the stages.
        """
        super().__init__()
        if min(in_chans, width, stages, num_features) < 1 or num_classes < 0:
            raise InputError("widths, stages and channels of a ConvNet must be at least 1, and num_classes 0 or more")
        if image_size < 2**stages:
            raise InputError(f"{stages} stages halve images of {image_size} pixels to nothing: use fewer stages")
        self.in_chans = in_chans
        self.num_classes = num_classes
        self.num_features = num_features
        layers: list[nn.Module] = []
        for stage in range(stages):
            before, after = in_chans if stage == 0 else width << (stage - 1), width << stage
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.neck = nn.Linear(width << (stages - 1), num_features)
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    @classmethod
    def small(cls, width: int, *, image_size: int, in_chans: int, num_classes: int, inner_ratio: float = 1.0) -> "ConvNet":
        """Three stages from `width` channels, and `inner_ratio` times as many features as channels in the last."""
        return cls(num_classes, image_size, in_chans, width, num_features=max(1, round(inner_ratio * 4 * width)))

    def forward_features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch maps h w"]:
        """The map of the last stage.

        Raises:
            InputError: wrong rank or channels.
        """
        self.check_images(x)
        return self.body(x)

    def pool(self, features: Float[Tensor, "batch maps h w"]) -> Float[Tensor, "batch features"]:
        """The mean over the positions, through the last linear layer: the embedding (B, num_features)."""
        return self.neck(features.mean(dim=(2, 3)))


MODELS = {"convnet": partial(ConvNet)}
