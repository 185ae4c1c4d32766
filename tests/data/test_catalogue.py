import re
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ordinate.data.catalogue import catalogue, get_dataset
from ordinate.data.home import data_folder, dataset_folder
from ordinate.data.images import NAMED_IMAGES
from ordinate.data.make import MAKERS
from ordinate.data.text import NAMED_TEXTS
from ordinate.ground.errors import InputError, MissingError

NAMES = sorted(catalogue())


@pytest.mark.parametrize("name", NAMES)
def test_every_dataset_says_what_it_is_and_how_it_comes(name: str) -> None:
    dataset = get_dataset(name)
    assert dataset.title and dataset.layout and dataset.licence and urlsplit(dataset.home).scheme in {"http", "https"}
    ways = [dataset.built_in, bool(dataset.downloads), dataset.hub is not None]
    assert sum(ways) == 1, "it is built in, or downloaded, or comes from a hub"
    assert dataset.built_in or dataset.files
    assert (dataset.hub is not None) == bool(dataset.rows) == bool(dataset.columns)
    assert dataset.make is None or dataset.make in MAKERS
    assert all(not Path(file).is_absolute() and ".." not in Path(file).parts for file in dataset.files)


@pytest.mark.parametrize("name", NAMES)
def test_every_download_is_pinned_and_hashed(name: str) -> None:
    for download in get_dataset(name).downloads:
        assert re.fullmatch(r"[0-9a-f]{64}", download.sha256)
        assert urlsplit(download.url).scheme == "https"
        if "githubusercontent" in download.url:
            assert re.search(r"/[0-9a-f]{40}/", download.url), "a branch may move, a commit does not"


@pytest.mark.parametrize("name", NAMES)
def test_every_opener_is_there(name: str) -> None:
    module, _, function = get_dataset(name).opener.rpartition(".")
    assert callable(getattr(import_module(module), function))


def test_openers_and_names_agree() -> None:
    assert set(NAMED_IMAGES) | set(NAMED_TEXTS) <= set(catalogue())
    for name in NAMED_IMAGES:
        assert get_dataset(name).opener == "ordinate.data.images.open_images"


def test_what_is_here_is_seen(tmp_path: Path) -> None:
    dataset = get_dataset("ml-100k")
    assert dataset.status(tmp_path) == "absent"
    dataset.folder(tmp_path).mkdir()
    for number, file in enumerate(dataset.files):
        assert dataset.absent(tmp_path) == list(dataset.files[number:])
        (dataset.folder(tmp_path) / file).write_text("")
        assert dataset.status(tmp_path) == ("here" if number == len(dataset.files) - 1 else "incomplete")
    assert get_dataset("digits").status(tmp_path) == "built in"


def test_where_datasets_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDINATE_DATA", str(tmp_path / "a"))
    assert data_folder() == tmp_path / "a" and data_folder(tmp_path / "b") == tmp_path / "b"
    monkeypatch.setenv("ORDINATE_DATA", "~/data")
    assert data_folder() == Path.home() / "data"
    monkeypatch.delenv("ORDINATE_DATA")
    assert data_folder().parts[-2:] == ("ordinate", "data")
    with pytest.raises(MissingError, match="ordinate data get set5"):
        dataset_folder("set5", folder=tmp_path)


def test_an_unknown_dataset_is_answered_with_near_ones() -> None:
    with pytest.raises(InputError, match="did you mean mnist"):
        get_dataset("mnits")
