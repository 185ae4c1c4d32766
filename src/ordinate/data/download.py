"""Getting a named dataset: downloaded, checked, and put in place file by file, each whole or absent.

What is downloaded waits in the cache folder until all of it is there and checked, so that a stopped download goes on where it was. Nothing is written where a dataset is complete already.
"""

import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ordinate.data import make
from ordinate.data.catalogue import Dataset, get_dataset
from ordinate.data.home import cache_folder
from ordinate.ground.errors import InputError, MissingError, require
from ordinate.ground.files import atomic_path

__all__ = ["Watch", "get"]

Watch = Callable[[int, int, int], None]
"""Told of a download as it goes: files done, files in all, bytes so far."""


def get(name: str, data: Path | None = None, watch: Watch | None = None) -> list[Path]:
    """Bring a named dataset here, if it is not.

    Args:
        name: as in ``ordinate data list``.
        data: the folder of all datasets; None is `$ORDINATE_DATA` or the platform's cache folder.
        watch: told of progress.

    Returns:
        the files that were put in place: none where it was complete already, or is built in.

    Raises:
        InputError: there is no such dataset, or the data folder cannot be written.
        MissingError: it cannot be downloaded, or what arrived is not what it should be; nothing of that is kept.
    """
    dataset = get_dataset(name)
    if dataset.built_in or not dataset.absent(data):
        return []
    folder = dataset.folder(data)
    _check_writable(folder)
    try:
        if dataset.hub is not None:
            return _from_hub(dataset, folder)
        staging = cache_folder() / "downloads" / dataset.name
        _download(dataset, staging, folder, watch)
        if dataset.make is not None:
            placed = make.MAKERS[dataset.make](staging, folder)
        else:
            placed = [_place(staging / file, folder / file) for file in dataset.absent(data)]
        shutil.rmtree(staging, ignore_errors=True)
        return placed
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def _check_writable(folder: Path) -> None:
    """Before anything is downloaded."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): set ORDINATE_DATA to a folder that can") from None


def _place(source: Path, target: Path) -> Path:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
    return target


class _Meter:
    """The progress bar that pooch's downloader drives, one file after another; it counts bytes over all of them."""

    def __init__(self, files: int, watch: Watch) -> None:
        self._files, self._watch = files, watch
        self._done, self._before, self._here = 0, 0, 0

    @property
    def total(self) -> int:
        """Bytes of the current file. Set when a file is begun, or begun again."""
        return self._total

    @total.setter
    def total(self, total: int) -> None:
        self._total, self._here = total, 0

    def update(self, count: int) -> None:
        self._here += count
        self._watch(self._done, self._files, self._before + self._here)

    def reset(self) -> None:
        self._here = 0

    def close(self) -> None:
        self._done, self._before, self._here = self._done + 1, self._before + self._here, 0
        self._watch(self._done, self._files, self._before)


def _download(dataset: Dataset, staging: Path, folder: Path, watch: Watch | None) -> None:
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel(logging.ERROR)
    store = pooch.create(
        path=staging,
        base_url="",
        registry={download.file: f"sha256:{download.sha256}" for download in dataset.downloads},
        urls={download.file: download.url for download in dataset.downloads},
        retry_if_failed=2,
    )
    meter: Any = _Meter(len(dataset.downloads), watch) if watch is not None else False
    for download in dataset.downloads:
        try:
            store.fetch(download.file, downloader=pooch.HTTPDownloader(progressbar=meter, chunk_size=1 << 16, timeout=60))
        except RequestException as error:
            raise MissingError(
                f"{download.url} cannot be downloaded ({_short(error)}): try  ordinate data get {dataset.name}  again with a network, or put"
                f" {dataset.layout} into {folder} by hand (from {dataset.home})"
            ) from None
        except ValueError:
            raise MissingError(
                f"{download.url} did not arrive as it should be (its sha256 is not {download.sha256[:12]}...): it was damaged on the way or has changed;"
                f" nothing of it was kept. Try  ordinate data get {dataset.name}  again"
            ) from None


def _short(error: Exception) -> str:
    response = getattr(error, "response", None)
    return f"HTTP status {response.status_code}" if response is not None else type(error).__name__


def _from_hub(dataset: Dataset, folder: Path) -> list[Path]:
    datasets = require("datasets", "language")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it reports every retry
    placed = []
    for split, count in dataset.rows.items():
        try:
            table = datasets.load_dataset(dataset.hub, split=split)
        except (OSError, datasets.exceptions.DatasetsError) as error:
            raise MissingError(
                f"{dataset.hub} cannot be had from the hub ({type(error).__name__}): try  ordinate data get {dataset.name}  again with a network, or put"
                f" {dataset.layout} into {folder} by hand (from {dataset.home})"
            ) from None
        if len(table) != count or set(dataset.columns) - set(table.column_names):
            raise MissingError(
                f"{dataset.hub} {split} on the hub has {len(table):,} rows of {', '.join(table.column_names)} where {count:,} of"
                f" {', '.join(dataset.columns)} were expected: it has changed, and nothing of it was kept"
            )
        with atomic_path(folder / f"{split}.parquet") as temporary:
            table.to_parquet(str(temporary))
            if pq.read_metadata(temporary).num_rows != count:
                raise MissingError(f"{dataset.hub} {split} was not written whole: try  ordinate data get {dataset.name}  again")
        placed.append(folder / f"{split}.parquet")
    return placed
