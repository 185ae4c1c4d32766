"""Runs that were trained on images as encoders of pictures: files, their bytes, folders, named datasets."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.data.batches import TensorSource
from ordinate.data.decode import Unreadable, decode
from ordinate.data.images import Standardised
from ordinate.data.to_embed import Pictures, open_pictures
from ordinate.ground.errors import InputError
from ordinate.models.base import VisionEncoder
from ordinate.tasks.run_encoder import Encoder, Inputs

__all__ = ["ENCODERS", "ImageEncoder", "ImageInputs"]


class ImageInputs(Inputs):
    """Pictures of a folder or a named dataset; `take` gives (B, C, H, W) float32, prepared for the model."""

    def __init__(self, pictures: Pictures, given: str) -> None:
        """
        Args:
            pictures: opened.
            given: as they were asked for.
        """
        self.source, self.ids, self.labels, self.root = pictures.source, pictures.ids, pictures.labels, pictures.root
        self.named = self.root is None
        digest = hashlib.blake2b(repr((given, len(self.ids))).encode(), digest_size=16)
        if self.root is not None:
            for name in self.ids:
                about = (self.root / name).stat()
                digest.update(repr((name, about.st_size, about.st_mtime_ns)).encode())
        self.stamp = digest.hexdigest()

    def take(self, rows: range) -> Float[Tensor, "batch channels height width"]:
        """As in :class:`Inputs`."""
        return self.source.take(torch.arange(rows.start, rows.stop))["image"]


class ImageEncoder(Encoder):
    """`encode` takes paths, bytes of files, or prepared images (B, C, H, W) as `ImageInputs` gives them."""

    kind = "image"

    def check(self) -> None:
        """As in :class:`Encoder`."""
        if not isinstance(self.model, VisionEncoder):
            raise InputError(f"{self.run} holds a {type(self.model).__name__}, which does not embed images")

    def example(self) -> Tensor:
        """As in :class:`Encoder`."""
        return torch.zeros(1, *self.card["shape"])

    def embed(self, inputs: Sequence[Path | str | bytes] | Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dim"]:
        """As in :class:`Encoder`.

        Raises:
            InputError: none, a picture that cannot be read, or images of another shape.
        """
        images = inputs if isinstance(inputs, Tensor) else self._prepared(inputs)
        return cast(VisionEncoder, self.model).embed(images.to(self.device))

    def _prepared(self, files: Sequence[Path | str | bytes]) -> Tensor:
        if not len(files):
            raise InputError("there are no pictures to embed")
        channels, height, _ = self.card["shape"]
        decoded = []
        for number, file in enumerate(files):
            try:
                decoded.append(decode(file if isinstance(file, bytes) else Path(file), grey=channels == 1, image_size=height))
            except (Unreadable, OSError) as error:
                name = f"picture {number + 1}" if isinstance(file, bytes) else str(file)
                raise InputError(f"{name} cannot be read ({error.strerror or error if isinstance(error, OSError) else error})") from None
        source = Standardised(TensorSource(image=torch.stack(decoded)), tuple(self.card["mean"]), tuple(self.card["std"]))
        return source.take(torch.arange(len(decoded)))["image"]

    def open(self, given: str, *, strict: bool = False) -> ImageInputs:
        """As in :class:`Encoder`: a picture, a folder of them, or a named dataset."""
        card = self.card
        return ImageInputs(open_pictures(given, tuple(card["shape"]), tuple(card["mean"]), tuple(card["std"]), strict=strict), given)

    def query(self, given: str) -> list[Path]:
        """As in :class:`Encoder`: the path of a picture."""
        path = Path(given).expanduser()
        if not path.is_file():
            raise InputError(f"{given}: no such picture")
        return [path]


ENCODERS = {"images": ImageEncoder}
