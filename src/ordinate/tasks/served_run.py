"""A run and an index as a server serves them: whether they belong together, what the run's kind of input looks like when it is sent, and vectors of the index's width."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.data.decode import Unreadable, decode
from ordinate.ground.errors import InputError
from ordinate.objectives.matryoshka import truncate
from ordinate.retrieve.server.limits import Limits
from ordinate.retrieve.server.queries import Rules
from ordinate.retrieve.server.served import Served
from ordinate.retrieve.stored_index import StoredIndex
from ordinate.tasks.run_encoder import Encoder, load_encoder

__all__ = ["serve_run"]


class _Cut:
    """An encoder whose inputs come one by one, and whose vectors are cut to the width of the index."""

    def __init__(self, encoder: Encoder, width: int) -> None:
        self.kind = encoder.kind
        self._encoder = encoder
        self._width = width

    def encode(self, inputs: Sequence[Any]) -> Float[Tensor, "batch dim"]:
        """Embeddings of inputs that were prepared."""
        vectors = self._encoder.encode(torch.stack(list(inputs)) if self.kind == "image" else list(inputs))
        return vectors if vectors.shape[1] == self._width else truncate(vectors, self._width)


def serve_run(run: Path, index: Path, limits: Limits, *, device: str = "cpu") -> Served:
    """What is served of a run and an index, read anew from both.

    Args:
        run: a finished run's folder.
        index: an index's folder.
        limits: the server's.
        device: where inputs are embedded.

    Raises:
        InputError: either is none or damaged, or the run's vectors lie in another space than the index's.
        MissingError: a library or device is not there.
    """
    opened = StoredIndex.open(index)
    encoder = load_encoder(run, device)
    made = encoder.fingerprint
    fingerprint = made.shortened(opened.width) if opened.width < made.width else made
    opened.check(fingerprint)
    return Served(
        encoder=_Cut(encoder, opened.width),
        index=opened,
        run=run.name,
        fingerprint=fingerprint.word,
        welcome=frozenset(each.word for each in opened.welcome),
        rules=Rules(encoder.kind, opened.width, limits),
        dims=opened.dims,
        knows=lambda name: opened.store.row_of(name) is not None,
        prepare=_picture(encoder) if encoder.kind == "image" else lambda text: encoder.query(text)[0],
    )


def _picture(encoder: Encoder) -> Callable[[bytes], Float[Tensor, "channels height width"]]:
    channels, height, _ = encoder.card["shape"]
    mean, std = (torch.tensor(encoder.card[name])[:, None, None] for name in ("mean", "std"))

    def prepare(file: bytes) -> Tensor:
        try:
            pixels = decode(file, grey=channels == 1, image_size=height)
        except Unreadable as error:
            raise InputError(f"it cannot be read ({error})") from None
        return (pixels.float() / 255 - mean) / std

    return prepare
