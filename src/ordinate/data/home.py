"""Where datasets lie: `$ORDINATE_DATA/<name>`, or the platform's cache folder where that variable is not set."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from ordinate.ground.errors import MissingError

__all__ = ["cache_folder", "data_folder", "dataset_folder"]


def data_folder(folder: Path | None = None) -> Path:
    """The folder of all datasets: `folder` where it is given, else `$ORDINATE_DATA`, else the platform's cache folder."""
    if folder is not None:
        return Path(folder)
    named = os.environ.get("ORDINATE_DATA")
    return Path(named).expanduser() if named else user_cache_path("ordinate") / "data"


def cache_folder() -> Path:
    """Where what can be made again is kept (decoded images). Never inside the data folder, which may be read-only."""
    return user_cache_path("ordinate") / "made"


def dataset_folder(name: str, needed: str = "", folder: Path | None = None) -> Path:
    """The folder of the dataset `name`.

    Args:
        name: as in ``ordinate data list``.
        needed: a file or folder that must be in it, or empty.
        folder: of all datasets; None is :func:`data_folder`'s own.

    Raises:
        MissingError: it is not there; the message names the command that gets it.
    """
    place = data_folder(folder) / name
    if not (place / needed).exists():
        raise MissingError(f"the dataset {name!r} is not in {place.parent}: get it with  ordinate data get {name}")
    return place
