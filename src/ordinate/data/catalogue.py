"""The named datasets: what each is, its layout and licence, where it lies, whether it is there, and what its download is checked against.

`catalogue.toml` describes them; `catalogue.sha256` lists every file that is downloaded with its hash. Downloads are pinned to a revision of the dataset's home and checked file by file;
where a dataset is made of what was downloaded (MNIST's own format to a table, say), it is the download that is checked. Datasets of a hub have no hash that could be known beforehand:
their columns and numbers of rows are checked instead.
"""

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from ordinate.data.home import data_folder
from ordinate.ground.errors import choose

__all__ = ["Dataset", "Download", "catalogue", "get_dataset"]


@dataclass(frozen=True)
class Download:
    """One file to download.

    Attributes:
        file: what it is called once it is here, relative to the dataset's folder.
        url: where it comes from.
        sha256: what it must hash to.
    """

    file: str
    url: str
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """A named dataset.

    Attributes:
        name: what it is called, and its folder.
        title: what it is.
        layout: its files.
        licence: a note on what may be done with it; the licence itself is its authors' to give.
        home: the page where it comes from.
        opener: the function that opens it, by its dotted name.
        downloads: what is downloaded, each file with its hash.
        files: what a present dataset holds.
        make: the function of `ordinate.data.make` that makes `files` of `downloads`, or None where they are the same.
        hub: its name on the hub, or None.
        rows, columns: of a hub dataset's splits, to be checked.
        built_in: it is always there.
    """

    name: str
    title: str
    layout: str
    licence: str
    home: str
    opener: str
    downloads: tuple[Download, ...] = ()
    files: tuple[str, ...] = ()
    make: str | None = None
    hub: str | None = None
    rows: dict[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    built_in: bool = False

    def folder(self, data: Path | None = None) -> Path:
        """Where it lies, or would."""
        return data_folder(data) / self.name

    def absent(self, data: Path | None = None) -> list[str]:
        """Its files that are not there."""
        folder = self.folder(data)
        return [file for file in self.files if not (folder / file).is_file()]

    def status(self, data: Path | None = None) -> str:
        """``"built in"``, ``"here"``, ``"absent"``, or ``"incomplete"`` where only some of its files are there."""
        if self.built_in:
            return "built in"
        absent = len(self.absent(data))
        if not absent:
            return "here"
        return "absent" if absent == len(self.files) else "incomplete"


@cache
def catalogue() -> dict[str, Dataset]:
    """All named datasets, in the order of `catalogue.toml`."""
    cards = tomllib.loads((files(__package__) / "catalogue.toml").read_text(encoding="utf-8"))
    listed: dict[str, list[tuple[str, str, str]]] = {}
    for line in (files(__package__) / "catalogue.sha256").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, sha256, file, *origin = line.split()
            listed.setdefault(name, []).append((file, origin[0] if origin else file, sha256))
    found = {}
    for name, card in cards.items():
        base = card.pop("base", "")
        downloads = tuple(Download(file, base + origin, sha256) for file, origin, sha256 in listed.get(name, []))
        held = tuple(card.pop("files", [download.file for download in downloads]))
        columns = tuple(card.pop("columns", ()))
        found[name] = Dataset(name, downloads=downloads, files=held, columns=columns, **card)
    return found


def get_dataset(name: str) -> Dataset:
    """The dataset called `name`.

    Raises:
        InputError: there is none of that name.
    """
    return catalogue()[choose("dataset", name, catalogue())]
