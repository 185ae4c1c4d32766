"""A sheet of pictures: every query at the left of its row, and what was found beside it, best first, with a name and a score below each."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ordinate.ground.files import atomic_path

__all__ = ["Shown", "draw_sheet"]

SIDE, GAP, CAPTION = 112, 10, 30
_MISSING = (225, 225, 225)

Shown = tuple[UInt8[Tensor, "channels height width"] | None, str]
"""Pixels (1 or 3, H, W), or None for a grey field; and up to two lines of text."""


def draw_sheet(path: Path, rows: Sequence[tuple[Shown, Sequence[Shown]]]) -> None:
    """Write a PNG.

    Args:
        path: its file.
        rows: a query and what was found, for every row of the sheet.

    Raises:
        OSError: the file cannot be written.
    """
    columns = 1 + max((len(found) for _, found in rows), default=0)
    width, height = columns * (SIDE + GAP) + 3 * GAP, len(rows) * (SIDE + CAPTION + GAP) + GAP
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for number, (query, found) in enumerate(rows):
        top = GAP + number * (SIDE + CAPTION + GAP)
        for place, (pixels, caption) in enumerate((query, *found)):
            left = GAP + place * (SIDE + GAP) + (2 * GAP if place else 0)
            sheet.paste(_field(pixels), (left, top))
            for line, text in enumerate(caption.split("\n")[:2]):
                draw.text((left, top + SIDE + 2 + 13 * line), _short(text, font), fill="black", font=font)
        edge = GAP + SIDE + GAP + GAP // 2
        draw.line([(edge, top), (edge, top + SIDE)], fill="black")
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _field(pixels: Tensor | None) -> Image.Image:
    field = Image.new("RGB", (SIDE, SIDE), _MISSING)
    if pixels is None:
        return field
    shown = Image.fromarray(torch.as_tensor(pixels).expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())
    scale = SIDE / max(shown.size)
    size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
    # Small pictures keep their pixels, large ones are smoothed.
    shown = shown.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
    field.paste(shown, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return field


def _short(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= SIDE:
        return text
    while text and font.getlength("…" + text) > SIDE:
        text = text[1:]  # the end of a path tells more than its beginning
    return "…" + text
