"""Small pictures of an index's rows, by their ids.

Ids are the index's: the server asks the index before it asks for a picture. Even so an id is no way to another file: what it names must lie in the folder that was embedded, under that very name, and links are not followed.
"""

from functools import lru_cache
from pathlib import Path

from ordinate.data.album import Album
from ordinate.data.images import NAMED_IMAGES
from ordinate.ground.errors import InputError
from ordinate.retrieve.server.picture import small_png, to_png
from ordinate.retrieve.server.refusal import Refused

__all__ = ["Thumbnails"]

_SIDE = 192
_KEPT = 512
_MOST_PIXELS = 1 << 27


class Thumbnails:
    """PNGs by id, the last few hundred of them kept."""

    def __init__(self, given: str) -> None:
        """
        Args:
            given: what was embedded: a folder of pictures, or a named dataset.

        Raises:
            InputError: there is no such thing.
        """
        self._root: Path | None = None
        if given not in NAMED_IMAGES:
            if not Path(given).is_dir():
                raise InputError(f"{given}: no such folder of pictures, nor one of {', '.join(NAMED_IMAGES)}")
            self._root = Path(given).resolve()
        self._album = Album(given, None)
        self.png = lru_cache(_KEPT)(self._png)
        """The picture of a row by its id; raises `Refused`, 404, where there is none."""

    def _png(self, name: str) -> bytes:
        if self._root is None:
            pixels = self._album.picture(name)
            if pixels is None:
                raise Refused(404, "there is no picture of that id")
            return to_png(pixels)
        try:
            file = self._root / name
            if file.resolve(strict=True) != file or not file.is_relative_to(self._root) or not file.is_file():
                raise Refused(404, "there is no picture of that id")
            content = file.read_bytes()
        except (OSError, ValueError):  # a name with a zero byte in it is a ValueError
            raise Refused(404, "there is no picture of that id") from None
        return small_png(content, _SIDE, _MOST_PIXELS)
