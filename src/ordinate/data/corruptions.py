r"""Corrupted versions of any images: the sixteen kinds of MNIST-C, at five severities, for whole batches at once.

What happens to an image is a pure function of (image, kind, severity, seed, row): a row is corrupted in the same way alone, in a batch, or by another process, and its chance (the angle's sign, where the noise falls) is the
same at every severity, so that severities can be compared on pairs. Lengths are in pixels of a side of 28, and grow with the shorter side of the images.

| kind | what it does | at severities 1 to 5 |
|---|---|---|
| identity | nothing | |
| shot_noise | Poisson counts of light | 60, 25, 12, 5, 3 counts at full brightness |
| impulse_noise | salt and pepper | 3, 6, 9, 17, 27 % of pixels |
| glass_blur | pixels change places with neighbours, between two Gaussian blurs | of 0.7 to 1.5 pixels |
| motion_blur | a half Gaussian trail at up to 45 degrees from the horizontal | deviation 3, 5, 8, 12, 15 |
| shear, rotate | to either side, about the centre | 0.2, 0.4, 0.6, 0.8, 1 radians |
| scale | shrunk about the centre | to 0.9, 0.8, 0.7, 0.6, 0.5 |
| brightness | the HSV value is raised | by 0.1 to 0.5 |
| translate | along both axes, to either side | 1 to 5 pixels |
| stripe | a stripe at either side is inverted | 1/12, 2/12, 3/12, 4/12, 5/12 of the width each |
| fog | a plasma fractal is added and contrast lost | |
| spatter | grey drops cover the image | |
| dotted_line, zigzag | bright lines are drawn across | 1 to 5 of them |
| canny_edges | the image gives way to its Canny edges | mixed with weights 0.2 to 1 |

MNIST-C uses one severity of each kind (`STANDARD`). Where the sources leave sizes other than 28 open or do one thing only: severities of stripes, lines and edges are ours; the fractal is as large as the images (theirs is a
corner of one of 256 pixels); spatter's thresholds are kept as quantiles of the smoothed noise, so that as much is covered at any size.

Sources: Mu and Gilmer, "MNIST-C: A robustness benchmark for computer vision" (2019), and the severities that its released dataset was made with; Hendrycks and Dietterich, "Benchmarking neural network robustness to common
corruptions" (ICLR 2019); Canny, "A computational approach to edge detection" (1986); Fournier, Fussell and Carpenter, "Computer rendering of stochastic models" (1982) for the fractal.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from ordinate.data.batches import Batch, Source
from ordinate.data.images import ImageData
from ordinate.ground.errors import InputError, choose
from ordinate.ground.row_draws import row_normal, row_uniform
from ordinate.ground.seeds import derive

__all__ = ["CORRUPTIONS", "SEVERITIES", "STANDARD", "Corrupted", "corrupt", "corrupted_data"]

Images = Float[Tensor, "batch channels height width"]

SEVERITIES = (1, 2, 3, 4, 5)
_SIDE = 28  # pixels, of the images that severities were chosen for
_AT_ONCE = 512  # images, for the memory of what is drawn for them
_REACH = 2.3  # pixels from a line's middle at which its light ends
_MUD = 63 / 255
_GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class _Chance:
    """What is drawn for the rows of a batch, each draw by its name."""

    rows: Tensor
    seed: int
    device: torch.device

    def uniform(self, name: str, *shape: int) -> Tensor:
        """(B, *shape) float32 in (0, 1)."""
        return self._shaped(row_uniform(self.rows, math.prod(shape), self.seed, name), shape)

    def normal(self, name: str, *shape: int) -> Tensor:
        """(B, *shape) float32."""
        return self._shaped(row_normal(self.rows, math.prod(shape), self.seed, name), shape)

    def sign(self, name: str, *shape: int) -> Tensor:
        """(B, *shape) of -1 and 1."""
        return torch.where(self.uniform(name, *shape) < 0.5, -1.0, 1.0)

    def integer(self, name: str, low: int, high: int, *shape: int) -> Tensor:
        """(B, *shape) int64, from low to high - 1."""
        drawn = row_uniform(self.rows, math.prod(shape), self.seed, name)
        return (low + (drawn * (high - low)).long()).view(-1, *shape).to(self.device)

    def _shaped(self, drawn: Tensor, shape: tuple[int, ...]) -> Tensor:
        return drawn.float().view(-1, *shape).to(self.device)


def _unit(pixels: Tensor) -> float:
    """Pixels that are one of an image with a side of 28."""
    return min(pixels.shape[2:]) / _SIDE


def _grey(pixels: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, H, W): luminance of three channels, the mean of another number."""
    if pixels.shape[1] == 3:
        return (pixels * pixels.new_tensor(_GREY)[:, None, None]).sum(dim=1, keepdim=True)
    return pixels.mean(dim=1, keepdim=True)


