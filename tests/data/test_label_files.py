from pathlib import Path

import pytest

from ordinate.data.label_files import read_labels
from ordinate.ground.errors import InputError


def written(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_labels_are_read_in_order_or_by_id(tmp_path: Path) -> None:
    ids = ["a", "b", "c"]
    assert {name: each.tolist() for name, each in read_labels(written(tmp_path, "size,kind\nbig,x\nsmall,y\nbig,x\n"), ids).items()} == {
        "size": [0, 1, 0],
        "kind": [0, 1, 0],
    }
    assert read_labels(written(tmp_path, "kind,id\ny,c\nx,a\nz,elsewhere\nx,b\n"), ids)["kind"].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kind\nx\ny\n", "2 rows for 3 examples"),
        ("kind,id\nx,a\ny,b\n", "no row for c"),
        ("kind,id\nx,a\ny,b\nz,b\n", "an id twice"),
        ("kind,other\nx,1\ny\nz,2\n", "line 3 has not 2 cells"),
        ("kind\nx\n \ny\n", "kind is empty in 1 rows"),
        ("id\na\nb\nc\n", "no label besides the id"),
        ("kind,kind\nx,y\n", "different names"),
        ("kind\n", "rows below"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_labels(written(tmp_path, text), ["a", "b", "c"])


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_labels(tmp_path / "none.csv", ["a"])
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(InputError, match="not a CSV file"):
        read_labels(tmp_path / "bytes.csv", ["a"])
