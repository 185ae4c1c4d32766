r"""The image encoder of CLIP: a vision transformer that is normalised before its blocks and projected after them.

.. math:: x_0 = \mathrm{LN}([c;\ W * \text{image}] + P), \qquad x \leftarrow x + \mathrm{MHA}(\mathrm{LN}(x)), \qquad x \leftarrow x + W_2\, \sigma(W_1 \mathrm{LN}(x)), \qquad f = \mathrm{LN}(x_{[0]})\, E

with a class token c in front, and :math:`\sigma(x) = x\,\mathrm{sigmoid}(1.702\,x)` in the weights that OpenAI released. Its embedding stands beside those of texts, so that class names serve as a head: `ordinate.nn.prototype_head`.

`load_official("clip-vision", ...)` reads the state of an image encoder as the official repository of aTLAS keeps it (``model.visual.*`` with the text tower's leftovers, which are dropped), or of open_clip (``visual.*``).

Source: Radford et al., Learning Transferable Visual Models from Natural Language Supervision (ICML 2021), section 2.4.
"""

from collections import OrderedDict
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.base import VisionEncoder
from ordinate.nn.official import OfficialCheckpoint, State

__all__ = ["MODELS", "OFFICIAL", "CLIPVision"]

_HEAD_WIDTH = 64  # channels of an attention head, in every published size
_TEXT = (
    "token_embedding.",
    "positional_embedding",
    "transformer.",
    "ln_final.",
    "text_projection",
    "logit_scale",
    "logit_bias",
    "attn_mask",
)


class _QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class _Block(nn.Module):
    """(B, L, dim) -> (B, L, dim)."""

    def __init__(self, dim: int, heads: int, inner: int, quick_gelu: bool) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(dim)
        act: nn.Module = _QuickGELU() if quick_gelu else nn.GELU()
        self.mlp = nn.Sequential(OrderedDict(c_fc=nn.Linear(dim, inner), act=act, c_proj=nn.Linear(inner, dim)))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class CLIPVision(VisionEncoder):
    """Images (B, C, H, W) of one size to embeddings (B, num_features), and logits where it has classes. Features are tokens (B, 1 + n, num_features), every one normalised and projected."""

    width_multiple = 4

    def __init__(
        self,
        *,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        inner: int | None = None,
        num_features: int = 512,
        patch: int = 32,
        image_size: int = 224,
        in_chans: int = 3,
        num_classes: int = 0,
        quick_gelu: bool = True,
    ) -> None:
        """
        Args:
            dim: the width of the blocks.
            depth: their number.
            heads: of attention, a divisor of the width.
            inner: the MLPs' inner width; None is four times the width.
            num_features: of the embedding.
            patch: the side of a patch.
            image_size: the side of the images, a multiple of it.
            in_chans: their channels.
            num_classes: of a linear head on the embedding; 0 for none.
            quick_gelu: the activation of the released weights; False is the exact GELU of later ones.

        Raises:
            InputError: images that are no whole number of patches, or heads that do not divide the width.
        """
        super().__init__()
        if image_size < patch or image_size % patch or dim % heads:
            raise InputError(
                f"images of {image_size} pixels must be whole patches of {patch}, and {heads} heads must divide the width {dim}"
            )
        self.in_chans, self.num_classes, self.num_features, self.image_size = in_chans, num_classes, num_features, image_size
        scale = dim**-0.5
        self.conv1 = nn.Conv2d(in_chans, dim, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(dim))
        self.positional_embedding = nn.Parameter(scale * torch.randn((image_size // patch) ** 2 + 1, dim))
        self.ln_pre = nn.LayerNorm(dim)
        blocks = nn.ModuleList(_Block(dim, heads, inner or 4 * dim, quick_gelu) for _ in range(depth))
        self.transformer = nn.ModuleDict({"resblocks": blocks})
        self.ln_post = nn.LayerNorm(dim)
        self.proj = nn.Parameter(scale * torch.randn(dim, num_features))
        self.head = nn.Linear(num_features, num_classes) if num_classes else nn.Identity()

    @classmethod
    def small(cls, width: int, *, image_size: int, in_chans: int, num_classes: int, inner_ratio: float = 4.0) -> "CLIPVision":
        """The family's shape for small images: six blocks of `width` channels with four heads, on whole patches of at most a seventh of the side."""
        largest = max(1, image_size // 7)
        return cls(
            dim=width,
            depth=6,
            heads=4,
            inner=max(1, round(inner_ratio * width)),
            num_features=width,
            patch=next(patch for patch in range(largest, 0, -1) if image_size % patch == 0),
            image_size=image_size,
            in_chans=in_chans,
            num_classes=num_classes,
        )

    def forward_features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch tokens features"]:
        """Every token after the last block, normalised and projected.

        Raises:
            InputError: images of another rank, size or number of channels.
        """
        self.check_images(x, self.image_size)
        if tuple(x.shape[2:]) != (self.image_size, self.image_size):
            raise InputError(f"this encoder reads images of {self.image_size}x{self.image_size} pixels, not {x.shape[2]}x{x.shape[3]}")
        patches = self.conv1(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_embedding.to(patches.dtype).expand(len(patches), 1, -1), patches], dim=1)
        tokens = self.ln_pre(tokens + self.positional_embedding)
        blocks = self.transformer["resblocks"]
        assert isinstance(blocks, nn.ModuleList)
        for block in blocks:
            tokens = block(tokens)
        return self.ln_post(tokens) @ self.proj

    def pool(self, features: Float[Tensor, "batch tokens features"]) -> Float[Tensor, "batch features"]:
        """The class token's."""
        return features[:, 0]


def _visual(state: State) -> dict[str, Tensor]:
    """The image tower's entries under its own names."""
    inner = {key.removeprefix("model."): entry for key, entry in state.items()}
    if any(key.startswith("visual.") for key in inner):
        visual = {key.removeprefix("visual."): entry for key, entry in inner.items() if key.startswith("visual.")}
        # The text tower's are passed over; what is neither is kept, to be reported.
        return visual | {key: entry for key, entry in inner.items() if not key.startswith(("visual.", *_TEXT))}
    return inner


def _build(state: State, **config: int | bool) -> CLIPVision:
    visual = _visual(state)
    dim, channels, patch, _ = visual["conv1.weight"].shape
    depth = 1 + max(int(key.split(".")[2]) for key in visual if key.startswith("transformer.resblocks."))
    grid = round((len(visual["positional_embedding"]) - 1) ** 0.5)
    read = {
        "dim": dim,
        "depth": depth,
        "heads": max(1, dim // _HEAD_WIDTH),
        "inner": len(visual["transformer.resblocks.0.mlp.c_fc.weight"]),
        "num_features": visual["proj"].shape[1],
        "patch": patch,
        "image_size": grid * patch,
        "in_chans": channels,
    }
    return CLIPVision(**{**read, **config})


def _translate(state: State, module: nn.Module) -> dict[str, Tensor]:
    return _visual(state)


MODELS = {
    "clip-vision-base-32": partial(CLIPVision),
    "clip-vision-base-16": partial(CLIPVision, patch=16),
    "clip-vision-large-14": partial(CLIPVision, dim=1024, depth=24, heads=16, num_features=768, patch=14),
}
OFFICIAL = {"clip-vision": OfficialCheckpoint(_build, _translate)}