def _blurred(pixels: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur, cut off at four deviations, the border's pixels repeated beyond it."""
    radius = max(1, math.ceil(4 * sigma))
    places = torch.arange(-radius, radius + 1, device=pixels.device, dtype=pixels.dtype)
    kernel = torch.exp(-places.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    flat = pixels.flatten(0, 1)[:, None]
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), kernel[None, None, :, None])
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), kernel[None, None, None, :])
    return flat.view_as(pixels)


def _warped(pixels: Tensor, matrix: Tensor, shift: Tensor | None = None) -> Tensor:
    """Bilinear samples at matrix (B, 2, 2) times the place from the centre, in (x, y) pixels, plus `shift` (B, 2); black outside."""
    height, width = pixels.shape[2:]
    half = matrix.new_tensor([width, height]) / 2
    y, x = torch.meshgrid(
        torch.arange(height, device=pixels.device) + 0.5 - height / 2,
        torch.arange(width, device=pixels.device) + 0.5 - width / 2,
        indexing="ij",
    )
    places = torch.einsum("bij,hwj->bhwi", matrix, torch.stack([x, y], dim=-1))
    if shift is not None:
        places = places + shift[:, None, None]
    return F.grid_sample(pixels, places / half, padding_mode="zeros", align_corners=False)


def _identity(pixels: Tensor, level: Any, chance: _Chance) -> Tensor:
    return pixels.clone()


def _shot_noise(pixels: Tensor, counts: float, chance: _Chance) -> Tensor:
    # by the inverse distribution function, so that a pixel's count depends on its own uniform number alone
    rate = (pixels * counts).double()
    uniform = row_uniform(chance.rows, pixels[0].numel(), chance.seed, "shot").view(pixels.shape).to(pixels.device)
    share = torch.exp(-rate)
    below, drawn = share.clone(), torch.zeros_like(rate)
    for count in range(1, math.ceil(counts + 10 * math.sqrt(counts) + 10)):
        drawn += uniform > below
        share *= rate / count
        below += share
    return (drawn / counts).clamp(max=1).to(pixels.dtype)


def _impulse_noise(pixels: Tensor, amount: float, chance: _Chance) -> Tensor:
    drawn = chance.uniform("impulse", *pixels.shape[1:])
    pixels = torch.where(drawn < amount / 2, torch.zeros_like(pixels), pixels)
    return torch.where(drawn > 1 - amount / 2, torch.ones_like(pixels), pixels)


def _glass_blur(pixels: Tensor, level: tuple[float, int, int], chance: _Chance) -> Tensor:
    sigma, reach, times = level[0] * _unit(pixels), max(1, round(level[1] * _unit(pixels))), level[2]
    batch, channels, height, width = pixels.shape
    flat = _blurred(pixels, sigma).flatten(2)
    image = torch.arange(batch, device=pixels.device)
    inner = [(row, column) for row in range(height - reach, reach, -1) for column in range(width - reach, reach, -1)]
    inner = [(row, column) for row, column in inner if row < height and column < width]
    for turn in range(times if inner else 0):
        moves = chance.integer(f"glass {turn}", -reach, reach, len(inner), 2)
        stay = chance.uniform(f"stay {turn}", len(inner)) < 0.5
        moves = torch.where(stay[:, :, None], torch.zeros_like(moves), moves)
        # one pixel after another, as a pixel may travel on with a later exchange; all images at once
        for place, (row, column) in enumerate(inner):
            here = row * width + column
            there = here + moves[:, place, 0] * width + moves[:, place, 1]
            kept = flat[:, :, here].clone()
            flat[:, :, here] = flat[image, :, there]
            flat[image, :, there] = kept
    return _blurred(flat.view(batch, channels, height, width), sigma)


