"""Small pictures of an index's rows, by their ids.

An id is looked up among those of the pictures that were found when the server started, and never made into a path: there is no way from an id to another file. Links are not followed.
"""

from collections.abc import Callable, Collection
from functools import lru_cache, partial
from pathlib import Path

import torch

from ordinate.data.batches import Source
from ordinate.data.folders import is_image
from ordinate.data.images import NAMED_IMAGES, Standardised, open_images
from ordinate.ground.errors import InputError
from ordinate.retrieve.server.picture import small_png, to_png
from ordinate.retrieve.server.refusal import Refused

__all__ = ["Thumbnails"]

_SIDE = 192
_KEPT = 512


class Thumbnails:
    """PNGs by id, the last few hundred of them kept."""

    def __init__(self, given: str | None, most_pixels: int = 1 << 27) -> None:
        """
        Args:
            given: what was embedded: a folder of pictures or a named dataset; None has no pictures.
            most_pixels: of a picture; larger ones are not shown.

        Raises:
            InputError: no such folder, or nothing in it.
            MissingError: a named dataset is not at hand.
        """
        self._most_pixels = most_pixels
        self._readers: dict[str, Callable[[], bytes]] = {}
        if given in NAMED_IMAGES:
            data = open_images(str(given))
            for split, part in (("train", data.train), ("test", data.test)):
                raw = part.source if isinstance(part, Standardised) else part
                self._readers |= {f"{split}/{row}": partial(_row, raw, row) for row in range(len(part))}
        elif given is not None:
            self._readers = {name: partial(self._file, file) for name, file in _files(Path(given)).items()}
        self._read = lru_cache(_KEPT)(self._read_anew)

    def __len__(self) -> int:
        return len(self._readers)

    def cover(self, ids: Collection[str]) -> float:
        """The share of `ids` that have a picture, in [0, 1]."""
        return sum(name in self._readers for name in ids) / max(1, len(ids))

    def png(self, name: str) -> bytes:
        """The picture of the row called `name`.

        Raises:
            Refused: 404, there is none.
        """
        if name not in self._readers:
            raise Refused(404, "there is no picture of that id")
        return self._read(name)

    def _read_anew(self, name: str) -> bytes:
        return self._readers[name]()

    def _file(self, file: Path) -> bytes:
        try:
            if file.resolve() != file:
                raise OSError("a link by now")
            content = file.read_bytes()
        except OSError:
            raise Refused(404, "the picture cannot be read") from None
        return small_png(content, _SIDE, self._most_pixels)


def _files(path: Path) -> dict[str, Path]:
    path = path.expanduser()
    if not path.exists():
        raise InputError(f"{path}: no such folder, nor one of {', '.join(NAMED_IMAGES)}")
    root = (path if path.is_dir() else path.parent).resolve()
    listed = sorted(root.rglob("*")) if path.is_dir() else [path.resolve()]
    found = {  # what is a link, or lies behind one, resolves to another path
        str(file.relative_to(root)): file for file in listed if file.is_file() and is_image(file) and file.resolve() == file
    }
    if not found:
        raise InputError(f"{path} holds no images")
    return found


def _row(source: Source, row: int) -> bytes:
    pixels = source.take(torch.tensor([row]))["image"][0]
    if pixels.dtype != torch.uint8:
        pixels = (pixels * 255).round().clamp(0, 255).to(torch.uint8)
    return to_png(pixels)
