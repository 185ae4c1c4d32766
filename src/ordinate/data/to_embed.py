"""Images to be used by a trained model: one file, a folder of any depth, or a named dataset, prepared as the model's training images were."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ordinate.data.batches import Batch, Source
from ordinate.data.folders import PictureFiles, is_image, readable
from ordinate.data.images import NAMED_IMAGES, Standardised, open_images
from ordinate.ground.errors import InputError

__all__ = ["Pictures", "open_pictures"]


@dataclass(frozen=True)
class Pictures:
    """Rows {"image": float32 (B, C, H, W), standardised} with a name each, and a label each where they have one."""

    source: Source
    ids: list[str]
    labels: list[str] | None


class _Chain(Source):
    def __init__(self, first: Source, second: Source) -> None:
        self.first, self.second = first, second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def take(self, indices: torch.Tensor) -> Batch:
        """As in :class:`Source`; the rows of the first come before those of the second."""
        early = indices < len(self.first)
        parts = [self.first.take(indices[early]), self.second.take(indices[~early] - len(self.first))]
        order = torch.cat([early.nonzero()[:, 0], (~early).nonzero()[:, 0]]).argsort()
        return {name: torch.cat([part[name] for part in parts])[order] for name in parts[0]}


def open_pictures(
    given: str | Path, shape: tuple[int, int, int], mean: tuple[float, ...], std: tuple[float, ...], *, strict: bool = False
) -> Pictures:
    """Open images for a model that was trained on images of `shape`, `mean` and `std`.

    Args:
        given: a file, a folder (its subfolders' names are the labels, if every image lies in one), or a named dataset (training rows, then test rows).
        shape: (C, H, W) that the model takes; images are resized and cropped to it.
        mean, std: one number a channel, of pixels in [0, 1].
        strict: a file that cannot be read is an error, not a warning.

    Raises:
        InputError: no such path, or nothing in it that can be read.
        MissingError: a named dataset is not at hand.
    """
    channels, height, width = shape
    if height != width:
        raise InputError(f"images are brought to a square, and this model takes {height}x{width}")
    if str(given) in NAMED_IMAGES:
        data = open_images(str(given), strict=strict, image_size=height)
        if data.shape != shape:
            raise InputError(f"{given} has {data.shape[0]} channels, and the model was trained on {channels}")
        raw = [part.source if isinstance(part, Standardised) else part for part in (data.train, data.test)]
        rows = _Chain(raw[0], raw[1])
        ids = [f"{split}/{row}" for split, part in (("train", data.train), ("test", data.test)) for row in range(len(part))]
        labels = torch.cat([_labels(part) for part in raw]).tolist()
        return Pictures(Standardised(rows, mean, std), ids, [data.classes[label] for label in labels])
    path = Path(given).expanduser()
    if not path.exists():
        raise InputError(f"{path}: no such file or folder, nor one of {', '.join(NAMED_IMAGES)}")
    root = path if path.is_dir() else path.parent
    listed = sorted(file for file in path.rglob("*") if file.is_file() and is_image(file)) if path.is_dir() else [path]
    if not listed:
        raise InputError(f"{path} holds no images")
    headers, _ = readable(root, listed, strict=strict)
    kept = [file for file in listed if file in headers]
    names = [file.relative_to(root) for file in kept]
    source = PictureFiles(kept, torch.zeros(len(kept), dtype=torch.int64), channels == 1, height)
    folders = [name.parts[-2] if len(name.parts) > 1 else None for name in names]
    labels_found = [folder for folder in folders if folder is not None]
    return Pictures(
        Standardised(source, mean, std), [str(name) for name in names], labels_found if len(labels_found) == len(names) else None
    )


def _labels(source: Source) -> torch.Tensor:
    return torch.cat([source.take(part)["label"] for part in torch.arange(len(source)).split(4096)])
