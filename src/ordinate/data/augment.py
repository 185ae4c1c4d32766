"""Augmentations of batches of images, whose chance is drawn apart from its effect.

`draw(count, generator)` says what is to happen to each of `count` images, as tensors whose first axis is the image; `apply(images, draws)` does it to the whole batch at once.
Draws come from a CPU generator that is given, never from a global one, so the same seed changes the images in the same way for any number of processes and workers, and on any
device: what is applied is made of gathers and single multiplications and additions, each of which rounds in one way only, so that results agree bit for bit.

Sources: pad and crop, and flips (He et al. 2016, Sec. 4.2); resized crops (Szegedy et al. 2015, Sec. 6); colour jitter (Howard 2013); Cutout (DeVries & Taylor 2017) and random erasing
(Zhong et al. 2020); mixup (Zhang et al. 2018, Eq. 1) and CutMix (Yun et al. 2019, Eqs. 1-2).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from scipy.special import betaincinv
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = [
    "Augmentation",
    "ColourJitter",
    "Compose",
    "CutMix",
    "Erase",
    "HorizontalFlip",
    "Mixup",
    "PadCrop",
    "ResizedCrop",
    "Views",
]

Images = Float[Tensor, "batch channels height width"]


class Augmentation(ABC):
    """What is drawn for a batch of images, and what it does to them."""

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """What is to happen to each of `count` images: CPU tensors, each (count, ...)."""

    @abstractmethod
    def apply(self, images: Images, draws: dict[str, Tensor]) -> Images:
        """The images (B, C, H, W), changed as `draws` says; a new tensor, on the device of `images`."""

    def __call__(self, batch: dict[str, Tensor], draws: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch with its ``"image"`` changed; an augmentation that changes more than that says so."""
        return {**batch, "image": self.apply(batch["image"], draws)}


class Compose(Augmentation):
    """One augmentation after another.

    Args:
        augmentations: in their order.
    """

    def __init__(self, *augmentations: Augmentation) -> None:
        self.augmentations = augmentations

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {
            f"{place}.{name}": draw
            for place, augmentation in enumerate(self.augmentations)
            for name, draw in augmentation.draw(count, generator).items()
        }

    def apply(self, images: Images, draws: dict[str, Tensor]) -> Images:
        for place, augmentation in enumerate(self.augmentations):
            images = augmentation.apply(images, _within(f"{place}.", draws))
        return images

    def __call__(self, batch: dict[str, Tensor], draws: dict[str, Tensor]) -> dict[str, Tensor]:
        for place, augmentation in enumerate(self.augmentations):
            batch = augmentation(batch, _within(f"{place}.", draws))
        return batch


class Views(Augmentation):
    """Several independent augmentations of the same images: the batch keeps ``"image"`` as it is and gains one entry a view.

    Args:
        views: the augmentation of each view by the name of its entry: ``Views(query=augmentation, key=augmentation)``.
    """

    def __init__(self, **views: Augmentation) -> None:
        if "image" in views or not views:
            raise InputError("views need names of their own, and 'image' is the name of the images as they are")
        self.views = views

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {f"{view}.{name}": draw for view, change in self.views.items() for name, draw in change.draw(count, generator).items()}

    def apply(self, images: Images, draws: dict[str, Tensor]) -> Float[Tensor, "views_batch channels height width"]:
        """The views one after the other, (views·B, C, H, W)."""
        return torch.cat([change.apply(images, _within(f"{view}.", draws)) for view, change in self.views.items()])

    def __call__(self, batch: dict[str, Tensor], draws: dict[str, Tensor]) -> dict[str, Tensor]:
        views = {view: change.apply(batch["image"], _within(f"{view}.", draws)) for view, change in self.views.items()}
        return {**batch, **views}


class PadCrop(Augmentation):
    """Pad every side, then crop at a random place back to the size: a shift by up to `padding` pixels each way.

    Args:
        padding: pixels on every side.
        fill: value of the padding; 0 is the mean of standardised images.
    """

    def __init__(self, padding: int, fill: float = 0.0) -> None:
        if padding < 1:
            raise InputError(f"padding must be at least 1 pixel, not {padding}")
        self.padding = padding
        self.fill = fill

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"corner": torch.randint(2 * self.padding + 1, (count, 2), generator=generator)}

    def apply(self, images: Images, draws: dict[str, Tensor]) -> Images:
        _, _, height, width = images.shape
        padded = torch.nn.functional.pad(images, (self.padding,) * 4, value=self.fill)
        top, left = draws["corner"].to(images.device).unbind(1)
        rows = top[:, None] + torch.arange(height, device=images.device)
        columns = left[:, None] + torch.arange(width, device=images.device)
        return _gather(padded, rows, columns)


