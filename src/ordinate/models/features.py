"""A pyramid encoder as a dense backbone: the maps of chosen stages, each normalised over its channels, for detection and segmentation."""

from collections.abc import Sequence
from typing import Protocol, cast

from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.base import VisionEncoder
from ordinate.nn.norms import LayerNorm2d

__all__ = ["FeatureMaps", "Pyramid"]


class Pyramid(Protocol):
    """An encoder with several resolutions: `feature_maps(x)` gives every stage's map, the finest first, of `feature_widths` channels."""

    feature_widths: list[int]

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        """Images (B, C, H, W) to maps (B, feature_widths[i], h_i, w_i)."""
        ...


class FeatureMaps(nn.Module):
    """Images (B, C, H, W) to a list of maps, one for every chosen stage, each through a layer normalisation of its own."""

    def __init__(self, encoder: VisionEncoder, out_indices: Sequence[int] = (0, 1, 2, 3)) -> None:
        """
        Args:
            encoder: a `Pyramid`. It is taken over: its own norm and head, which nothing here reads, are removed.
            out_indices: which stages, the finest is 0.

        Raises:
            InputError: the encoder has one resolution, or no such stage.
        """
        super().__init__()
        if not hasattr(encoder, "feature_maps"):
            raise InputError(f"{type(encoder).__name__} has one resolution and no feature maps: use a pyramid (hornet, swin, resnet)")
        widths = cast(Pyramid, encoder).feature_widths
        if not out_indices or not all(0 <= index < len(widths) for index in out_indices):
            raise InputError(f"out_indices must name some of the stages 0 to {len(widths) - 1}, not {list(out_indices)}")
        encoder.reset_classifier(0)
        if hasattr(encoder, "norm"):
            encoder.norm = nn.Identity()
        self.encoder = encoder
        self.out_indices = list(out_indices)
        self.norms = nn.ModuleDict({str(index): LayerNorm2d(widths[index]) for index in out_indices})

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """The chosen stages' maps, normalised, in the order of `out_indices`."""
        maps = cast(Pyramid, self.encoder).feature_maps(x)
        return [self.norms[str(index)](maps[index]) for index in self.out_indices]
