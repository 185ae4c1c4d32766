"""Image domains: one set of images seen in several ways, turned by an angle and with light and dark exchanged, so that tasks share their classes and differ in what is to be read.

A domain is named by its angle and, where light and dark are exchanged, by a minus sign in front: ``"60"``, ``"-90"``.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from ordinate.data.batches import Batch, Source

__all__ = ["ImageDomain", "InDomain", "turned"]


def turned(
    images: Float[Tensor, "batch channels height width"], degrees: Float[Tensor, " batch"] | float
) -> Float[Tensor, "batch channels height width"]:
    """Images turned about their centres, counter-clockwise, bilinearly, with zeros from outside.

    Args:
        images: (B, C, H, W), floating.
        degrees: one angle for all, or (B,).
    """
    angle = torch.as_tensor(degrees, dtype=torch.float64).expand(len(images)) * (math.pi / 180)
    height, width = images.shape[2:]
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # In the grid's own coordinates both sides run from -1 to 1, whatever their lengths.
    rows = torch.stack([torch.stack([cos, -sin * height / width, zero], 1), torch.stack([sin * width / height, cos, zero], 1)], 1)
    grid = F.affine_grid(rows.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


@dataclass(frozen=True)
class ImageDomain:
    """A way of seeing images with values in [0, 1].

    Attributes:
        degrees: by which they are turned.
        inverted: light and dark are exchanged, after turning.
    """

    degrees: float = 0.0
    inverted: bool = False

    @property
    def name(self) -> str:
        """Its angle, with a minus sign in front where it is inverted."""
        return f"{'-' if self.inverted else ''}{self.degrees:g}"

    def __call__(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """The images as seen in this domain, (B, C, H, W)."""
        seen = images if self.degrees % 360 == 0 else turned(images, self.degrees)
        return 1 - seen if self.inverted else seen


class InDomain(Source):
    """A source whose ``"image"`` (B, C, H, W), floating in [0, 1], is seen in a domain.

    Args:
        source: rows with an ``"image"``.
        domain: how they are seen.
    """

    def __init__(self, source: Source, domain: ImageDomain) -> None:
        self.source, self.domain = source, domain

    def __len__(self) -> int:
        return len(self.source)

    def take(self, indices: Int64[Tensor, " batch"]) -> Batch:
        batch = self.source.take(indices)
        return {**batch, "image": self.domain(batch["image"])}
