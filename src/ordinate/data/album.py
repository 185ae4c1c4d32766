"""Pictures by the names that their embeddings have: files of a folder, or rows of a named dataset."""

from contextlib import suppress
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from ordinate.data.batches import Source
from ordinate.data.decode import Unreadable, decode
from ordinate.data.images import NAMED_IMAGES, Standardised, open_images
from ordinate.ground.errors import MissingError

__all__ = ["Album"]


class Album:
    """Pictures by name, as far as they are still to be had."""

    def __init__(self, given: str, root: Path | None) -> None:
        """
        Args:
            given: a named dataset, whose rows are called ``"train/17"`` and ``"test/3"``; of other names nothing is known.
            root: the folder that names are files in, or None.
        """
        self.root = root
        self._rows: dict[str, Source] = {}
        if root is None and given in NAMED_IMAGES:
            with suppress(MissingError):
                data = open_images(given)
                for split, part in (("train", data.train), ("test", data.test)):
                    self._rows[split] = part.source if isinstance(part, Standardised) else part

    def picture(self, name: str) -> UInt8[Tensor, "channels height width"] | None:
        """Its pixels (1 or 3, H, W), or None where it cannot be read any more."""
        if self.root is not None:
            try:
                return decode(self.root / name, grey=False)
            except (Unreadable, OSError):
                return None
        split, _, row = name.partition("/")
        source = self._rows.get(split)
        if source is None or not row.isdecimal() or int(row) >= len(source):
            return None
        pixels: Tensor = source.take(torch.tensor([int(row)]))["image"][0]
        return pixels if pixels.dtype == torch.uint8 else (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
