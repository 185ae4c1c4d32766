"""A run's folder is the run's own: it carries a card that says what was asked, and only the same request goes on in it."""

import json
from pathlib import Path
from typing import Any

from ordinate.ground.errors import InputError
from ordinate.ground.files import read_json, write_json

__all__ = ["claim_folder"]


def claim_folder(folder: Path, card: str, identity: dict[str, Any], resume: bool) -> None:
    """Make `folder` this run's own, or find that it is already.

    Args:
        folder: need not exist.
        card: the file in it that says whose it is, ``"check.json"``.
        identity: JSON values that say what was asked.
        resume: whether to go on with what is there.

    Raises:
        InputError: the folder is somebody else's, holds a run and `resume` is False, holds none and `resume` is True, or was begun with another request.
    """
    path = folder / card
    if not path.exists():
        if resume:
            raise InputError(f"{folder} holds no run to resume: leave out --resume to start one")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} exists and is not a run of this kind: choose another folder with --out")
        write_json(path, identity)
        return
    held = read_json(path)
    if not resume:
        raise InputError(f"{folder} holds a run already: continue it with --resume, or choose another folder with --out")
    wanted = json.loads(json.dumps(identity))
    differing = sorted(key for key in wanted if held.get(key) != wanted[key])
    if differing:
        raise InputError(
            f"{folder} was begun with another {' and '.join(differing)}: repeat that command, or start afresh with another --out"
        )
