"""Features of frozen encoders, computed once: every probe, every penalty of a grid and every number of shots then reads a matrix instead of running a network.

A file is keyed by what decides on its content: the encoder's structure and weights, and the rows of the source. Another weight, another image or another order is another file; nothing is ever stale. Several encoders are
kept apart, so that adding one to a concatenation costs one.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ordinate.data.batches import Source
from ordinate.data.home import cache_folder
from ordinate.ground.errors import InputError
from ordinate.ground.files import atomic_path
from ordinate.ground.hashes import TensorHash, hash_tensors
from ordinate.models.encoding import encode, evaluating

__all__ = ["cached_features", "hash_encoder", "hash_rows"]

_AT_ONCE = 256
_DTYPES = (torch.float32, torch.float16)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def hash_encoder(encoder: nn.Module) -> str:
    """The hash of an encoder's class, structure, constructor arguments (where it knows them) and weights."""
    kind = f"{type(encoder).__module__}.{type(encoder).__qualname__}"
    return hash_tensors(encoder.state_dict().items(), kind, _ADDRESS.sub("", repr(encoder)), repr(getattr(encoder, "arguments", None)))


def hash_rows(source: Source, columns: Sequence[str]) -> str:
    """The hash of some columns of a source's rows, in their order; reads them all.

    Raises:
        InputError: the source has no rows, or no such column.
    """
    found = TensorHash("rows", *columns)
    for batch in _batches(source, columns):
        for name in columns:
            found.add(name, batch[name])
    return found.text()


def _batches(source: Source, columns: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    if not len(source):
        raise InputError("there are no rows to compute features of")
    for rows in torch.arange(len(source)).split(_AT_ONCE):
        batch = source.take(rows)
        lacking = [name for name in columns if name not in batch]
        if lacking:
            raise InputError(f"the source has no column {lacking[0]!r}: it has {', '.join(batch)}")
        yield batch


def cached_features(
    encoder: nn.Module | Sequence[nn.Module],
    source: Source,
    folder: Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    inputs: str = "image",
    labels: str = "label",
) -> tuple[Float[Tensor, "rows features"], Tensor]:
    """The features of every row of a source, from disk where they have been computed before.

    Args:
        encoder: a module from inputs (B, ...) to vectors (B, d), by `embed` where it has that; used in evaluation mode, where it stands. A sequence of encoders (or a `ModuleList`) gives their features side by side.
        source: the rows, read in their order without augmentation.
        folder: of the files; None is the platform's cache folder, and nothing is kept where that cannot be written.
        dtype: of the features that are kept, float32 or float16.
        inputs, labels: the source's columns.

    Returns:
        (N, d) of `dtype` and the labels (N, ...), both on the CPU.

    Raises:
        InputError: no rows, no such column, no encoder, another dtype, features that are not one finite vector an input.
        OSError: `folder` cannot be written.
    """
    if dtype not in _DTYPES:
        raise InputError(f"features are kept as float32 or float16, not {dtype}")
    encoders = list(encoder) if isinstance(encoder, nn.ModuleList | Sequence) else [encoder]
    if not encoders:
        raise InputError("there is no encoder to compute features with")
    place = cache_folder() / "features" if folder is None else folder
    rows = hash_rows(source, (inputs, labels))
    parts = [_one(each, source, rows, place, folder is not None, dtype, inputs, labels) for each in encoders]
    return torch.cat([features for features, _ in parts], dim=1), parts[0][1]


def _one(
    encoder: nn.Module, source: Source, rows: str, place: Path, must: bool, dtype: torch.dtype, inputs: str, labels: str
) -> tuple[Tensor, Tensor]:
    path = place / f"{hash_encoder(encoder)}-{rows}-{str(dtype).removeprefix('torch.')}.safetensors"
    with suppress(SafetensorError, OSError, KeyError):  # absent or damaged: computed anew, and replaced
        kept = load_file(path)
        return kept["features"], kept["labels"]
    features, known = _computed(encoder, source, dtype, inputs, labels)
    try:
        with atomic_path(path) as temporary:
            save_file({"features": features, "labels": known}, temporary)
    except OSError:
        if must:
            raise
    return features, known


@torch.no_grad()
def _computed(encoder: nn.Module, source: Source, dtype: torch.dtype, inputs: str, labels: str) -> tuple[Tensor, Tensor]:
    device = next((tensor.device for tensor in encoder.state_dict().values()), torch.device("cpu"))
    features, known = [], []
    with evaluating(encoder):
        for batch in _batches(source, (inputs, labels)):
            found = encode(encoder, batch[inputs].to(device)).to("cpu", dtype)
            if not bool(torch.isfinite(found).all()):
                raise InputError(f"features of {type(encoder).__name__} are not finite{' in float16' if dtype == torch.float16 else ''}")
            features.append(found)
            known.append(batch[labels])
    return torch.cat(features).contiguous(), torch.cat(known).contiguous()
