r"""Vision transformers: an image as a sequence of patches.

The patches' embeddings, a learned class token before them and learned positions added, go through pre-normed blocks

.. math:: x \leftarrow x + \mathrm{Mix}(\mathrm{LN}(x)), \qquad x \leftarrow x + W_2\,\mathrm{GELU}(W_1\,\mathrm{LN}(x)),

with multi-head softmax attention or any other token mixer, and a last normalisation. The classifier reads the class token, or the mean over the patches. Images of another size than that of training are
taken with the positions resized bicubically over the grid.

Sources: Dosovitskiy et al., An Image is Worth 16x16 Words (ICLR 2021), section 3.1; Touvron et al., DeiT (ICML 2021), for the tiny and small sizes.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError, choose
from ordinate.models.base import VisionEncoder
from ordinate.nn.drop_path import DropPath, rising_rates
from ordinate.nn.initial import draw_weights
from ordinate.nn.mixers import TokenMixer, create_mixer
from ordinate.nn.patches import PatchEmbed, patch_for

__all__ = ["MODELS", "VisionTransformer"]


class _Block(nn.Module):
    """(B, L, dim) -> (B, L, dim)."""

    def __init__(self, dim: int, mixer: TokenMixer, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        inner = max(1, round(mlp_ratio * dim))
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.mixer = mixer
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.expand = nn.Linear(dim, inner)
        self.contract = nn.Linear(inner, dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.mixer(self.norm1(x)))
        return x + self.drop_path(self.contract(F.gelu(self.expand(self.norm2(x)))))


class VisionTransformer(VisionEncoder):
    """The transformer; its features are tokens (B, [1 +] n, dim), normalised, the class token first where there is one."""

    width_multiple = 4

    def __init__(
        self,
        *,
        dim: int = 192,
        depth: int = 12,
        heads: int = 3,
        mixer: str = "softmax",
        mixer_arguments: dict[str, Any] | None = None,
        positions: bool = True,
        mlp_ratio: float = 4.0,
        pooling: str = "token",
        in_chans: int = 3,
        num_classes: int = 1000,
        image_size: int = 224,
        patch: int | None = None,
        drop_path_rate: float = 0.0,
        init_std: float | None = 0.02,
    ) -> None:
        """
        Args:
            dim: the width D.
            depth: the number of blocks.
            heads: of the mixer, a divisor of D.
            mixer: a registered token mixer, not causal.
            mixer_arguments: further arguments of the mixers.
            positions: learned positions are added to the embeddings; without them the mixer is to have positions of its own.
            mlp_ratio: the MLPs' inner width over D.
            pooling: ``"token"``: a class token, which the head reads; ``"mean"``: none, and the mean over the patches.
            in_chans: the images' channels.
            num_classes: of the head; 0 for none.
            image_size: the side of the images. Other sizes can be given to `forward`, if the mixer takes other lengths.
            patch: the side of a patch; None is the largest of 16, 8, ... that leaves a grid of 7 x 7.
            drop_path_rate: stochastic depth of the last block; rates rise linearly from 0.
            init_std: the standard deviation of the initial weights; None for 1 / sqrt(fan-in), see `ordinate.nn.initial`.

        Raises:
            InputError: an unknown mixer or pooling, heads that do not divide D, or images smaller than a patch.
        """
        super().__init__()
        self.patch = patch_for(image_size, largest=16, side=7) if patch is None else patch
        if image_size < self.patch:
            raise InputError(f"images of {image_size}x{image_size} pixels hold no patch of {self.patch}x{self.patch}")
        self.in_chans, self.num_classes, self.num_features = in_chans, num_classes, dim
        self.grid = image_size // self.patch
        self.stem = PatchEmbed(in_chans, dim, self.patch)
        self.class_token = nn.Parameter(torch.zeros(dim)) if choose("pooling", pooling, ("token", "mean")) == "token" else None
        self.positions = nn.Parameter(torch.empty(self.grid**2 + (self.class_token is not None), dim)) if positions else None
        self.blocks = nn.ModuleList(
            _Block(dim, create_mixer(mixer, dim, heads=heads, **(mixer_arguments or {})), mlp_ratio, rate)
            for rate in rising_rates(drop_path_rate, depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head: nn.Module = nn.Linear(dim, num_classes) if num_classes else nn.Identity()
        if self.positions is not None:
            nn.init.trunc_normal_(self.positions, std=0.02)
        if self.class_token is not None:
            nn.init.normal_(self.class_token, std=1e-6)
        draw_weights(self, init_std)
        draw_weights(self.stem, None)  # patches reach the first block at the scale of their pixels

    @classmethod
    def small(
        cls,
        width: int,
        *,
        image_size: int,
        in_chans: int,
        num_classes: int,
        inner_ratio: float = 4.0,
        mixer: str = "softmax",
        pooling: str = "token",
    ) -> "VisionTransformer":
        """The family's shape for small images: six blocks of `width` channels with four heads, on patches of 4 at 32 pixels."""
        return cls(
            dim=width,
            depth=6,
            heads=4,
            mixer=mixer,
            mlp_ratio=inner_ratio,
            init_std=None,
            pooling=pooling,
            in_chans=in_chans,
            num_classes=num_classes,
            image_size=image_size,
        )

    def forward_features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch tokens features"]:
        """Every token after the last block, normalised.

        Raises:
            InputError: wrong rank or channels, or images smaller than a patch.
        """
        self.check_images(x, self.patch)
        grid = self.stem(x)
        tokens = grid.flatten(2).transpose(1, 2)
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.expand(len(tokens), 1, -1), tokens], dim=1)
        if self.positions is not None:
            tokens = tokens + self._resized(self.positions, grid.shape[2], grid.shape[3])
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def pool(self, features: Float[Tensor, "batch tokens features"]) -> Float[Tensor, "batch features"]:
        """The class token, or the mean over the patches."""
        return features.mean(dim=1) if self.class_token is None else features[:, 0]

    def _resized(self, positions: Tensor, rows: int, columns: int) -> Tensor:
        if rows == columns == self.grid:
            return positions
        lead = len(positions) - self.grid**2
        grid = positions[lead:].T.view(1, self.num_features, self.grid, self.grid)
        resized = F.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False, antialias=True)
        return torch.cat([positions[:lead], resized[0].flatten(1).T])


MODELS = {
    "vit-tiny": partial(VisionTransformer, dim=192, heads=3),
    "vit-small": partial(VisionTransformer, dim=384, heads=6),
    "vit-base": partial(VisionTransformer, dim=768, heads=12),
}
