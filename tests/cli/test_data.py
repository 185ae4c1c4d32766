import json
from pathlib import Path

import pytest

from ordinate.cli.data import app
from ordinate.data.catalogue import catalogue
from ordinate.ground.errors import InputError


def _run(*arguments: str) -> None:
    app(args=list(arguments), standalone_mode=False)


def test_the_list_names_every_dataset(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _run("list", "--data-dir", str(tmp_path))
    shown = capsys.readouterr()
    assert all(name in shown.out for name in catalogue())
    assert "built in" in shown.out and "absent" in shown.out
    assert "ordinate data get NAME" in shown.err


def test_the_list_as_json_is_one_document(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _run("list", "--json", "--data-dir", str(tmp_path))
    shown = capsys.readouterr()
    rows = {row["name"]: row for row in json.loads(shown.out)}
    assert set(rows) == set(catalogue()) and shown.err == ""
    assert rows["digits"]["status"] == "built in" and rows["mnist"]["status"] == "absent"
    assert rows["mnist"]["folder"] == str(tmp_path / "mnist")
    assert rows["mnist"]["checked"] == "sha256" and rows["fashion-mnist"]["checked"] == "rows and columns"


def test_getting_what_is_here_or_built_in(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _run("get", "digits", "--data-dir", str(tmp_path))
    assert "built in" in capsys.readouterr().err
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_text("here")
    _run("get", "tinyshakespeare", "--data-dir", str(tmp_path))
    assert "already" in capsys.readouterr().err
    _run("get", "tinyshakespeare", "--json", "--data-dir", str(tmp_path))
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {
        "name": "tinyshakespeare",
        "status": "here",
        "folder": str(tmp_path / "tinyshakespeare"),
        "placed": [],
    }
    assert shown.err == ""


def test_an_unknown_dataset_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean mnist"):
        _run("get", "mnits", "--data-dir", str(tmp_path))
