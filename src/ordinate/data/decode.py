"""One picture, from its file or bytes to pixels; what cannot be read says why."""

import io
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

__all__ = ["Header", "Unreadable", "decode", "read_header"]

_GREY = {"1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N", "I", "F"}
_SIDEWAYS = {5, 6, 7, 8}  # EXIF orientations that exchange height and width
_ORIENTATION = 0x0112


class Unreadable(Exception):
    """This is no picture, or a broken one; the message is the reason in a few words."""


@dataclass(frozen=True)
class Header:
    """What a picture says about itself before its pixels are decoded: height and width as it is shown, in pixels, and whether it is grey."""

    height: int
    width: int
    grey: bool


def read_header(file: Path | bytes) -> Header:
    """Read only the header.

    Raises:
        Unreadable: it is empty, not a picture, or larger than a decompression bomb's limit (`PIL.Image.MAX_IMAGE_PIXELS`, doubled).
    """
    with _open(file) as image:
        width, height = image.size
        sideways = image.format in {"JPEG", "MPO", "TIFF", "WEBP"} and image.getexif().get(_ORIENTATION) in _SIDEWAYS
        return Header(*((width, height) if sideways else (height, width)), grey=image.mode in _GREY)


def decode(file: Path | bytes, *, grey: bool, image_size: int | None = None) -> UInt8[Tensor, "channels height width"]:
    """Decode one picture, turned as its EXIF orientation says.

    Args:
        file: a path, or the bytes of a file.
        grey: one channel instead of three.
        image_size: bring the shorter side to this many pixels (bicubic, low-passed), then crop the centre to a square; None keeps the size.

    Raises:
        Unreadable: it is empty, not a picture, broken, or a decompression bomb.
    """
    with _open(file) as image:
        try:
            image.load()
            upright = ImageOps.exif_transpose(image) if image.format in {"JPEG", "MPO", "TIFF", "WEBP"} else image
        except Exception as error:  # Pillow's readers raise whatever their formats make them stumble over
            raise Unreadable(_reason(error)) from None
        if upright.mode in {"I", "F"} or upright.mode.startswith("I;16"):
            upright = _eight_bits(upright)
        upright = upright.convert("L" if grey else "RGB")
        if image_size is not None:
            upright = _resized(upright, image_size)
        pixels = torch.frombuffer(bytearray(upright.tobytes()), dtype=torch.uint8)
        return pixels.view(upright.height, upright.width, 1 if grey else 3).permute(2, 0, 1).contiguous()


def _open(file: Path | bytes) -> Image.Image:
    empty = not file if isinstance(file, bytes) else file.stat().st_size == 0
    if empty:
        raise Unreadable("empty")
    try:
        return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)
    except Image.DecompressionBombError:
        raise Unreadable(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, a decompression bomb") from None
    except PermissionError:
        raise Unreadable("no permission to read it") from None
    except Exception as error:  # as above
        raise Unreadable(_reason(error)) from None


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    text = " ".join(str(error).split()) or type(error).__name__
    return "truncated" if "truncated" in text.lower() else f"broken: {text[:80]}"


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits or more to 8: 16-bit files keep their upper byte; wider ones and floats are clipped to 0..255, as Pillow does."""
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value / 256).convert("L")
    return image.convert("L")


def _resized(image: Image.Image, size: int) -> Image.Image:
    shorter = min(image.size)
    width, height = (max(size, round(side * size / shorter)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))
