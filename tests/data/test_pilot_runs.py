from pathlib import Path

import pytest

from ordinate.data.pilot_runs import read_pilot_runs
from ordinate.ground.errors import InputError


def test_runs_are_read_in_any_order_of_columns(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("risk, note, n, m\n0.5, a, 10, 100\n0.25, b, 20, 0\n1e-3,c,30,1e3\n")
    assert read_pilot_runs(path) == [(100, 10, 0.5), (0, 20, 0.25), (1000, 30, 0.001)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("m,n\n1,2\n", "no column risk"),
        ("", "no column m, n, risk"),
        ("m,n,risk\n", "has no runs"),
        ("m,n,risk\n1,2,x\n", "line 2 needs whole numbers"),
        ("m,n,risk\n1,2,3\n1.5,2,3\n", "line 3 needs whole numbers"),
        ("m,n,risk\n1,2\n", "line 2"),
    ],
)
def test_files_that_hold_no_runs_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_pilot_runs(path)


def test_absent_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_pilot_runs(tmp_path / "x.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00m")
    with pytest.raises(InputError, match="not a CSV file"):
        read_pilot_runs(tmp_path / "b.csv")
