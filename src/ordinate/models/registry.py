"""Models by name, and the papers' own checkpoints read into them.

A file of this room offers its networks in `MODELS: dict[str, partial[Model]]`, a class with the arguments of a published size, and the checkpoint formats that it can read in
`OFFICIAL: dict[str, OfficialCheckpoint]`. `create_model` builds one; `load_official` builds one from a checkpoint of the paper's own repository.
"""

from collections.abc import Mapping
from contextlib import redirect_stdout
from fnmatch import fnmatchcase
from functools import cache, partial
from io import StringIO
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ordinate.ground.discovery import offered
from ordinate.ground.errors import InputError, choose, some
from ordinate.ground.files import atomic_folder, read_json
from ordinate.models.base import FAMILY_FILE, Model
from ordinate.nn.official import OfficialCheckpoint

__all__ = [
    "create_model",
    "list_models",
    "list_official",
    "load_model",
    "load_official",
    "model_class",
    "published_arguments",
    "save_model",
]


@cache
def _models() -> dict[str, partial[Model]]:
    return offered("ordinate.models", "MODELS")


@cache
def _official() -> dict[str, OfficialCheckpoint]:
    return offered("ordinate.models", "OFFICIAL") | offered("ordinate.objectives", "OFFICIAL")


def list_models(pattern: str = "*") -> list[str]:
    """The names of the models that match a shell-style `pattern`, sorted."""
    return sorted(name for name in _models() if fnmatchcase(name, pattern))


def list_official() -> list[str]:
    """The names that `load_official` takes, sorted."""
    return sorted(_official())


def model_class(name: str) -> type[Model]:
    """The class of the model called `name`.

    Raises:
        InputError: there is none of that name.
    """
    return _models()[choose("model", name, _models())].func  # type: ignore[return-value]


def published_arguments(name: str) -> dict[str, Any]:
    """What the model called `name` sets among its class's constructor arguments.

    Raises:
        InputError: there is none of that name.
    """
    return dict(_models()[choose("model", name, _models())].keywords)


def create_model(name: str, **overrides: Any) -> Model:
    """Build the model called `name`, with random weights.

    Args:
        name: one of `list_models()`.
        overrides: arguments of the model's class that differ from the published size: ``num_classes=10``.

    Raises:
        InputError: no model of that name, or an argument that it does not have.
    """
    factory = _models()[choose("model", name, _models())]
    try:
        return factory(**overrides)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise InputError(f"model {name!r}: {str(error).split('()')[-1].strip()}") from None


def save_model(model: Model, folder: Path | str) -> None:
    """Save `model` (config.json, model.safetensors) as the new folder `folder`, whole or not at all.

    Raises:
        InputError: the folder exists.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(f"{folder} exists already: choose another folder, or remove it first")
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)


def load_model(folder: Path | str) -> Model:
    """Rebuild a model from a folder of `save_model`, or from a repository of the hub (``"owner/name"``).

    Raises:
        InputError: the folder is not one of ours, or its files are damaged, absent, or do not fit each other.
    """
    path = Path(folder)
    if not path.is_dir() and (str(folder).count("/") != 1 or str(folder).startswith((".", "/"))):
        raise InputError(f"{folder}: no such folder")
    card = path / FAMILY_FILE if path.is_dir() else Path(hf_hub_download(str(folder), FAMILY_FILE))
    families = {entry.func.__name__: cast(type[Model], entry.func) for entry in _models().values()}
    family: type[Model] = families[choose("model family", str(read_json(card).get("family")), families)]
    if path.is_dir():
        read_json(path / "config.json")  # a damaged one is named here; the hub's reader would not
        if not (path / "model.safetensors").is_file():
            raise InputError(f"{folder} has no model.safetensors: restore it from a copy")
    try:
        with redirect_stdout(StringIO()):  # the hub's reader announces itself on stdout, which belongs to whoever called
            return family.from_pretrained(str(folder), strict=True)
    except SafetensorError as error:
        raise InputError(f"{folder}/model.safetensors is damaged ({error}): restore it from a copy") from None
    except RuntimeError as error:
        raise InputError(f"{folder}: the weights do not fit config.json ({' '.join(str(error).split())[:300]})") from None


def read_state(source: Path | str | Mapping[str, Any]) -> dict[str, Any]:
    """Read a checkpoint file (.safetensors, or .pt/.pth/.bin through torch's weights-only reader), or pass a dictionary on.

    Raises:
        InputError: no such file, an unknown ending, or a damaged or unsafe file.
    """
    if isinstance(source, Mapping):
        return dict(source)
    path = Path(source)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise InputError(f"{path} is not a whole safetensors file ({error}): fetch it again") from None
    if path.suffix not in {".pt", ".pth", ".bin", ".ckpt"}:
        raise InputError(f"{path}: a checkpoint ends in .safetensors, .pt, .pth, .bin or .ckpt")
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load raises whatever the damaged bytes make it raise
        raise InputError(
            f"{path} cannot be read as weights alone ({str(error).splitlines()[0]}): fetch it again, or convert it to .safetensors"
        ) from None


def load_official(name: str, source: Path | str | Mapping[str, Any], **config: Any) -> nn.Module:
    """Build our module for a checkpoint of the paper's own repository, and load the checkpoint into it.

    Args:
        name: one of `list_official()`.
        source: the file, or its state dict. A nesting key ("model", ...) and a distributed wrapper's "module." prefix are taken off.
        config: the official constructor's arguments, by their official names, where they cannot be read off the weights.

    Raises:
        InputError: the file cannot be read, or keys are missing, unexpected or of another shape; the message says which, and for which configuration.
    """
    entry = _official()[choose("official checkpoint", name, _official())]
    state = read_state(source)
    for _ in range(2):  # some files nest twice
        inner = next((state[key] for key in entry.unwrap if isinstance(state.get(key), Mapping)), None)
        state = dict(inner) if inner is not None else state
    state = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    if not state:
        raise InputError(f"{name}: the checkpoint holds no tensors")
    try:
        module = entry.build(state, **config)
    except KeyError as error:
        raise InputError(
            f"{name}: the checkpoint has no {error}, which tells its configuration: is it a checkpoint of another model?"
        ) from None
    ours = entry.translate(state, module)
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - ours.keys())
    unexpected = sorted(ours.keys() - wanted.keys())
    shapes = [
        f"{key} {tuple(ours[key].shape)} for {tuple(wanted[key].shape)}"
        for key in sorted(wanted.keys() & ours.keys())
        if ours[key].shape != wanted[key].shape
    ]
    problems = [
        f"{label}: {some(keys)}" for label, keys in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", shapes)) if keys
    ]
    if problems:
        raise InputError(
            f"{name}: the checkpoint does not fit {type(module).__name__}({', '.join(f'{k}={v!r}' for k, v in config.items())}); {'; '.join(problems)}"
        )
    module.load_state_dict(ours)
    return module
