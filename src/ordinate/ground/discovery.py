"""What a room holds, read off its files.

A room is a package of one idea a file. A file that offers something to the registries says so in a module constant (`MIXERS`, `MODELS`, `TASKS`, `PAPER`, ...);
`offered` gathers those constants over the room's files. There is no list to keep and nothing registers itself: adding a file adds what it offers,
and searching for a name finds the file that defines it.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

__all__ = ["modules_of", "offered"]


def modules_of(room: str) -> list[str]:
    """The dotted names of the public modules directly in the package `room`, sorted."""
    package = import_module(room)
    return sorted(f"{room}.{module.name}" for module in iter_modules(package.__path__) if not module.name.startswith("_"))


def offered(room: str, constant: str) -> dict[str, Any]:
    """Merge the dictionaries called `constant` of the files of `room`.

    Args:
        room: a package, ``"ordinate.nn.mixers"``.
        constant: the name of the module constant, ``"MIXERS"``; files without it are passed over.

    Raises:
        RuntimeError: two files offer the same name.
    """
    found: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for module in modules_of(room):
        for name, thing in getattr(import_module(module), constant, {}).items():
            if name in found:
                raise RuntimeError(f"{constant} {name!r} is offered by both {origin[name]} and {module}")
            found[name], origin[name] = thing, module
    return found
