"""Weights out of files in which whole modules were pickled, without running what the file asks for.

A pickled module names classes and functions that must be imported and called to bring it back; a file from a stranger may name any. Here only what rebuilds tensors, containers and torch's own plain values is real; every other
name becomes an inert stand-in that remembers its state, from which parameters and buffers are read by the modules' own structure. What comes out is a state dict, to be kept as safetensors and read from then on.

The official checkpoints of aTLAS are such files: image encoders of open_clip with their preprocessing. Nothing here opens one unless asked to.
"""

import pickle
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.files import atomic_path

__all__ = ["convert_pickle", "read_pickled_state"]

_BUILTINS = {"set": set, "frozenset": frozenset, "dict": dict, "list": list, "tuple": tuple, "complex": complex}
_PLAIN = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    # Early protocols write the builtins under their old name.
    **{(module, name): kind for module in ("builtins", "__builtin__") for name, kind in _BUILTINS.items()},
}
_REBUILDERS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")


class _Inert:
    """Stands for an instance of whatever class: takes any arguments and any state, and does nothing with them."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, Mapping):
                self.__dict__.update({str(key): value for key, value in part.items()})

    def __call__(self, *arguments: Any, **named: Any) -> "_Inert":
        return _Inert()

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


class _Careful(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _PLAIN.get((module, name))
        if known is not None:
            return known
        if module == "torch._utils" and name in _REBUILDERS:
            return getattr(torch._utils, name)
        if module == "torch.storage" and name == "_load_from_bytes":
            raise pickle.UnpicklingError("a storage is nested as a pickle of its own")
        if module == "torch" and (name.endswith("Storage") or isinstance(getattr(torch, name, None), torch.dtype)):
            return getattr(torch, name)
        if module == "torch.storage" and name in {"TypedStorage", "UntypedStorage"}:
            return getattr(torch.storage, name)
        return type(name, (_Inert,), {"__module__": __name__})


class _Reader:
    """What `torch.load` takes for a pickle module."""

    Unpickler = _Careful
    UnpicklingError = pickle.UnpicklingError

    @staticmethod
    def load(file: Any, **options: Any) -> Any:
        return _Careful(file, **options).load()


def _gather(module: Any, prefix: str, found: dict[str, Tensor]) -> None:
    inside = getattr(module, "__dict__", {})
    for kind in ("_parameters", "_buffers"):
        passed_over = inside.get("_non_persistent_buffers_set", ()) if kind == "_buffers" else ()
        for name, entry in (inside.get(kind) or {}).items():
            if isinstance(entry, Tensor) and name not in passed_over:
                found[f"{prefix}{name}"] = entry.detach()
    for name, child in (inside.get("_modules") or {}).items():
        _gather(child, f"{prefix}{name}.", found)


def read_pickled_state(path: Path | str) -> dict[str, Tensor]:
    """The state dict of the module that a file holds, on the CPU, or the tensors of the dictionary that it holds.

    Args:
        path: a file of `torch.save` in the format of torch 1.6 and later, a zip archive.

    Raises:
        InputError: no such file, one of another format, or one without weights.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is no archive of torch.save in its present format: save it anew with torch 1.6 or later")
    try:
        held = torch.load(path, map_location="cpu", pickle_module=_Reader, weights_only=False)
    except Exception as error:  # whatever the damaged bytes make it raise
        raise InputError(
            f"{path} cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__}): fetch it again"
        ) from None
    found: dict[str, Tensor] = {}
    if isinstance(held, Mapping):
        found = {str(name): entry.detach() for name, entry in held.items() if isinstance(entry, Tensor)}
    else:
        _gather(held, "", found)
    if not found:
        raise InputError(f"{path} holds no weights that could be read")
    return found


def convert_pickle(path: Path | str, out: Path | str) -> dict[str, Tensor]:
    """Write the weights of a pickled module to a safetensors file, whole or not at all, and give them back.

    Raises:
        InputError: see :func:`read_pickled_state`; or `out` does not end in .safetensors.
    """
    if Path(out).suffix != ".safetensors":
        raise InputError(f"{out}: weights are written to a .safetensors file")
    state = {name: entry.clone().contiguous() for name, entry in read_pickled_state(path).items()}
    with atomic_path(Path(out)) as temporary:
        save_file(state, temporary)
    return state