class HorizontalFlip(Augmentation):
    """Left to right.

    Args:
        p: the probability.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = _probability(p)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"flipped": torch.rand(count, generator=generator) < self.p}

    def apply(self, images: Images, draws: dict[str, Tensor]) -> Images:
        return torch.where(draws["flipped"].to(images.device)[:, None, None, None], images.flip(3), images)


class ResizedCrop(Augmentation):
    """A crop of random area and aspect ratio, resized bilinearly to the size of the images (or to `size`).

    The area is uniform in `scale` times the image's, the logarithm of the aspect ratio (width / height) uniform in that of `ratio`; sides that would not fit are clipped to the
    image's. No low-pass filter is applied: crops much larger than the output alias.

    Args:
        scale: least and largest share of the area.
        ratio: least and largest aspect ratio.
        size: side of the result, in pixels; None keeps height and width.
    """

    def __init__(
        self, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3), size: int | None = None
    ) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise InputError(f"scale must be two ascending shares of the area in (0, 1], not {scale}")
        if not 0 < ratio[0] <= ratio[1]:
            raise InputError(f"ratio must be two ascending positive aspect ratios, not {ratio}")
        if size is not None and size < 1:
            raise InputError(f"size must be at least 1 pixel, not {size}")
        self.scale = scale
        self.ratio = ratio
        self.size = size

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        low, high = self.scale
        area = low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)
        narrow, wide = math.log(self.ratio[0]), math.log(self.ratio[1])
        aspect = torch.exp(narrow + (wide - narrow) * torch.rand(count, generator=generator, dtype=torch.float64))
        place = torch.rand(count, 2, generator=generator, dtype=torch.float64)
        return {"area": area, "aspect": aspect, "place": place}

    def apply(self, images: Images, draws: dict[str, Tensor]) -> Float[Tensor, "batch channels out_height out_width"]:
        _, _, height, width = images.shape
        # where each output pixel looks is worked out on the CPU in float64: a few numbers an image, the same for every device
        area = draws["area"].cpu() * (height * width)
        aspect = draws["aspect"].cpu()
        crop_height = (area / aspect).sqrt().clamp(1, height)
        crop_width = (area * aspect).sqrt().clamp(1, width)
        place = draws["place"].cpu()
        row, row_weight = _looks(place[:, 0] * (height - crop_height), crop_height, height, self.size or height)
        column, column_weight = _looks(place[:, 1] * (width - crop_width), crop_width, width, self.size or width)
        row, column = row.to(images.device), column.to(images.device)
        down = row_weight.to(images)[:, None, :, None]
        right = column_weight.to(images)[:, None, None, :]
        next_row, next_column = (row + 1).clamp(max=height - 1), (column + 1).clamp(max=width - 1)
        above = _gather(images, row, column) * (1 - right) + _gather(images, row, next_column) * right
        below = _gather(images, next_row, column) * (1 - right) + _gather(images, next_row, next_column) * right
        return above * (1 - down) + below * down


class ColourJitter(Augmentation):
    """Brightness, contrast and saturation, each times a factor drawn uniformly from [1 - s, 1 + s], in that order, and clipped to what a pixel can be.

    Grey is 0.299 R + 0.587 G + 0.114 B; contrast is about the mean grey of the image, saturation about the grey of each pixel (grey images have none).

    Args:
        brightness, contrast, saturation: the strength s of each, in [0, 1].
        mean, std: with which the images were standardised, one number a channel: the jitter is of pixels in [0, 1].
        p: the probability that an image is changed at all.
    """

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        *,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        p: float = 1.0,
    ) -> None:
        strengths = (brightness, contrast, saturation)
        if not all(0 <= strength <= 1 for strength in strengths):
            raise InputError(f"the strength of a jitter must lie in [0, 1], not {strengths}")
        if len(mean) != len(std) or min(std) <= 0:
            raise InputError("mean and std must have one number a channel each, and std must be positive")
        self.strengths = torch.tensor(strengths)
        self.mean = torch.tensor(mean)[:, None, None]
        self.std = torch.tensor(std)[:, None, None]
        self.p = _probability(p)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        factors = 1 + self.strengths * (2 * torch.rand(count, 3, generator=generator) - 1)
        changed = torch.rand(count, 1, generator=generator) < self.p
        return {"factors": torch.where(changed, factors, torch.ones(())), "changed": changed[:, 0]}

    def apply(self, images: Images, draws: dict[str, Tensor]) -> Images:
        mean, std = self.mean.to(images), self.std.to(images)
        brightness, contrast, saturation = draws["factors"].to(images)[:, :, None, None, None].unbind(1)
        pixels = (images * std + mean) * brightness
        pixels = pixels.clamp(0, 1)
        pixels = _towards(pixels, _mean_grey(pixels), contrast)
        if images.shape[1] == 3:
            pixels = _towards(pixels, _grey(pixels), saturation)
        return torch.where(draws["changed"].to(images.device)[:, None, None, None], (pixels - mean) / std, images)


class Erase(Augmentation):
    """A rectangle at a random place is erased; it may stick out at the borders. With ``ratio=(1, 1)`` and a fixed area it is Cutout.

    Args:
        area: least and largest share of the image's area.
        ratio: least and largest aspect ratio (width / height), drawn log-uniformly.
        p: the probability.
        fill: value of the erased pixels; 0 is the mean of standardised images.
    """

    def __init__(
        self, area: tuple[float, float] = (0.02, 0.33), ratio: tuple[float, float] = (0.3, 3.3), p: float = 0.5, fill: float = 0.0
    ) -> None:
        if not 0 < area[0] <= area[1] <= 1:
            raise InputError(f"area must be two ascending shares of the area in (0, 1], not {area}")
        if not 0 < ratio[0] <= ratio[1]:
            raise InputError(f"ratio must be two ascending positive aspect ratios, not {ratio}")
        self.area = area
        self.ratio = ratio
        self.p = _probability(p)
        self.fill = fill

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        low, high = self.area
        area = low + (high - low) * torch.rand(count, generator=generator)
        narrow, wide = math.log(self.ratio[0]), math.log(self.ratio[1])
        aspect = torch.exp(narrow + (wide - narrow) * torch.rand(count, generator=generator))
        erased = torch.rand(count, generator=generator) < self.p
        sides = torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], 1)
        return {"sides": sides * erased[:, None], "centre": torch.rand(count, 2, generator=generator)}

    def apply(self, images: Images, draws: dict[str, Tensor]) -> Images:
        inside = _rectangle(draws["centre"], draws["sides"], images.shape[2:]).to(images.device)
        return torch.where(inside[:, None], torch.full((), self.fill, dtype=images.dtype, device=images.device), images)


class _Mixing(Augmentation):
    """Images mixed in pairs of neighbours in the batch: 0 with 1, 2 with 3, ... The batch is shuffled already, and neighbours stay together when it is shared by several processes.

    ``"label"`` (B,) int64 becomes (B, classes) float32, each row a distribution, as `torch.nn.functional.cross_entropy` takes it.
    """

    def __init__(self, classes: int, alpha: float, p: float) -> None:
        if classes < 2:
            raise InputError(f"there must be at least 2 classes to mix, not {classes}")
        if alpha <= 0:
            raise InputError(f"alpha must be positive, not {alpha}")
        self.classes = classes
        self.alpha = alpha
        self.p = _probability(p)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        # the quantile function, since torch's own Beta samples from the global generator
        uniform = torch.rand(count, generator=generator, dtype=torch.float64).numpy()
        share = torch.as_tensor(betaincinv(self.alpha, self.alpha, uniform)).float()
        mixed = torch.rand(count, generator=generator) < self.p
        return {"own": torch.where(mixed, share, torch.ones(())), "centre": torch.rand(count, 2, generator=generator)}

    @abstractmethod
    def own_share(self, images: Images, draws: dict[str, Tensor]) -> Float32[Tensor, " batch"]:
        """How much of each image is its own after mixing."""

    def __call__(self, batch: dict[str, Tensor], draws: dict[str, Tensor]) -> dict[str, Tensor]:
        own = self.own_share(batch["image"], draws)[:, None]
        labels = batch["label"] if batch["label"].ndim == 2 else torch.nn.functional.one_hot(batch["label"], self.classes)
        mixed = labels.float() * own + _neighbours(labels.float()) * (1 - own)
        return {**batch, "image": self.apply(batch["image"], draws), "label": mixed}


class Mixup(_Mixing):
    """x̃ = λ x_i + (1 - λ) x_j and the same of the labels, λ ~ Beta(α, α) for every image.

    Args:
        classes: the number of classes.
        alpha: α of the Beta distribution.
        p: the probability that an image is mixed.
    """

    def __init__(self, classes: int, alpha: float = 0.2, p: float = 1.0) -> None:
        super().__init__(classes, alpha, p)

    def own_share(self, images: Images, draws: dict[str, Tensor]) -> Float32[Tensor, " batch"]:
        return draws["own"].to(images.device)

    def apply(self, images: Images, draws: dict[str, Tensor]) -> Images:
        own = draws["own"].to(images)[:, None, None, None]
        return images * own + _neighbours(images) * (1 - own)


class CutMix(_Mixing):
    """A rectangle of about (1 - λ) of the area is the neighbour's, λ ~ Beta(α, α); labels are mixed by the area that it has within the image.

    Args:
        classes: the number of classes.
        alpha: α of the Beta distribution.
        p: the probability that an image is mixed.
    """

    def __init__(self, classes: int, alpha: float = 1.0, p: float = 1.0) -> None:
        super().__init__(classes, alpha, p)

    def own_share(self, images: Images, draws: dict[str, Tensor]) -> Float32[Tensor, " batch"]:
        inside = self._inside(images, draws)
        return 1 - inside.sum((1, 2)) / (images.shape[2] * images.shape[3])

    def apply(self, images: Images, draws: dict[str, Tensor]) -> Images:
        return torch.where(self._inside(images, draws)[:, None], _neighbours(images), images)

    def _inside(self, images: Images, draws: dict[str, Tensor]) -> Tensor:
        side = (1 - draws["own"].cpu()).sqrt()
        return _rectangle(draws["centre"], side[:, None].expand(-1, 2), images.shape[2:]).to(images.device)


def _within(prefix: str, draws: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): draw for name, draw in draws.items() if name.startswith(prefix)}


def _probability(p: float) -> float:
    if not 0 <= p <= 1:
        raise InputError(f"a probability lies in [0, 1], not {p}")
    return p


def _gather(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels (B, C, h, w) at `rows` (B, h) and `columns` (B, w) of images (B, C, H, W)."""
    image = torch.arange(len(images), device=images.device)[:, None, None]
    # an index on both sides of the channels' slice would put them last: bring them there first
    return images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _looks(start: Tensor, length: Tensor, side: int, out: int) -> tuple[Tensor, Tensor]:
    """The pixel before each of `out` sample points spread over [start, start + length), and the weight of the one after it: both (B, out), pixel centres at half-integers."""
    points = start[:, None] + (torch.arange(out) + 0.5) / out * length[:, None] - 0.5
    points = points.clamp(0, side - 1)
    before = points.floor()
    return before.long(), (points - before).float()