def _motion_blur(pixels: Tensor, level: tuple[int, int], chance: _Chance) -> Tensor:
    length, sigma = 2 * math.ceil(level[0] * _unit(pixels)) + 1, level[1] * _unit(pixels)
    angle = (chance.uniform("angle", 1) - 0.5) * math.pi / 2
    height, width = pixels.shape[2:]
    rows, columns = torch.arange(height, device=pixels.device), torch.arange(width, device=pixels.device)
    image = torch.arange(len(pixels), device=pixels.device)[:, None, None]
    last = pixels.permute(0, 2, 3, 1)
    weights = torch.exp(-torch.arange(length, dtype=pixels.dtype).square() / (2 * sigma**2))
    total = torch.zeros_like(last)
    for step, weight in enumerate((weights / weights.sum()).tolist()):
        down, right = (step * angle.sin()).round().long(), (step * angle.cos()).round().long()
        from_row = (rows + down).clamp(0, height - 1)[:, :, None]
        total += weight * last[image, from_row, (columns + right).clamp(0, width - 1)[:, None, :]]
    return total.permute(0, 3, 1, 2).contiguous()


def _shear(pixels: Tensor, angle: float, chance: _Chance) -> Tensor:
    turn = angle * chance.sign("side", 1)[:, 0]
    one, zero = torch.ones_like(turn), torch.zeros_like(turn)
    return _warped(pixels, torch.stack([one, -turn.sin(), zero, turn.cos()], dim=1).view(-1, 2, 2))


def _rotate(pixels: Tensor, angle: float, chance: _Chance) -> Tensor:
    turn = angle * chance.sign("side", 1)[:, 0]
    return _warped(pixels, torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], dim=1).view(-1, 2, 2))


def _scale(pixels: Tensor, factor: float, chance: _Chance) -> Tensor:
    return _warped(pixels, (torch.eye(2, device=pixels.device) / factor).expand(len(pixels), 2, 2))


def _translate(pixels: Tensor, by: float, chance: _Chance) -> Tensor:
    matrix = torch.eye(2, device=pixels.device).expand(len(pixels), 2, 2)
    return _warped(pixels, matrix, by * _unit(pixels) * chance.sign("side", 2))


def _brightness(pixels: Tensor, by: float, chance: _Chance) -> Tensor:
    value = pixels.amax(dim=1, keepdim=True)
    raised = (value + by).clamp(max=1)
    return torch.where(value > 0, pixels * raised / value.clamp(min=1e-12), raised)


def _stripe(pixels: Tensor, share: float, chance: _Chance) -> Tensor:
    width = pixels.shape[3]
    columns = torch.arange(width, device=pixels.device)
    stripe = max(1, round(share * width))
    return torch.where((columns < stripe) | (columns >= width - stripe), 1 - pixels, pixels)


def _plasma(chance: _Chance, side: int, decay: float) -> Tensor:
    """Height maps (B, side, side) in [0, 1] by midpoint displacement on a torus, side a power of two: every level adds noise that is `decay` times smaller than the last one's."""
    heights = torch.zeros(len(chance.rows), side, side, device=chance.device)
    step, size = side, 1.0
    while step >= 2:
        half, cells = step // 2, side // step
        noise = size * (2 * chance.uniform(f"plasma {step}", 3, cells, cells) - 1)
        corners = heights[:, ::step, ::step]
        pairs = corners + corners.roll(-1, dims=1)
        middle = (pairs + pairs.roll(-1, dims=2)) / 4 + noise[:, 0]
        above, beside = middle + middle.roll(1, dims=1), middle + middle.roll(1, dims=2)
        top = (above + corners + corners.roll(-1, dims=2)) / 4 + noise[:, 1]
        left = (beside + corners + corners.roll(-1, dims=1)) / 4 + noise[:, 2]
        heights[:, half::step, half::step], heights[:, ::step, half::step], heights[:, half::step, ::step] = middle, top, left
        step, size = half, size / decay
    heights = heights - heights.amin(dim=(1, 2), keepdim=True)
    return heights / heights.amax(dim=(1, 2), keepdim=True)


