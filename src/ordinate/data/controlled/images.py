r"""Rendered images with known features: one object with a colour, a shape and a texture that are drawn independently, at a random place and size; or two such objects, with whether they are alike.

A shape is a set of points in the object's own coordinates (u, v) in [-1, 1]; a texture is a second set, in which the colour is dark. Edges are softened over a pixel by rendering at twice the size. Everything is drawn in batches of tensors.

Source: the colour, shape and texture images of Lampinen, Chan and Hermann (2024), after Hermann and Lampinen, "What shapes feature representations?" (2020); the renderings here are our own.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator

__all__ = ["COLOURS", "SHAPES", "TEXTURES", "ControlledImages", "ImageSample"]

Figure = Callable[[Tensor, Tensor], Tensor]
"""Where a figure is, from coordinates u (right) and v (down)."""

_AT_ONCE = 256
_GREY = 0.5

COLOURS = {
    "red": (0.9, 0.15, 0.15),
    "green": (0.15, 0.75, 0.2),
    "blue": (0.2, 0.35, 0.95),
    "yellow": (0.95, 0.85, 0.15),
    "magenta": (0.85, 0.2, 0.85),
    "cyan": (0.15, 0.85, 0.85),
    "orange": (0.95, 0.55, 0.1),
    "white": (0.97, 0.97, 0.97),
    "brown": (0.5, 0.3, 0.15),
    "violet": (0.45, 0.2, 0.7),
}


def _polygon(sides: int, turn: float = 0.0) -> Figure:
    """A regular polygon: inside of all its edges."""

    def inside(u: Tensor, v: Tensor) -> Tensor:
        found = torch.ones_like(u, dtype=torch.bool)
        for side in range(sides):
            angle = 2 * math.pi * side / sides + turn
            found &= u * math.cos(angle) + v * math.sin(angle) < math.cos(math.pi / sides)
        return found

    return inside


def _star(u: Tensor, v: Tensor) -> Tensor:
    return (u.square() + v.square()).sqrt() < 0.62 + 0.38 * (5 * torch.atan2(v, u) - math.pi / 2).cos()


SHAPES: dict[str, Figure] = {
    "circle": lambda u, v: u.square() + v.square() < 0.8,
    "square": lambda u, v: torch.maximum(u.abs(), v.abs()) < 0.8,
    "triangle": _polygon(3, math.pi / 2),
    "cross": lambda u, v: (torch.minimum(u.abs(), v.abs()) < 0.33) & (torch.maximum(u.abs(), v.abs()) < 0.97),
    "star": _star,
    "ring": lambda u, v: (u.square() + v.square() < 0.95) & (u.square() + v.square() > 0.3),
    "diamond": lambda u, v: u.abs() + v.abs() < 1.0,
    "bar": lambda u, v: (u.abs() < 0.98) & (v.abs() < 0.45),
    "hexagon": _polygon(6),
    "crescent": lambda u, v: (u.square() + v.square() < 0.95) & ((u - 0.45).square() + v.square() > 0.6),
}

TEXTURES: dict[str, Figure] = {
    "plain": lambda u, v: torch.zeros_like(u, dtype=torch.bool),
    "rows": lambda u, v: (v * 2.5 + 0.1).floor() % 2 == 0,
    "columns": lambda u, v: (u * 2.5 + 0.1).floor() % 2 == 0,
    "checks": lambda u, v: ((u * 2.5).floor() + (v * 2.5).floor()) % 2 == 0,
    "dots": lambda u, v: ((u * 2 - (u * 2).round()).square() + (v * 2 - (v * 2).round()).square()) < 0.1,
    "diagonals": lambda u, v: ((u + v) * 1.8).floor() % 2 == 0,
    "counter-diagonals": lambda u, v: ((u - v) * 1.8).floor() % 2 == 0,
    "rings": lambda u, v: ((u.square() + v.square()).sqrt() * 4).floor() % 2 == 0,
    "rays": lambda u, v: (torch.atan2(v, u) * 8 / (2 * math.pi)).floor() % 2 == 0,
    "halves": lambda u, v: v > 0,
}

_FACTORS: dict[str, Mapping[str, object]] = {"color": COLOURS, "shape": SHAPES, "texture": TEXTURES}


@dataclass(frozen=True)
class ImageSample:
    """Examples with their features.

    Attributes:
        x: (n, 3, size, size) float32 in [0, 1], less 1/2.
        features: (n, F) int64.
        targets: (n, F) int64, the same.
    """

    x: Float[Tensor, "rows 3 size size"]
    features: Int64[Tensor, "rows features"]
    targets: Int64[Tensor, "rows features"]


class ControlledImages:
    """Images of one object, or of two and whether they are alike.

    Attributes:
        names: of the features.
        classes: of each.
    """

    def __init__(
        self, factors: Mapping[str, int] | None = None, size: int = 32, *, objects: int = 1, jitter: bool = True, seed: int = 0
    ) -> None:
        """
        Args:
            factors: how many classes the color, the shape and the texture have, 2 to 10 each; one that is not named is the first class throughout. 4 each by default.
            size: the side of the images, in pixels.
            objects: 1 has the factors as features; 2 has, for each factor, whether both objects are the same in it.
            jitter: random places and sizes; otherwise an object stands in the middle (of its half).
            seed: of all samples.

        Raises:
            InputError: an unknown factor, a number of classes or objects that there is not, or images below 8 pixels.
        """
        self.factors = dict(factors or {"color": 4, "shape": 4, "texture": 4})
        for name, count in self.factors.items():
            choose("factor", name, _FACTORS)
            if not 2 <= count <= len(_FACTORS[name]):
                raise InputError(f"{name} has 2 to {len(_FACTORS[name])} classes, not {count}")
        if not self.factors or objects not in (1, 2) or size < 8:
            raise InputError(f"images have factors, 1 or 2 objects and 8 pixels or more, not {self.factors}, {objects} and {size}")
        self.size, self.objects, self.jitter, self.seed = size, objects, jitter, seed
        self.names = tuple(self.factors) if objects == 1 else tuple(f"same {name}" for name in self.factors)
        self.classes = tuple(self.factors.values()) if objects == 1 else (2,) * len(self.factors)

    def sample(self, n: int, *, train: bool = True, draw: int = 0) -> ImageSample:
        """Draw n images.

        Args:
            n: how many.
            train: from other random numbers than test images are.
            draw: another number is another sample.

        Raises:
            InputError: no images.
        """
        if n < 1:
            raise InputError(f"at least one image is drawn, not {n}")
        random = generator(self.seed, "train" if train else "test", draw)
        first = {name: torch.randint(count, (n,), generator=random) for name, count in self.factors.items()}
        if self.objects == 1:
            features = torch.stack(list(first.values()), dim=1)
            drawn = [first]
        else:
            features = torch.randint(2, (n, len(self.factors)), generator=random)
            second = {}
            for number, (name, count) in enumerate(self.factors.items()):
                other = (first[name] + torch.randint(1, count, (n,), generator=random)) % count
                second[name] = torch.where(features[:, number] == 1, first[name], other)
            drawn = [first, second]
        places = torch.rand(n, self.objects, 3, generator=random) if self.jitter else torch.full((n, self.objects, 3), 0.5)
        x = torch.cat(
            [
                self._render([{name: codes[rows] for name, codes in each.items()} for each in drawn], places[rows])
                for rows in torch.arange(n).split(_AT_ONCE)
            ]
        )
        return ImageSample(x - _GREY, features, features)

    def _render(self, drawn: list[dict[str, Tensor]], places: Tensor) -> Tensor:
        """(B, 3, size, size) in [0, 1] on grey."""
        side = 2 * self.size
        grid = (torch.arange(side) + 0.5) / side * 2 - 1
        canvas = torch.full((len(places), 3, side, side), _GREY)
        for number, codes in enumerate(drawn):
            radius = (0.4 + 0.2 * places[:, number, 2]) / len(drawn) ** 0.5
            room = 1 - radius
            x, y = (2 * places[:, number, axis] - 1 for axis in (0, 1))
            x = x * room if len(drawn) == 1 else (x * (0.5 - radius).clamp(min=0) + (number - 0.5))
            u = (grid[None, None, :] - x[:, None, None]) / radius[:, None, None]
            v = (grid[None, :, None] - (y * room)[:, None, None]) / radius[:, None, None]
            u, v = torch.broadcast_tensors(u, v)
            inside = _chosen(SHAPES, codes.get("shape"), u, v)
            dark = _chosen(TEXTURES, codes.get("texture"), u, v)
            palette = torch.tensor(list(COLOURS.values()))
            colour = palette[codes.get("color", torch.zeros(len(places), dtype=torch.int64))][:, :, None, None]
            painted = torch.where(dark[:, None], 0.3 * colour, colour)
            canvas = torch.where(inside[:, None], painted, canvas)
        return torch.nn.functional.avg_pool2d(canvas, 2)


def _chosen(figures: Mapping[str, Figure], codes: Tensor | None, u: Tensor, v: Tensor) -> Tensor:
    """Each row's own figure, evaluated on the rows that have it."""
    kinds = list(figures.values())
    if codes is None:
        return kinds[0](u, v)
    found = torch.zeros(u.shape, dtype=torch.bool)
    for code in codes.unique().tolist():
        rows = codes == code
        found[rows] = kinds[code](u[rows], v[rows])
    return found
