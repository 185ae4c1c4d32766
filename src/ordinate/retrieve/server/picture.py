"""Pictures that strangers send: a few formats, by their content and not by their name, and never decoded before their header has said how many pixels there will be.

A file of a few kilobytes can decode to gigabytes (a "decompression bomb"). The header gives the size before any pixel is unpacked, so that such a file costs no more than its header. Of animations only the first
picture is decoded.
"""

import base64
import binascii
import io

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ordinate.data.decode import Unreadable, decode, read_header
from ordinate.retrieve.server.refusal import Refused

__all__ = ["PICTURE_TYPES", "check_picture", "from_base64", "small_png", "to_png"]

PICTURE_TYPES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/gif": "GIF", "image/bmp": "BMP"}
"""Media types that are taken, with Pillow's names of the formats."""


def from_base64(text: str, where: str) -> bytes:
    """The bytes that `text` stands for; it may begin as a data URL does.

    Raises:
        Refused: 422, it is not base64; `where` says which one it is.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(422, f"{where} is not base64") from None


def check_picture(file: bytes, most_pixels: int, where: str) -> None:
    """Refuse what is no picture, or has too many pixels, from its header alone.

    Raises:
        Refused: 422 for what is no picture of the formats taken, 413 for more than `most_pixels` pixels; `where` says which one it is.
    """
    if not file:
        raise Refused(422, f"{where} is empty")
    try:
        with Image.open(io.BytesIO(file), formats=tuple(PICTURE_TYPES.values())) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise Refused(413, f"{where} has more than the {most_pixels:,} pixels that are taken") from None
    except Exception:  # Pillow's readers raise whatever their formats make them stumble over
        raise Refused(422, f"{where} is no picture that can be read: {', '.join(PICTURE_TYPES.values())} are") from None
    if width * height > most_pixels:
        raise Refused(413, f"{where} has {width:,} x {height:,} pixels, more than the {most_pixels:,} that are taken")


def small_png(file: bytes, side: int, most_pixels: int) -> bytes:
    """A square PNG of a picture of our own: its centre, `side` pixels wide.

    Raises:
        Refused: 404, it cannot be read.
    """
    try:
        check_picture(file, most_pixels, "the picture")
        pixels = decode(file, grey=read_header(file).grey, image_size=side)
    except (Refused, Unreadable):
        raise Refused(404, "the picture cannot be read") from None
    return to_png(pixels)


def to_png(pixels: UInt8[Tensor, "channels height width"]) -> bytes:
    """A PNG of (C, H, W) pixels, C of 1 or 3."""
    written = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy()).save(written, "PNG")
    return written.getvalue()
