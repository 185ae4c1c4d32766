r"""HorNet: a pyramid of convolutional stages whose spatial mixing is recursive gated convolution.

A stem cuts the image into patches of 4 x 4; four stages of widths C, 2C, 4C, 8C follow, with 2 x 2 convolutions of stride 2 between them. A block is

.. math:: x \leftarrow x + \gamma_1 \odot \mathrm{g^nConv}(\mathrm{LN}(x)), \qquad x \leftarrow x + \gamma_2 \odot W_2\,\mathrm{GELU}(W_1\,\mathrm{LN}(x)),

with orders n = 2, 3, 4, 5 from the first stage to the last. In the "7x7" flavour every stage mixes by a depthwise 7 x 7 convolution; in the "GF" flavour the last two stages mix by a filter as large as the map.
The head reads the mean over the map, normalised. Maps are kept channels last throughout, where the 1 x 1 convolutions and the MLP are matrix products without a copy.

Images smaller than the published 224 pixels take a smaller patch (`patch_for`: 2 at 32 pixels, 1 at 8), so that the last stage still has a map of 2 x 2, and filters of the size of their maps.

Source: Rao et al., HorNet (NeurIPS 2022), sections 3.1 and 3.3; the isotropic variant is that of section 4.3, whose depth is chosen here so that its 4.5 G multiply-adds are near the 4.6 G of DeiT-S.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.models.base import VisionEncoder
from ordinate.nn.drop_path import DropPath, rising_rates
from ordinate.nn.global_filter import half_spectrum
from ordinate.nn.gnconv import SCALE, GnConv
from ordinate.nn.initial import draw_weights
from ordinate.nn.norms import LayerNorm2d
from ordinate.nn.patches import Downsample, PatchEmbed, patch_for

__all__ = ["MODELS", "HorNet", "HorNetBlock", "HorNetIsotropic"]

SPATIAL = ("gnconv", "depthwise")


class HorNetBlock(nn.Module):
    """(B, dim, H, W) -> (B, dim, H, W): spatial mixing, then an MLP, each in a pre-normed residual branch with its own scale a channel."""

    def __init__(self, dim: int, spatial: nn.Module, *, mlp_ratio: float = 4.0, drop_path: float = 0.0, layer_scale: float = 1e-6) -> None:
        """
        Args:
            dim: the channels.
            spatial: what mixes over space; keeps (B, dim, H, W).
            mlp_ratio: the MLP's inner width over `dim`.
            drop_path: the stochastic depth of both branches.
            layer_scale: what gamma_1 and gamma_2 start at; 0 leaves them out.
        """
        super().__init__()
        self.norm1 = LayerNorm2d(dim)
        self.spatial = spatial
        self.norm2 = LayerNorm2d(dim)
        inner = max(1, round(mlp_ratio * dim))
        self.expand = nn.Linear(dim, inner)
        self.contract = nn.Linear(inner, dim)
        self.gamma1 = nn.Parameter(torch.full((dim,), layer_scale)) if layer_scale > 0 else None
        self.gamma2 = nn.Parameter(torch.full((dim,), layer_scale)) if layer_scale > 0 else None
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "batch dim height width"]) -> Float[Tensor, "batch dim height width"]:
        """Run the block."""
        mixed = self.spatial(self.norm1(x))
        x = x + self.drop_path(mixed if self.gamma1 is None else self.gamma1[:, None, None] * mixed)
        y = self.contract(nn.functional.gelu(self.expand(self.norm2(x).permute(0, 2, 3, 1))))
        y = y if self.gamma2 is None else self.gamma2 * y
        return x + self.drop_path(y.permute(0, 3, 1, 2))

    @torch.no_grad()
    def fold_(self) -> None:
        """Move the scales into the weights beside them, in place: the same function, for inference.

        Raises:
            InputError: the spatial mixing is no `GnConv` with a last projection.
        """
        if not isinstance(self.spatial, GnConv) or not isinstance(self.spatial.proj_out, nn.Conv2d):
            raise InputError("only blocks of GnConv with a last projection can be folded")
        self.spatial.fold_scale_()
        for layer, gamma in ((self.spatial.proj_out, self.gamma1), (self.contract, self.gamma2)):
            if gamma is not None:
                layer.weight.mul_(gamma.view(-1, *[1] * (layer.weight.ndim - 1)))
                layer.bias.mul_(gamma)  # type: ignore[union-attr]  # both are built with a bias
        self.gamma1 = self.gamma2 = None


def _spatial(
    kind: str, dim: int, order: int, scale: float, kernel_size: int, filter_size: Sequence[int] | None, export_friendly: bool
) -> nn.Module:
    """A stage's spatial mixing; ``"depthwise"`` is the baseline without gates: a depthwise convolution and GELU."""
    if choose("spatial mixing", kind, SPATIAL) == "depthwise":
        return nn.Sequential(nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim), nn.GELU())
    return GnConv(
        dim,
        order,
        scale=scale,
        kernel_size=kernel_size,
        mixer="dw" if filter_size is None else "gf",
        filter_size=None if filter_size is None else (filter_size[0], filter_size[1]),
        normed=True,
        export_friendly=export_friendly,
    )