def _grey(pixels: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, H, W)."""
    if pixels.shape[1] != 3:
        return pixels[:, :1]
    return pixels[:, 0:1] * 0.299 + pixels[:, 1:2] * 0.587 + pixels[:, 2:3] * 0.114


def _mean_grey(pixels: Tensor) -> Tensor:
    """(B, C, H, W) in [0, 1] -> (B, 1, 1, 1), summed as integers, since a sum of floats depends on its order and so on the device."""
    grey = _grey(pixels)
    total = (grey * 2**16).round().long().sum((2, 3), keepdim=True)
    return (total.double() / (2**16 * grey.shape[2] * grey.shape[3])).to(pixels)


def _towards(pixels: Tensor, centre: Tensor, factor: Tensor) -> Tensor:
    return (pixels * factor + centre * (1 - factor)).clamp(0, 1)


def _rectangle(centre: Tensor, sides: Tensor, size: torch.Size) -> Tensor:
    """Which pixels (B, H, W) have their centres in rectangles given as shares of the image: (B, 2) each, rows first. On the CPU, in float64."""
    spans = []
    for axis, length in enumerate(size):
        middle, half = centre[:, axis].cpu().double() * length, sides[:, axis].cpu().double() * length / 2
        points = torch.arange(length) + 0.5
        spans.append((points >= (middle - half)[:, None]) & (points < (middle + half)[:, None]))
    return spans[0][:, :, None] & spans[1][:, None, :]


def _neighbours(rows: Tensor) -> Tensor:
    """Rows 0 and 1 exchanged, 2 and 3, ..."""
    if len(rows) % 2:
        raise InputError(f"images are mixed in pairs: the batch of every process must be even, not {len(rows)}")
    return rows.view(-1, 2, *rows.shape[1:]).flip(1).view(rows.shape)
