"""Checkpoints: everything that a run needs to go on as if it had never stopped, in safetensors and JSON, whole or absent.

A checkpoint is a folder `step-00000123` with the tensors (model, objective, optimizer, moving average) in one safetensors file and their structure, with whatever else is needed, in one JSON file.
It is filled under another name, flushed and renamed, so that a folder of that name is always whole; the one before it is removed after that.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.files import atomic_folder, read_json, write_json

__all__ = ["Checkpoint", "latest_checkpoint", "load_checkpoint", "pack", "save_checkpoint", "unpack"]

_TENSOR = "tensor:"


@dataclass(frozen=True)
class Checkpoint:
    """What was read back: the step after which it was written, the state, and the JSON values that went with it."""

    step: int
    state: Any
    card: dict[str, Any]


def pack(state: Any, tensors: dict[str, Tensor], place: str = "") -> Any:
    """Turn nested dictionaries and lists with tensors in them into JSON values; the tensors go into `tensors` by their place.

    Raises:
        TypeError: something that is neither a tensor nor a JSON value.
    """
    if isinstance(state, Tensor):
        tensors[place] = state.detach().cpu().contiguous().clone()  # a clone, since safetensors refuses tied weights
        return f"{_TENSOR}{place}"
    if isinstance(state, Mapping):
        return {"items": [[key, pack(value, tensors, f"{place}/{key}")] for key, value in state.items()]}
    if isinstance(state, list | tuple):
        return [pack(value, tensors, f"{place}/{index}") for index, value in enumerate(state)]
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise TypeError(f"{place}: {type(state).__name__} cannot be written to a checkpoint")


def unpack(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of :func:`pack`; tuples come back as lists."""
    if isinstance(packed, str) and packed.startswith(_TENSOR):
        return tensors[packed.removeprefix(_TENSOR)]
    if isinstance(packed, dict):
        return {key: unpack(value, tensors) for key, value in packed["items"]}
    if isinstance(packed, list):
        return [unpack(value, tensors) for value in packed]
    return packed


def save_checkpoint(folder: Path, step: int, state: Any, card: dict[str, Any], kind: str = "step") -> Path:
    """Write a checkpoint and remove the older ones of its kind.

    Args:
        folder: holds the run's checkpoints.
        step: how many optimizer steps were done.
        state: nested dictionaries and lists of tensors and JSON values.
        card: further JSON values.
        kind: ``"step"`` for the last, ``"best"`` for the best.

    Raises:
        OSError: the disk is full or the folder cannot be written; the checkpoint before is then as it was.
    """
    place = folder / f"{kind}-{step:08d}"
    if not place.exists():
        with atomic_folder(place) as temporary:
            tensors: dict[str, Tensor] = {}
            packed = pack(state, tensors)
            save_file(tensors, temporary / "state.safetensors")
            write_json(temporary / "state.json", {"step": step, "state": packed, "card": card})
    for old in folder.glob(f"{kind}-*"):
        if old != place:
            shutil.rmtree(old, ignore_errors=True)
    return place


def latest_checkpoint(folder: Path, kind: str = "step") -> Path | None:
    """The newest checkpoint of a kind in `folder`, or None."""
    found = sorted(folder.glob(f"{kind}-*")) if folder.is_dir() else []
    return found[-1] if found else None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        InputError: a file in it is missing or damaged.
    """
    document = read_json(path / "state.json")
    try:
        tensors = load_file(path / "state.safetensors")
        return Checkpoint(document["step"], unpack(document["state"], tensors), document["card"])
    except (SafetensorError, FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"the checkpoint {path} is damaged ({error}): restore it from a copy, or remove it to start afresh") from None