def _filter_sizes(
    mixers: Sequence[str], given: Sequence[Sequence[int] | None] | None, sides: Sequence[int]
) -> list[tuple[int, int] | None]:
    """The stored filter of every stage: None for ``"dw"``, the given or the native size for ``"gf"``."""
    for mixer in mixers:
        choose("mixer", mixer, ("dw", "gf"))
    sizes = [None] * len(mixers) if given is None else list(given)
    if len(sizes) != len(mixers) or len(mixers) != len(sides):
        raise InputError(f"one mixer and one filter size a stage: {len(mixers)} and {len(sizes)} for {len(sides)} stages")
    filters: list[tuple[int, int] | None] = []
    for mixer, size, side in zip(mixers, sizes, sides, strict=True):
        if mixer == "dw":
            filters.append(None)
        elif size is None:
            filters.append(half_spectrum(max(side, 1), max(side, 1)))
        else:
            filters.append((size[0], size[1]))
    return filters


class HorNet(VisionEncoder):
    """The four-stage network; its features are the last stage's map (B, num_features, H / 32, W / 32) at the published patch of 4."""

    width_multiple = 2

    def __init__(
        self,
        *,
        widths: int | Sequence[int] = 64,
        depths: Sequence[int] = (2, 3, 18, 2),
        orders: Sequence[int] = (2, 3, 4, 5),
        mixers: Sequence[str] = ("dw", "dw", "dw", "dw"),
        filter_sizes: Sequence[Sequence[int] | None] | None = None,
        kernel_size: int = 7,
        scale: float = SCALE,
        spatial: str = "gnconv",
        mlp_ratio: float = 4.0,
        in_chans: int = 3,
        num_classes: int = 1000,
        image_size: int = 224,
        patch: int | None = None,
        drop_path_rate: float = 0.0,
        layer_scale: float = 1e-6,
        init_std: float | None = 0.02,
        head_init_scale: float = 1.0,
        export_friendly: bool = False,
    ) -> None:
        """
        Args:
            widths: the channels of every stage, or the first stage's, which then double; a stage's width is divisible by 2^(order - 1).
            depths: blocks a stage; there are as many stages.
            orders: the order of the gated convolutions, a stage.
            mixers: ``"dw"`` or ``"gf"``, a stage.
            filter_sizes: (h, w) of the stored half-spectrum of every ``"gf"`` stage; None takes the size of the maps at `image_size`.
            kernel_size: of the depthwise convolutions.
            scale: s of the gated convolutions.
            spatial: ``"gnconv"``, or ``"depthwise"`` for the same network with a depthwise convolution and GELU in its place; `orders`, `mixers` and `scale` then count for nothing.
            mlp_ratio: the MLPs' inner width over the stage's.
            in_chans: the images' channels.
            num_classes: of the head; 0 for none.
            image_size: the side of the images, from which the patch and the filters follow. Other sizes can be given to `forward`.
            patch: the stem's patch; None is `patch_for(image_size)`, 4 from 64 pixels on.
            drop_path_rate: stochastic depth of the last block; rates rise linearly from 0.
            layer_scale: what the blocks' scales start at; 0 leaves them out.
            init_std: the standard deviation of the initial weights; None for 1 / sqrt(fan-in), see `ordinate.nn.initial`.
            head_init_scale: a factor on the head's initial weights.
            export_friendly: see `GlobalLocalFilter`.

        Raises:
            InputError: lists of unequal length, a width that does not suit its order, an unknown name, or images that are too small.
        """
        super().__init__()
        stages = len(depths)
        widths = [widths * 2**stage for stage in range(stages)] if isinstance(widths, int) else list(widths)
        if not stages or not len(widths) == len(orders) == stages:
            raise InputError(f"one width, depth and order a stage, not {len(widths)}, {stages} and {len(orders)}")
        self.shrinks = 2 ** (stages - 1)
        self.patch = patch_for(image_size, largest=4, stride=self.shrinks) if patch is None else patch
        self.in_chans, self.num_classes, self.num_features = in_chans, num_classes, widths[-1]
        self.feature_widths = widths
        sides = [image_size // (self.patch * 2**stage) for stage in range(stages)]
        filters = _filter_sizes(mixers, filter_sizes, sides)
        rates = iter(rising_rates(drop_path_rate, sum(depths)))
        self.stem = PatchEmbed(in_chans, widths[0], self.patch, norm=True)
        self.downsamples = nn.ModuleList(Downsample(before, after) for before, after in pairwise(widths))
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    HorNetBlock(
                        width,
                        _spatial(spatial, width, order, scale, kernel_size, size, export_friendly),
                        mlp_ratio=mlp_ratio,
                        drop_path=next(rates),
                        layer_scale=layer_scale,
                    )
                    for _ in range(depth)
                )
            )
            for width, depth, order, size in zip(widths, depths, orders, filters, strict=True)
        )
        self.norm = nn.LayerNorm(self.num_features, eps=1e-6)
        self.head: nn.Module = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        draw_weights(self, init_std)
        if isinstance(self.head, nn.Linear):
            with torch.no_grad():
                self.head.weight.mul_(head_init_scale)

    @classmethod
    def small(
        cls,
        width: int,
        *,
        image_size: int,
        in_chans: int,
        num_classes: int,
        inner_ratio: float = 4.0,
        mixers: Sequence[str] = ("dw", "dw", "dw", "dw"),
        orders: Sequence[int] = (2, 3, 4, 5),
        spatial: str = "gnconv",
    ) -> "HorNet":
        """The family's shape for small images: depths 1, 1, 2, 1 from `width` channels, without layer scale, weights drawn by their fan-in (narrow gated convolutions vanish otherwise)."""
        return cls(
            widths=width,
            depths=(1, 1, 2, 1),
            orders=orders,
            mixers=mixers,
            spatial=spatial,
            mlp_ratio=inner_ratio,
            layer_scale=0.0,
            init_std=None,
            in_chans=in_chans,
            num_classes=num_classes,
            image_size=image_size,
        )

    def feature_maps(self, x: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Every stage's map, the finest first: (B, widths[i], H / (patch 2^i), W / (patch 2^i)), without a norm.

        Raises:
            InputError: wrong rank or channels, or images so small that the last stage would be empty.
        """
        self.check_images(x, self.patch * self.shrinks)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        maps = [self.stages[0](x)]
        for downsample, stage in zip(self.downsamples, list(self.stages)[1:], strict=True):
            maps.append(stage(downsample(maps[-1])))
        return maps

    def forward_features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features rows columns"]:
        """The last stage's map."""
        return self.feature_maps(x)[-1]

    def pool(self, features: Float[Tensor, "batch features rows columns"]) -> Float[Tensor, "batch features"]:
        """The mean over the map, normalised."""
        return self.norm(features.mean(dim=(2, 3)))

    def fold(self) -> "HorNet":
        """The same function with its scales folded into the weights, in evaluation mode: for inference, not for training. The original is untouched.

        Raises:
            InputError: the network has no gated convolutions.
        """
        folded = type(self)(**{**self.arguments, "layer_scale": 0.0, "scale": 1.0})
        scaled = deepcopy(self)
        for stage in scaled.stages:
            for block in stage:  # type: ignore[attr-defined]  # a stage is a Sequential
                block.fold_()
        folded.load_state_dict(scaled.state_dict())
        parameter = next(self.parameters())
        return folded.to(device=parameter.device, dtype=parameter.dtype).eval()

    def select_classes(self, rows: Int[Tensor, "classes"]) -> None:
        """Keep these rows of the head, in this order: a head of ImageNet-22K read as one of ImageNet-1K.

        Raises:
            InputError: there is no head, or it has no such row.
        """
        if not isinstance(self.head, nn.Linear):
            raise InputError("this network has no head whose classes could be selected")
        if rows.numel() == 0 or not 0 <= int(rows.min()) <= int(rows.max()) < self.head.out_features:
            raise InputError(f"the head has rows 0 to {self.head.out_features - 1}")
        old = self.head
        self.reset_classifier(rows.numel())
        with torch.no_grad():
            self.head.weight.copy_(old.weight[rows])
            self.head.bias.copy_(old.bias[rows])

    def rate_by_layer(self, decay: float) -> Callable[[str], float]:
        """Layer-wise decay of the learning rate: from a parameter's name to its factor, `decay` to the power of its distance from the head, as `ordinate.train.fit` takes it.

        The layers are the published ones: 0 is the stem; 1 and 2 the first two stages; 2 and 3 the two downsamplings before stages 2 and 3; 3 to 11 two blocks of stage 3 each;
        12 the last stage and the downsampling before it; 13 the norm and the head.
        """
        return lambda name: decay ** (_LAYERS - self.layer_of(name))

    def layer_of(self, name: str) -> int:
        """The layer, 0 to 13, of the parameter called `name`; see `rate_by_layer`."""
        parts = name.split(".")
        last = len(self.stages) - 1
        if parts[0] == "stem":
            return 0
        if parts[0] == "downsamples":
            stage = int(parts[1]) + 1
            return _LAYERS - 1 if stage == last else stage + 1
        if parts[0] == "stages":
            stage, block = int(parts[1]), int(parts[2])
            if stage == last:
                return _LAYERS - 1
            return stage + 1 if stage < 2 else min(3 + block // 2, _LAYERS - 2)
        return _LAYERS


_LAYERS = 13


class HorNetIsotropic(VisionEncoder):
    """HorNet blocks at one resolution and one width, like a vision transformer without its attention: features (B, dim, H / patch, W / patch)."""

    width_multiple = 8

    def __init__(
        self,
        *,
        dim: int = 384,
        depth: int = 13,
        order: int = 5,
        mixer: str = "dw",
        filter_size: Sequence[int] | None = None,
        kernel_size: int = 7,
        scale: float = SCALE,
        mlp_ratio: float = 4.0,
        in_chans: int = 3,
        num_classes: int = 1000,
        image_size: int = 224,
        patch: int | None = None,
        drop_path_rate: float = 0.0,
        layer_scale: float = 1e-6,
        init_std: float | None = 0.02,
        export_friendly: bool = False,
    ) -> None:
        """
        Args:
            dim: the width of every block, divisible by 2^(order - 1).
            depth: the number of blocks.
            order: of the gated convolutions.
            mixer: ``"dw"`` or ``"gf"``.
            filter_size, kernel_size, scale, mlp_ratio, in_chans, num_classes, image_size, drop_path_rate, layer_scale, init_std, export_friendly: as in `HorNet`.
            patch: the stem's patch; None is the largest of 16, 8, ... that leaves a map of 7 x 7.

        Raises:
            InputError: a width that does not suit the order, an unknown mixer, or a patch larger than the images.
        """
        super().__init__()
        self.patch = patch_for(image_size, largest=16, side=7) if patch is None else patch
        self.in_chans, self.num_classes, self.num_features = in_chans, num_classes, dim
        (size,) = _filter_sizes((mixer,), None if filter_size is None else (filter_size,), (image_size // self.patch,))
        self.stem = PatchEmbed(in_chans, dim, self.patch, norm=True)
        self.blocks = nn.Sequential(
            *(
                HorNetBlock(
                    dim,
                    _spatial("gnconv", dim, order, scale, kernel_size, size, export_friendly),
                    mlp_ratio=mlp_ratio,
                    drop_path=rate,
                    layer_scale=layer_scale,
                )
                for rate in rising_rates(drop_path_rate, depth)
            )
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head: nn.Module = nn.Linear(dim, num_classes) if num_classes else nn.Identity()
        draw_weights(self, init_std)

    @classmethod
    def small(
        cls, width: int, *, image_size: int, in_chans: int, num_classes: int, inner_ratio: float = 4.0, mixer: str = "dw"
    ) -> "HorNetIsotropic":
        """The family's shape for small images: four blocks of `width` channels, of order 4; as for `HorNet.small`."""
        return cls(
            dim=width,
            depth=4,
            order=4,
            mixer=mixer,
            mlp_ratio=inner_ratio,
            layer_scale=0.0,
            init_std=None,
            in_chans=in_chans,
            num_classes=num_classes,
            image_size=image_size,
        )

    def forward_features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features rows columns"]:
        """The last block's map.

        Raises:
            InputError: wrong rank or channels, or images smaller than a patch.
        """
        self.check_images(x, self.patch)
        return self.blocks(self.stem(x.contiguous(memory_format=torch.channels_last)))

    def pool(self, features: Float[Tensor, "batch features rows columns"]) -> Float[Tensor, "batch features"]:
        """The mean over the map, normalised."""
        return self.norm(features.mean(dim=(2, 3)))


_GF = ("dw", "dw", "gf", "gf")
MODELS = {
    "hornet-tiny": partial(HorNet, widths=64),
    "hornet-tiny-gf": partial(HorNet, widths=64, mixers=_GF),
    "hornet-small": partial(HorNet, widths=96),
    "hornet-small-gf": partial(HorNet, widths=96, mixers=_GF),
    "hornet-base": partial(HorNet, widths=128),
    "hornet-base-gf": partial(HorNet, widths=128, mixers=_GF),
    "hornet-base-gf-384": partial(HorNet, widths=128, mixers=_GF, image_size=384),
    "hornet-large": partial(HorNet, widths=192),
    "hornet-large-gf": partial(HorNet, widths=192, mixers=_GF),
    "hornet-large-gf-384": partial(HorNet, widths=192, mixers=_GF, image_size=384),
    "hornet-isotropic": partial(HorNetIsotropic),
    "hornet-isotropic-gf": partial(HorNetIsotropic, mixer="gf"),
}
