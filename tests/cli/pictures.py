"""A small folder of real images that a classifier can tell apart: each class has a colour of its own, with noise."""

from pathlib import Path

import numpy as np
from PIL import Image


def make_folder(path: Path, classes: int = 3, each: int = 12, side: int = 16) -> Path:
    draw = np.random.default_rng(0)
    for label in range(classes):
        folder = path / f"class-{label}"
        folder.mkdir(parents=True)
        for number in range(each):
            pixels = draw.integers(0, 60, (side, side, 3))
            pixels[..., label % 3] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02}.png")
    return path
