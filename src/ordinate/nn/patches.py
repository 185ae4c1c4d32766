"""Stems: an image cut into patches, or read by a few convolutions, before the first block of a network.

`PatchEmbed` is one convolution whose kernel is its stride. How large the patches should be follows from the image: the published networks take patches of 4 or 16 pixels of images of 224,
and `patch_for` gives the patch that leaves a smaller image a map that is still worth mixing.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.norms import LayerNorm2d

__all__ = ["Downsample", "PatchEmbed", "patch_for"]


class PatchEmbed(nn.Module):
    """(B, C, H, W) -> (B, dim, H // patch, W // patch): every patch is mapped linearly to a vector, and normalised if asked."""

    def __init__(self, in_chans: int, dim: int, patch: int, *, norm: bool = False) -> None:
        """
        Args:
            in_chans: C.
            dim: the width of the vectors.
            patch: the side of a patch, in pixels.
            norm: a layer normalisation over the channels follows.
        """
        super().__init__()
        self.proj = nn.Conv2d(in_chans, dim, patch, stride=patch)
        self.norm = LayerNorm2d(dim) if norm else nn.Identity()

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dim rows columns"]:
        """Embed the patches; pixels beyond the last whole patch are left out."""
        return self.norm(self.proj(x))


class Downsample(nn.Module):
    """(B, in_dim, H, W) -> (B, out_dim, H // 2, W // 2): layer normalisation over the channels, then a 2x2 convolution of stride 2, as between the stages of a convolutional pyramid."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        """
        Args:
            in_dim: the channels that come.
            out_dim: the channels that go.
        """
        super().__init__()
        self.norm = LayerNorm2d(in_dim)
        self.proj = nn.Conv2d(in_dim, out_dim, 2, stride=2)

    def forward(self, x: Float[Tensor, "batch in_dim height width"]) -> Float[Tensor, "batch out_dim rows columns"]:
        """Halve the map."""
        return self.proj(self.norm(x))


def patch_for(image_size: int, *, largest: int, stride: int = 1, side: int = 2) -> int:
    """The largest of `largest`, `largest` / 2, ..., 1 whose patches leave a last map of at least `side` x `side`.

    Args:
        image_size: the side of the images, in pixels.
        largest: the published patch, a power of 2.
        stride: by how much the network shrinks the map behind the stem: 8 for four stages, 1 for a transformer.
        side: the smallest last map that is wanted. Where no patch leaves as much, the patch is 1.

    Raises:
        InputError: the images are so small that even single pixels leave no map.
    """
    if image_size < stride:
        raise InputError(f"images of {image_size}x{image_size} pixels are too small: this network shrinks them by {stride} at the least")
    patch = largest
    while patch > 1 and image_size // (patch * stride) < side:
        patch //= 2
    return patch
