"""A folder of images in which a class is a subfolder: listed and checked once, decoded as they are asked for, never all in memory.

With `train/` and `test/` (or `val/`, `valid/`, `validation/`) inside, those are the splits; otherwise a fifth of every class is held out, chosen by a fixed seed from the sorted file
names. Every file is looked at when the folder is opened: its header always, and all of its pixels where there are at most `CHECKED_WHOLE` files or its end is not that of a whole PNG or
JPEG. What cannot be read is left out and named.
"""

import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from ordinate.data.batches import Batch, Source
from ordinate.data.decode import Header, Unreadable, decode, read_header
from ordinate.ground.errors import InputError, some
from ordinate.ground.seeds import generator

__all__ = ["CHECKED_WHOLE", "SUFFIXES", "Folder", "PictureFiles", "held_out", "is_image", "read_folder", "readable"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"})
"""Files with other endings are not taken for images."""
CHECKED_WHOLE = 10_000
"""Folders of at most so many files are decoded once when they are opened, so that no broken one is left to be met in training."""
_TEST_NAMES = ("test", "val", "valid", "validation")


class PictureFiles(Source):
    """Image files, decoded when they are taken: ``"image"`` uint8 (B, C, H, W) and ``"label"`` int64 (B,).

    Args:
        files: one path a row.
        labels: (rows,) int64.
        grey: one channel instead of three.
        image_size: side to which images are resized and cropped; None where all have one size already.
    """

    def __init__(self, files: Sequence[Path], labels: Int64[Tensor, " rows"], grey: bool, image_size: int | None) -> None:
        self.files = [str(file) for file in files]
        self.labels = labels
        self.grey = grey
        self.image_size = image_size

    def __len__(self) -> int:
        return len(self.files)

    def take(self, indices: Int64[Tensor, " batch"]) -> Batch:
        """As in :class:`Source`.

        Raises:
            InputError: a file has become unreadable since the folder was opened.
        """
        images = []
        for index in indices.tolist():
            try:
                images.append(decode(Path(self.files[index]), grey=self.grey, image_size=self.image_size))
            except (Unreadable, OSError) as error:
                raise InputError(f"{self.files[index]} can no longer be read ({error}): restore it, or remove it and start anew") from None
        return {"image": torch.stack(images), "label": self.labels[indices]}


@dataclass(frozen=True)
class Folder:
    """What a folder holds: rows of both splits, the classes' names, (C, H, W), and the files left out, each with its reason."""

    train: PictureFiles
    test: PictureFiles
    classes: list[str]
    shape: tuple[int, int, int]
    skipped: tuple[str, ...]


def read_folder(path: Path, *, strict: bool = False, image_size: int | None = None) -> Folder:
    """List and check a folder of images.

    Args:
        path: the folder.
        strict: a file that cannot be read is an error, not a warning.
        image_size: see :class:`PictureFiles`; needed where sizes differ.

    Raises:
        InputError: there are no images, or of one class only; sizes differ and `image_size` is None; a split has a class that training has not; with `strict`, a file cannot be read.
    """
    train_files, test_files = _splits(path)
    listed = [*train_files, *(test_files or [])]
    if not listed:
        raise InputError(f"{path} holds no images: a folder of images has one subfolder a class ({', '.join(sorted(SUFFIXES))})")
    classes = sorted({name for name, _ in train_files})
    if len(classes) < 2:
        raise InputError(f"{path} holds one class only ({', '.join(classes) or 'none'}): there must be two or more subfolders with images")
    unseen = sorted({name for name, _ in test_files or []} - set(classes))
    if unseen:
        raise InputError(f"{path} tests classes that it has no training images of: {', '.join(unseen[:5])}")
    headers, skipped = readable(path, [file for _, file in listed], strict=strict)
    left = {name for name, file in train_files if file in headers}
    emptied = [name for name in classes if name not in left]
    if emptied:
        raise InputError(f"{path} has no readable training image of {', '.join(emptied[:5])}: {some(skipped, 10)}")
    shape = _shape(path, headers, image_size)
    number = {name: place for place, name in enumerate(classes)}

    def rows(pairs: Iterable[tuple[str, Path]]) -> PictureFiles:
        kept = [(number[name], file) for name, file in pairs if file in headers]
        labels = torch.tensor([label for label, _ in kept], dtype=torch.int64)
        return PictureFiles([file for _, file in kept], labels, shape[0] == 1, image_size)

    if test_files is None:
        whole = rows(train_files)
        train_rows, test_rows = held_out(whole.labels)
        chosen = [
            PictureFiles([Path(whole.files[row]) for row in part.tolist()], whole.labels[part], whole.grey, image_size)
            for part in (train_rows, test_rows)
        ]
        train, test = chosen
    else:
        train, test = rows(train_files), rows(test_files)
    if not len(test):
        raise InputError(f"{path} leaves no image to test on: give every class at least 3 images, or make a test/ folder")
    return Folder(train, test, classes, shape, skipped)


def held_out(labels: Int64[Tensor, " rows"], share: float = 0.2) -> tuple[Int64[Tensor, " train"], Int64[Tensor, " test"]]:
    """Rows to train on and rows to test on, both ascending: `share` of every class, rounded, is tested on, chosen by a fixed seed. A class of one or two rows is all trained on."""
    tested = torch.zeros(len(labels), dtype=torch.bool)
    for label in sorted(set(labels.tolist())):
        rows = (labels == label).nonzero()[:, 0]
        order = torch.randperm(len(rows), generator=generator("held out", label))
        tested[rows[order[: round(share * len(rows))]]] = True
    return (~tested).nonzero()[:, 0], tested.nonzero()[:, 0]


def is_image(file: Path) -> bool:
    """By its name: not hidden, and of one of :data:`SUFFIXES`."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


def _splits(path: Path) -> tuple[list[tuple[str, Path]], list[tuple[str, Path]] | None]:
    train = path / "train"
    if not train.is_dir():
        return _labelled(path), None
    for name in _TEST_NAMES:
        if (path / name).is_dir():
            return _labelled(train), _labelled(path / name)
    # a `train` beside other classes is a class of its own; alone, it is the split
    others = [folder for folder in path.iterdir() if folder.is_dir() and folder != train and not folder.name.startswith(".")]
    return (_labelled(path) if others else _labelled(train)), None


def _labelled(path: Path) -> list[tuple[str, Path]]:
    """(class, file) of every image in a subfolder of `path`, sorted by both."""
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    return [(folder.name, file) for folder in folders for file in sorted(folder.rglob("*")) if is_image(file) and file.is_file()]


def readable(path: Path, files: Sequence[Path], *, strict: bool = False) -> tuple[dict[Path, Header], tuple[str, ...]]:
    """The headers of the files that can be read, and the names of the others, each with its reason; one warning names and counts those.

    Args:
        path: the folder that the names are relative to.
        files: in it.
        strict: a file that cannot be read is an error, not a warning.

    Raises:
        InputError: with `strict`, a file cannot be read; or none can.
    """
    headers: dict[Path, Header] = {}
    refused: list[str] = []
    whole = len(files) <= CHECKED_WHOLE
    # decoding lets other threads run, reading a header does not
    with ThreadPoolExecutor() as pool:
        for file, found in zip(files, (pool.map if whole else map)(lambda file: _inspect(file, whole), files), strict=True):
            if isinstance(found, Header):
                headers[file] = found
            else:
                refused.append(f"{file.relative_to(path)} ({found})")
    if refused and (strict or not headers):
        raise InputError(f"{path}: {len(refused)} of {len(files)} images cannot be read: {some(refused, 10)}")
    if refused:
        warnings.warn(f"{path}: {len(refused)} of {len(files)} images cannot be read and are left out: {some(refused, 10)}", stacklevel=4)
    return headers, tuple(refused)


def _inspect(file: Path, whole: bool) -> Header | str:
    """Its header, or why it cannot be read."""
    try:
        header = read_header(file)
        if whole or not _ends_well(file):
            decode(file, grey=header.grey)
    except (Unreadable, OSError) as error:
        return str(error)
    return header


def _ends_well(file: Path) -> bool:
    """Whether the last bytes are those of a whole PNG or JPEG."""
    with file.open("rb") as stream:
        start = stream.read(8)
        stream.seek(max(file.stat().st_size - 12, 0))
        end = stream.read()
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return end[4:8] == b"IEND"
    return start.startswith(b"\xff\xd8") and end.endswith(b"\xff\xd9")


def _shape(path: Path, headers: dict[Path, Header], image_size: int | None) -> tuple[int, int, int]:
    channels = 1 if all(header.grey for header in headers.values()) else 3
    if image_size is not None:
        return channels, image_size, image_size
    sizes = sorted({(header.height, header.width) for header in headers.values()})
    if len(sizes) > 1:
        (low_height, low_width), (high_height, high_width) = sizes[0], sizes[-1]
        raise InputError(
            f"{path} holds images of {len(sizes)} sizes ({low_height}x{low_width} to {high_height}x{high_width} pixels): choose one, as in {path}@{_near(low_height, low_width)}"
        )
    return channels, *sizes[0]


def _near(height: int, width: int) -> int:
    """A side that suits the smallest of the images: the power of two next below, at most 224."""
    return min(224, 1 << (max(1, min(height, width)).bit_length() - 1))
