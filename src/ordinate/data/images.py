"""Images with a class each, by name or path, ready for training.

Named: ``digits`` (scikit-learn's, built in), ``mnist``, ``fashion-mnist``, ``cifar10``. By path: a folder in which a class is a subfolder, or one of parquet tables as hubs keep them (``train*.parquet``,
``test*.parquet``). Either may be followed by the side in pixels that its images are brought to: ``photos@64``. Pixels become (x / 255 - mean) / std with the channels' mean and standard
deviation over (a sample of) the training split, the same for both splits.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from ordinate.data.batches import Batch, Source, Subset, TensorSource
from ordinate.data.catalogue import catalogue
from ordinate.data.folders import held_out, read_folder
from ordinate.data.home import dataset_folder
from ordinate.data.make import CIFAR10_CLASSES
from ordinate.data.pictures import parquet_pictures
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator

__all__ = ["NAMED_IMAGES", "ImageData", "Standardised", "open_images"]

NAMED_IMAGES = ("cifar10", "digits", "fashion-mnist", "mnist")
"""Datasets of images with classes that :func:`open_images` knows by name."""
_CLASSES = {"cifar10": list(CIFAR10_CLASSES), "mnist": [str(digit) for digit in range(10)]}  # where a table does not say them itself
_SIZED = re.compile(r"(.+)@(\d+)")
_SAMPLED = 4096  # images over which mean and standard deviation are taken


class Standardised(Source):
    """A source whose ``"image"`` is brought to mean 0 and standard deviation 1: uint8 or float in [0, 1] to float32.

    Args:
        source: rows with an ``"image"`` (B, C, H, W), uint8 or floating.
        mean, std: one number a channel, of pixels in [0, 1].
    """

    def __init__(self, source: Source, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.source = source
        self.mean = torch.tensor(mean)[:, None, None]
        self.std = torch.tensor(std)[:, None, None]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, indices: Int64[Tensor, " batch"]) -> Batch:
        batch = self.source.take(indices)
        return {**batch, "image": (_unit(batch["image"]) - self.mean) / self.std}


@dataclass(frozen=True)
class ImageData:
    """Images with a class each.

    Attributes:
        name: as it was asked for.
        train, test: rows {"image": float32 (B, C, H, W), standardised; "label": int64 (B,)}.
        classes: their names, by label.
        shape: (C, H, W).
        mean, std: one number a channel, of pixels in [0, 1]: a pixel is image · std + mean.
        skipped: files that could not be read and were left out, each with its reason.
    """

    name: str
    train: Source
    test: Source
    classes: list[str]
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[str, ...] = ()


def open_images(name_or_path: str | Path, *, strict: bool = False, image_size: int | None = None, folder: Path | None = None) -> ImageData:
    """Open images by name or path.

    Args:
        name_or_path: one of :data:`NAMED_IMAGES`, or a folder. A name wins over a folder of the same name: write ``./digits`` for that.
        strict: a corrupt image is an error; otherwise it is left out, with one warning that names and counts.
        image_size: side in pixels to which images are resized (the shorter side, then a crop of the centre), as ``@64`` behind the name says too. Needed where sizes differ.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Raises:
        InputError: no such name or path; the folder is empty, of one class, of mixed sizes without `image_size`, or (with `strict`) has a corrupt image.
        MissingError: a named dataset is not at hand; the message names the command that gets it.
    """
    name = str(name_or_path)
    sized = _SIZED.fullmatch(name)
    if sized and not Path(name).exists():
        name, image_size = sized[1], int(sized[2])
        name_or_path = name if isinstance(name_or_path, str) else Path(name)
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size must be at least 1 pixel, not {image_size}")
    if name == "digits":
        return _digits(image_size)
    if name in NAMED_IMAGES:
        return _tables(name, dataset_folder(name, "train.parquet", folder), image_size, _CLASSES.get(name))
    path = Path(name_or_path).expanduser()
    if not path.exists():
        if len(path.parts) > 1 or isinstance(name_or_path, Path):
            raise InputError(f"{path}: no such folder")
        if name in catalogue():
            raise InputError(f"{name} is no dataset of images with classes: it is opened by {catalogue()[name].opener}")
        choose("dataset of images (or path)", name, NAMED_IMAGES)
    if not path.is_dir():
        raise InputError(f"{path} is a file: images are given as a folder with one subfolder a class")
    if next(path.glob("train*.parquet"), None) is not None:
        return _tables(name, path, image_size, None)
    found = read_folder(path, strict=strict, image_size=image_size)
    return _standardised(name, found.train, found.test, found.classes, found.shape, found.skipped)


def _digits(image_size: int | None) -> ImageData:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float()[:, None] / 16
    if image_size is not None and image_size != 8:
        resized = torch.nn.functional.interpolate(images, size=(image_size, image_size), mode="bicubic", antialias=True)
        images = resized.clamp(0, 1)
    labels = torch.from_numpy(bunch.target).long()
    whole = TensorSource(image=images, label=labels)
    train, test = (Subset(whole, rows) for rows in held_out(labels))
    return _standardised("digits", train, test, [str(digit) for digit in range(10)], (1, images.shape[2], images.shape[3]), ())


def _tables(name: str, path: Path, image_size: int | None, classes: list[str] | None) -> ImageData:
    files = {}
    for split in ("train", "test"):
        found = sorted(path.glob(f"{split}*.parquet"))
        if len(found) > 1:
            raise InputError(f"{path} holds {len(found)} tables for {split}: join them into one {split}.parquet")
        files[split] = found[0] if found else None
    whole, table = parquet_pictures(files["train"] or path / "train.parquet", image_size)
    train: Source = whole
    test: Source
    if files["test"] is None:
        train_rows, test_rows = held_out(table.labels)
        train, test = Subset(whole, train_rows), Subset(whole, test_rows)
    else:
        test, tested = parquet_pictures(files["test"], image_size)
        if tested.shape != table.shape:
            raise InputError(f"{path}: training images are {table.shape} and test images {tested.shape} (channels, height, width)")
        if len(tested.classes) > len(table.classes):
            raise InputError(f"{path}: the test table has labels that the training table has not")
    names = classes or table.classes
    if len(names) < 2 or len(set(table.labels.tolist())) < 2:
        raise InputError(f"{path} holds one class only: there must be two or more")
    return _standardised(name, train, test, names, table.shape, ())


def _standardised(
    name: str, train: Source, test: Source, classes: list[str], shape: tuple[int, int, int], skipped: tuple[str, ...]
) -> ImageData:
    mean, std = _moments(train)
    return ImageData(name, Standardised(train, mean, std), Standardised(test, mean, std), classes, shape, mean, std, skipped)


def _moments(source: Source) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over up to 4,096 rows, chosen by a fixed seed; a channel that never varies gets 1 for its deviation."""
    rows = torch.randperm(len(source), generator=generator("moments"))[:_SAMPLED].sort().values
    sums, squares, count = [], [], 0
    for start in range(0, len(rows), 256):
        images = _unit(source.take(rows[start : start + 256])["image"]).double()
        sums.append(images.sum((0, 2, 3)))
        squares.append((images**2).sum((0, 2, 3)))
        count += images[:, 0].numel()
    mean = torch.stack(sums).sum(0) / count
    variance = (torch.stack(squares).sum(0) / count - mean**2).clamp(min=0)
    std = torch.where(variance > 1e-10, variance.sqrt(), torch.ones_like(variance))
    return tuple(mean.tolist()), tuple(std.tolist())


def _unit(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()
