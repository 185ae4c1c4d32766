import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.ground.discovery import modules_of, offered
from ordinate.ground.errors import InputError, MissingError, choose, require
from ordinate.ground.files import atomic_folder, atomic_path, read_json, write_json, write_text
from ordinate.ground.seeds import derive, generator


def test_a_wrong_name_is_answered_with_near_ones() -> None:
    assert choose("mixer", "nprf", ["nprf", "softmax"]) == "nprf"
    with pytest.raises(InputError, match="unknown mixer 'sofmax': did you mean softmax"):
        choose("mixer", "sofmax", ["nprf", "softmax"])
    with pytest.raises(InputError, match="known: nprf, softmax"):
        choose("mixer", "zzz", ["softmax", "nprf"])
    with pytest.raises(InputError, match="there are none"):
        choose("mixer", "zzz", [])


def test_an_absent_dependency_names_its_extra() -> None:
    with pytest.raises(MissingError, match=r"pip install 'ordinate\[graphs\]'"):
        require("a_module_that_is_not_there", "graphs")
    assert require("json", "none") is json


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and [file.name for file in path.parent.iterdir()] == ["file.txt"]
    write_text(path, "new")
    assert path.read_text() == "new"


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(OSError), atomic_folder(tmp_path / "run") as temporary:
        (temporary / "weights").write_text("half")
        raise OSError(errno.ENOSPC, "no space")
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "run") as temporary:
        (temporary / "weights").write_text("whole")
    assert (tmp_path / "run" / "weights").read_text() == "whole"


def test_json_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(InputError, match="no such file"):
        read_json(path)
    write_json(path, {"a": [1, 2]})
    path.write_text(path.read_text()[:5])
    with pytest.raises(InputError, match="not a JSON file"):
        read_json(path)
    with pytest.raises(ValueError):
        write_json(path, float("nan"))


@given(st.lists(st.one_of(st.integers(0, 2**40), st.text(max_size=5)), min_size=1, max_size=4))
def test_seeds_are_pure_functions_of_their_keys(keys: list[int | str]) -> None:
    assert derive(*keys) == derive(*keys) < 2**63
    assert derive(*keys) != derive(*keys, 0)
    assert torch.equal(torch.rand(3, generator=generator(*keys)), torch.rand(3, generator=generator(*keys)))


def test_seeds_are_the_same_in_another_process() -> None:
    there = subprocess.run(
        [sys.executable, "-c", "from ordinate.ground.seeds import derive; print(derive(3, 'batch', 7))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(there.stdout) == derive(3, "batch", 7)
    assert derive(1) != derive("1")


def test_a_room_is_read_off_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "probe_room"
    room.mkdir()
    (room / "__init__.py").write_text("")
    (room / "one.py").write_text("THINGS = {'a': 1}")
    (room / "two.py").write_text("THINGS = {'b': 2}")
    (room / "_hidden.py").write_text("THINGS = {'c': 3}")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert modules_of("probe_room") == ["probe_room.one", "probe_room.two"]
    assert offered("probe_room", "THINGS") == {"a": 1, "b": 2}
    (room / "three.py").write_text("THINGS = {'a': 4}")
    with pytest.raises(RuntimeError, match="offered by both"):
        offered("probe_room", "THINGS")
