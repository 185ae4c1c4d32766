"""Downloads against a server on this machine, with small files."""

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ordinate.data import catalogue, download
from ordinate.data.catalogue import Dataset, Download
from ordinate.data.home import cache_folder
from ordinate.ground.errors import InputError, MissingError

FILES = {"one.txt": b"one" * 1000, "deep/two.txt": b"two" * 5000}


class Server(ThreadingHTTPServer):
    """Serves `content` by path and remembers what was asked for."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {f"/{name}": content for name, content in FILES.items()}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.content.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def _known(monkeypatch: pytest.MonkeyPatch, dataset: Dataset) -> None:
    known = {**catalogue.catalogue(), dataset.name: dataset}
    monkeypatch.setattr(catalogue, "catalogue", lambda: known)


@pytest.fixture
def toy(server: Server, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    base = f"http://127.0.0.1:{server.server_port}/"
    downloads = tuple(Download(name, base + name, hashlib.sha256(content).hexdigest()) for name, content in FILES.items())
    dataset = Dataset("toy", "", "one.txt, deep/two.txt", "", base, "", downloads=downloads, files=tuple(FILES))
    _known(monkeypatch, dataset)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return dataset


def test_files_arrive_whole_and_only_once(server: Server, toy: Dataset, tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []
    placed = download.get("toy", tmp_path, lambda *now: seen.append(now))
    assert {str(file.relative_to(tmp_path / "toy")): file.read_bytes() for file in placed} == FILES
    assert seen[-1] == (2, 2, sum(map(len, FILES.values())))
    assert [step[0] for step in seen] == sorted(step[0] for step in seen)
    assert toy.status(tmp_path) == "here"
    assert not (cache_folder() / "downloads" / "toy").exists()
    asked = list(server.asked)
    assert download.get("toy", tmp_path) == [] and server.asked == asked


def test_what_is_there_is_left_alone(toy: Dataset, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "one.txt").write_bytes(b"mine")
    assert download.get("toy", tmp_path) == [tmp_path / "toy" / "deep" / "two.txt"]
    assert (tmp_path / "toy" / "one.txt").read_bytes() == b"mine"


def test_another_hash_is_refused_and_nothing_is_kept(server: Server, toy: Dataset, tmp_path: Path) -> None:
    server.content["/deep/two.txt"] = b"something else"
    with pytest.raises(MissingError, match=r"two\.txt did not arrive as it should be .* ordinate data get toy"):
        download.get("toy", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_download_goes_on_where_it_was(server: Server, toy: Dataset, tmp_path: Path) -> None:
    content = server.content.pop("/deep/two.txt")
    with pytest.raises(MissingError, match=r"cannot be downloaded \(HTTP status 404\).*ordinate data get toy"):
        download.get("toy", tmp_path)
    server.content["/deep/two.txt"] = content
    server.asked.clear()
    assert len(download.get("toy", tmp_path)) == 2
    assert server.asked == ["/deep/two.txt"]


def test_without_a_network_the_line_says_what_to_do(server: Server, toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable = tuple(replace(each, url=f"http://127.0.0.1:1/{each.file}") for each in toy.downloads)
    _known(monkeypatch, replace(toy, downloads=unreachable))
    with pytest.raises(MissingError, match=rf"\(ConnectionError\).*put one\.txt, deep/two\.txt into {tmp_path}/toy by hand"):
        download.get("toy", tmp_path)


def test_what_must_be_made_is_made(server: Server, toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def join(staging: Path, folder: Path) -> list[Path]:
        (folder / "both.txt").write_bytes((staging / "one.txt").read_bytes() + (staging / "deep/two.txt").read_bytes())
        return [folder / "both.txt"]

    monkeypatch.setitem(download.make.MAKERS, "join", join)
    _known(monkeypatch, replace(toy, make="join", files=("both.txt",)))
    assert download.get("toy", tmp_path) == [tmp_path / "toy" / "both.txt"]
    assert (tmp_path / "toy" / "both.txt").read_bytes() == b"".join(FILES.values())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_folder_that_cannot_be_written(toy: Dataset, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(InputError, match="set ORDINATE_DATA to a folder that can"):
        download.get("toy", tmp_path)


def test_a_data_folder_that_is_a_file(toy: Dataset, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(InputError, match="set ORDINATE_DATA to a folder that can"):
        download.get("toy", tmp_path / "data")


def test_what_is_built_in_is_not_downloaded(tmp_path: Path) -> None:
    assert download.get("digits", tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def _hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: dict[str, int]) -> None:
    """A dataset of a hub that is a folder on this machine."""
    pytest.importorskip("datasets", reason="the datasets library is an optional extra")
    home = tmp_path / "hub"
    home.mkdir()
    for split, count in rows.items():
        pq.write_table(
            pa.table({"text": [f"{split} {row}" for row in range(count)], "label": list(range(count))}), home / f"{split}.parquet"
        )
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    files = ("train.parquet", "test.parquet")
    _known(
        monkeypatch,
        Dataset("toy-hub", "", "", "", "", "", files=files, hub=str(home), rows={"train": 5, "test": 3}, columns=("text", "label")),
    )


def test_a_hub_dataset_is_checked_by_rows_and_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _hub(tmp_path, monkeypatch, {"train": 5, "test": 3})
    placed = download.get("toy-hub", tmp_path / "data")
    assert [file.name for file in placed] == ["train.parquet", "test.parquet"]
    assert pq.read_table(placed[0])["text"].to_pylist() == [f"train {row}" for row in range(5)]


def test_a_hub_dataset_that_has_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _hub(tmp_path, monkeypatch, {"train": 4, "test": 3})
    with pytest.raises(MissingError, match="has 4 rows of text, label where 5 of text, label were expected"):
        download.get("toy-hub", tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_hub_dataset_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _hub(tmp_path, monkeypatch, {})
    with pytest.raises(MissingError, match=r"cannot be had from the hub .*ordinate data get toy-hub"):
        download.get("toy-hub", tmp_path / "data")
