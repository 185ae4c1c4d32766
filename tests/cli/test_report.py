from pathlib import Path

import pytest

from tests.cli.call import ordinate


@pytest.fixture(autouse=True)
def _no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDINATE_RUNS", str(tmp_path / "runs"))


def test_the_gallery_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "gallery.html"
    said = ordinate("report", "--out", path)
    assert said.status == 0 and said.out == "" and "open it in a browser" in said.err
    assert path.read_text(encoding="utf-8").count("<article") == 53


def test_the_document_says_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "gallery.html"
    said = ordinate("report", "-o", path, "--json")
    assert said.document == {"report": str(path), "bytes": path.stat().st_size, "papers": 53} and said.err == ""


def test_a_folder_in_its_place_is_one_line(tmp_path: Path) -> None:
    ordinate("report", "--out", tmp_path).refused(2, str(tmp_path))
