"""Photographs without classes, each of its own size, for super-resolution and other work on pixels: ``set5`` (Bevilacqua et al. 2012), ``bsd100`` (Martin et al. 2001), or a folder."""

from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from ordinate.data.decode import Unreadable, decode
from ordinate.data.folders import is_image
from ordinate.data.home import dataset_folder
from ordinate.ground.errors import InputError, choose

__all__ = ["NAMED_PHOTOGRAPHS", "Photographs", "open_photographs"]

NAMED_PHOTOGRAPHS = ("bsd100", "set5")
"""Datasets that :func:`open_photographs` knows by name."""


class Photographs:
    """Image files in the order of their names, each decoded when it is asked for.

    Args:
        name: what they are called.
        files: their paths.
    """

    def __init__(self, name: str, files: list[Path]) -> None:
        self.name = name
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> UInt8[Tensor, "3 height width"]:
        """The pixels of one photograph, in colour.

        Raises:
            IndexError: there is no such photograph.
            InputError: its file cannot be read.
        """
        try:
            return decode(self.files[number], grey=False)
        except Unreadable as error:
            raise InputError(f"{self.files[number]} cannot be read ({error})") from None


def open_photographs(name_or_path: str | Path, *, folder: Path | None = None) -> Photographs:
    """Open photographs by name or path.

    Args:
        name_or_path: one of :data:`NAMED_PHOTOGRAPHS`, or a folder with image files in it. A name wins over a folder of the same name.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Raises:
        InputError: there is no such name or folder, or no image in it.
        MissingError: a named dataset is not at hand; the message names the command that gets it.
    """
    name = str(name_or_path)
    if name in NAMED_PHOTOGRAPHS:
        path = dataset_folder(name, folder=folder)
    else:
        path = Path(name_or_path).expanduser()
        if not path.is_dir():
            choose("dataset of photographs (or folder)", name, NAMED_PHOTOGRAPHS)
    files = sorted(file for file in path.iterdir() if is_image(file))
    if not files:
        raise InputError(f"{path} holds no images")
    return Photographs(name, files)