def _fog(pixels: Tensor, level: tuple[float, float], chance: _Chance) -> Tensor:
    thickness, decay = level
    height, width = pixels.shape[2:]
    heights = _plasma(chance, max(2, 1 << (max(height, width) - 1).bit_length()), decay)[:, None, :height, :width]
    brightest = pixels.amax(dim=(1, 2, 3), keepdim=True)
    return (pixels + thickness * heights) * brightest / (brightest + thickness)


def _spatter(pixels: Tensor, level: tuple[float, float, float], chance: _Chance) -> Tensor:
    quantile, size, softness = level[0], level[1] * _unit(pixels), level[2] * _unit(pixels)
    liquid = _blurred(chance.normal("liquid", 1, *pixels.shape[2:]), size)
    # white noise of deviation 1 has this one after the blur, away from the border
    deviation = 1 / (2 * size * math.sqrt(math.pi))
    drops = _blurred((liquid > quantile * deviation).to(pixels.dtype), softness)
    drops = torch.where(drops < 0.8, torch.zeros_like(drops), drops)
    return pixels * (1 - drops) + _MUD * drops


def _light(distance: Tensor) -> Tensor:
    """The light at a distance from a line's middle, in pixels of a side of 28: from 1 to 0."""
    return (torch.log1p(-distance.clamp(max=_REACH * (1 - 1e-6)) / _REACH) + 1).clamp(min=0)


