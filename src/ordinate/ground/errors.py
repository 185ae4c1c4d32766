"""The two ways in which a call can be refused, each one clear line.

`InputError` says that what was given is wrong, and what to give instead (exit status 2 on the command line).
`MissingError` says that something absent is needed, and which command gets it (exit status 3).
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType

__all__ = ["InputError", "MissingError", "choose", "require", "some"]


class InputError(ValueError):
    """Something given by the caller is wrong; the message is one line that says what, and what to do."""


class MissingError(RuntimeError):
    """Something needed is absent (data, an optional dependency, a device); the message names the command that gets it."""


def choose(kind: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if it is one of `known`, else raise.

    Args:
        kind: what is being chosen, for the message: ``"model"``.
        name: the name asked for.
        known: the names there are.

    Raises:
        InputError: `name` is not known; the message offers the nearest names, or all of them where there are few.
    """
    names = sorted(known)
    if name in names:
        return name
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif not names:
        hint = "there are none"
    else:
        hint = f"known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
    raise InputError(f"unknown {kind} {name!r}: {hint}")


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say how to get it.

    Args:
        module: the module to import, ``"faiss"``.
        extra: the extra of ordinate that brings it, ``"retrieval"``.

    Raises:
        MissingError: the module is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingError(f"this needs {module.split('.')[0]}, which is not installed: pip install 'ordinate[{extra}]'") from None


def some(names: Sequence[str], most: int = 6) -> str:
    """The first `most` of `names` with commas between them, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