def _grid(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The places of pixels as if both sides were 28: rows (H, 1) and columns (W,) from 0 to 27."""
    height, width = pixels.shape[2:]
    last = _SIDE - 1
    return torch.linspace(0, last, height, device=pixels.device)[:, None], torch.linspace(0, last, width, device=pixels.device)


def _dotted_line(pixels: Tensor, lines: int, chance: _Chance) -> Tensor:
    rows, columns = _grid(pixels)
    ends = chance.integer("ends", 0, _SIDE - 1, SEVERITIES[-1], 2).to(pixels.dtype)
    for line in range(lines):
        first, last = ends[:, line, 0, None, None], ends[:, line, 1, None, None]
        light = _light((rows - first - (last - first) / (_SIDE - 1) * columns).abs())
        pixels = pixels + (light * ((columns / 2).floor() % 2))[:, None]
    return pixels


def _zigzag(pixels: Tensor, lines: int, chance: _Chance) -> Tensor:
    rows, columns = _grid(pixels)
    start = chance.integer("start", 0, _SIDE - 1, SEVERITIES[-1]).to(pixels.dtype)
    rise = chance.integer("rise", -5, 5, SEVERITIES[-1]).to(pixels.dtype)
    for line in range(lines):
        angle = torch.atan2(rise[:, line], torch.full_like(rise[:, line], 23.0))[:, None, None]
        right, down = columns - 2, rows - start[:, line, None, None]
        along, aside = right * angle.cos() + down * angle.sin(), down * angle.cos() - right * angle.sin()
        wave = 2 - ((along - 2) % 8 - 4).abs()  # from 2 to -2 and back over 8 pixels, 0 at the start
        light = _light((aside + wave).abs()) * ((along >= 0) & (along <= 23 / angle.cos()))
        pixels = pixels + light[:, None]
    return pixels


_SOBEL = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
_AROUND = ((0, 1), (1, 1), (1, 0), (1, -1))  # rows down and columns right, every 45 degrees


def _edges(grey: Tensor) -> Tensor:
    """Canny's edges of (B, 1, H, W): where the slope of the blurred image is steepest across the edge and above 0.2 (Sobel's units), or above 0.1 and connected to such a place."""
    smooth = _blurred(grey, 1.0)
    kernels = torch.stack([_SOBEL, _SOBEL.t()])[:, None].to(grey)
    slope = F.conv2d(F.pad(smooth, (1, 1, 1, 1), mode="replicate"), kernels)
    across, down = slope[:, :1], slope[:, 1:]
    steep = slope.square().sum(dim=1, keepdim=True).sqrt()
    inside = F.pad(torch.ones_like(steep[:, :, 2:-2, 2:-2]), (2, 2, 2, 2)) if min(steep.shape[2:]) > 4 else torch.zeros_like(steep)
    height, width = grey.shape[2:]
    around = F.pad(steep, (1, 1, 1, 1))

    def neighbour(rows: int, columns: int) -> Tensor:
        return around[:, :, 1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    crest = torch.zeros_like(steep, dtype=torch.bool)
    sector = torch.atan2(down, across) / (math.pi / 4) % 4
    for number, (first, second) in enumerate(zip(_AROUND, (*_AROUND[1:], (0, -1)), strict=True)):
        share = sector - number
        ahead = (1 - share) * neighbour(*first) + share * neighbour(*second)
        behind = (1 - share) * neighbour(-first[0], -first[1]) + share * neighbour(-second[0], -second[1])
        crest |= (share >= 0) & (share < 1) & (steep >= ahead) & (steep >= behind)
    weak = (crest & (steep >= 0.1)).to(grey.dtype) * inside
    edges = weak * (steep >= 0.2)
    while True:
        grown = F.max_pool2d(edges, 3, stride=1, padding=1) * weak
        if torch.equal(grown, edges):
            return edges
        edges = grown


def _canny_edges(pixels: Tensor, share: float, chance: _Chance) -> Tensor:
    return (1 - share) * pixels + share * _edges(_grey(pixels))


@dataclass(frozen=True)
class _Kind:
    """How images (B, C, H, W) in [0, 1] are corrupted, the level of each severity, and the severity that MNIST-C uses."""

    apply: Callable[[Tensor, Any, _Chance], Tensor]
    levels: tuple[Any, ...]
    standard: int


_RADIANS = (0.2, 0.4, 0.6, 0.8, 1.0)
_KINDS = {
    "identity": _Kind(_identity, (None,) * 5, 1),
    "shot_noise": _Kind(_shot_noise, (60.0, 25.0, 12.0, 5.0, 3.0), 5),
    "impulse_noise": _Kind(_impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27), 4),
    "glass_blur": _Kind(_glass_blur, ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)), 1),
    "motion_blur": _Kind(_motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)), 1),
    "shear": _Kind(_shear, _RADIANS, 2),
    "scale": _Kind(_scale, (0.9, 0.8, 0.7, 0.6, 0.5), 3),
    "rotate": _Kind(_rotate, _RADIANS, 2),
    "brightness": _Kind(_brightness, (0.1, 0.2, 0.3, 0.4, 0.5), 5),
    "translate": _Kind(_translate, (1.0, 2.0, 3.0, 4.0, 5.0), 3),
    "stripe": _Kind(_stripe, (1 / 12, 2 / 12, 3 / 12, 4 / 12, 5 / 12), 3),
    "fog": _Kind(_fog, ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)), 5),
    "spatter": _Kind(_spatter, ((1.89, 4.0, 0.6), (1.06, 3.0, 0.6), (0.71, 2.0, 0.5), (0.0, 1.0, 1.5), (-0.18, 1.0, 1.5)), 4),
    "dotted_line": _Kind(_dotted_line, SEVERITIES, 1),
    "zigzag": _Kind(_zigzag, SEVERITIES, 1),
    "canny_edges": _Kind(_canny_edges, (0.2, 0.4, 0.6, 0.8, 1.0), 5),
}

CORRUPTIONS = tuple(_KINDS)
"""The sixteen kinds."""
STANDARD = {name: kind.standard for name, kind in _KINDS.items()}
"""The severity at which MNIST-C holds each kind."""


def corrupt(
    images: Tensor, kind: str, severity: int | None = None, *, seed: int = 0, rows: Int64[Tensor, " batch"] | None = None
) -> Tensor:
    """Corrupted images, of the same shape, dtype and device.

    Args:
        images: (B, C, H, W), uint8, or floating with pixels in [0, 1].
        kind: one of :data:`CORRUPTIONS`.
        severity: 1 to 5; None is the one that MNIST-C uses.
        seed: of what is drawn.
        rows: (B,) the number of each image in its dataset, from which its chance follows; 0, 1, ... by default.

    Raises:
        InputError: an unknown kind, a severity that is none, or images of another shape or dtype, or with values out of [0, 1].
    """
    chosen = _check(kind, severity)
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise InputError(f"images are corrupted as (batch, channels, height, width), not {tuple(images.shape)}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise InputError(f"images are uint8, or floating in [0, 1], not {images.dtype}")
    numbers = torch.arange(len(images)) if rows is None else rows.cpu()
    if numbers.shape != (len(images),):
        raise InputError(f"there must be one row number for each of {len(images)} images, not {tuple(numbers.shape)}")
    done = []
    for block, some in zip(images.split(_AT_ONCE), numbers.split(_AT_ONCE), strict=True):
        pixels = block.float() / 255 if block.dtype == torch.uint8 else block.float()
        if len(pixels) and not (float(pixels.min()) >= -1e-4 and float(pixels.max()) <= 1 + 1e-4):
            raise InputError("pixels must lie in [0, 1]: undo the standardisation of images, or use Corrupted with their mean and std")
        chance = _Chance(some, derive(seed, "corruption", kind), pixels.device)
        changed = chosen.apply(pixels.clamp(0, 1), chosen.levels[_level(kind, severity) - 1], chance).clamp(0, 1)
        done.append((changed * 255).round().to(torch.uint8) if block.dtype == torch.uint8 else changed.to(block.dtype))
    return torch.cat(done)


def _check(kind: str, severity: int | None) -> _Kind:
    chosen = _KINDS[choose("corruption", kind, CORRUPTIONS)]
    if severity is not None and severity not in SEVERITIES:
        raise InputError(f"severities are 1 to 5, not {severity}")
    return chosen


def _level(kind: str, severity: int | None) -> int:
    return STANDARD[kind] if severity is None else severity


class Corrupted(Source):
    """A source whose ``"image"`` is corrupted, each row in its own way; everything else in a row stays.

    Args:
        source: rows with an ``"image"`` (B, C, H, W): uint8, floating in [0, 1], or standardised.
        kind, severity, seed: see :func:`corrupt`.
        mean, std: of standardised images, one number a channel: a pixel is image · std + mean, and what comes out is standardised in the same way. None where pixels come as they are.

    Raises:
        InputError: an unknown kind or severity, or only one of mean and std.
    """

    def __init__(
        self,
        source: Source,
        kind: str,
        severity: int | None = None,
        *,
        seed: int = 0,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
    ) -> None:
        _check(kind, severity)
        if (mean is None) != (std is None):
            raise InputError("standardised images have both a mean and a std")
        self.source, self.kind, self.severity, self.seed = source, kind, severity, seed
        self.mean = None if mean is None else torch.tensor(mean)[:, None, None]
        self.std = None if std is None else torch.tensor(std)[:, None, None]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, indices: Int64[Tensor, " batch"]) -> Batch:
        batch = self.source.take(indices)
        images = batch["image"]
        if self.mean is None or self.std is None:
            return {**batch, "image": corrupt(images, self.kind, self.severity, seed=self.seed, rows=indices)}
        pixels = (images * self.std + self.mean).clamp(0, 1)
        changed = corrupt(pixels, self.kind, self.severity, seed=self.seed, rows=indices)
        return {**batch, "image": (changed - self.mean) / self.std}


def corrupted_data(data: ImageData, kind: str, severity: int | None = None, *, seed: int = 0) -> ImageData:
    """A dataset of images with both splits corrupted, standardised by the moments of the clean one.

    Args:
        data: of `ordinate.data.images.open_images`.
        kind, severity, seed: see :func:`corrupt`; the splits draw from streams of their own.

    Raises:
        InputError: an unknown kind or severity.
    """
    train, test = (
        Corrupted(source, kind, severity, seed=derive(seed, split), mean=data.mean, std=data.std)
        for split, source in (("train", data.train), ("test", data.test))
    )
    return replace(data, name=f"{data.name}, {kind}", train=train, test=test)
