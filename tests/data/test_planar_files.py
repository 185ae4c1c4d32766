from pathlib import Path

import pytest
import torch

from ordinate.data.planar import sample
from ordinate.data.planar_files import read_planar, write_planar
from ordinate.ground.errors import InputError

LINES = """0.0 0.0 1.0 0.0 0.5 0.5 1.0 1.0 0.0 1.0 output 1 2 4 5 1

0.25 0.5 0.75 0.5 0.5 1.0 output 1 2 3 1
"""


def test_the_released_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hulls.txt"
    path.write_text(LINES)
    data = read_planar(path)
    assert data.lengths.tolist() == [5, 3] and data.points.shape == (2, 5, 2)
    assert data.points[1, 2].tolist() == [0.5, 1.0] and not data.points[1, 3:].any()
    assert data.targets.tolist() == [[1, 2, 4, 5, 0], [1, 2, 3, 0, 0]]


@pytest.mark.parametrize(("problem", "closed"), [("hull", True), ("tsp", True), ("delaunay", False)])
def test_what_is_written_is_read_back(tmp_path: Path, problem: str, closed: bool) -> None:
    data = sample(problem, (4, 9), 30, 0)
    write_planar(tmp_path / "data.txt", data, closed=closed)
    back = read_planar(tmp_path / "data.txt", closed=closed)
    assert torch.equal(back.points, data.points) and torch.equal(back.lengths, data.lengths) and torch.equal(back.targets, data.targets)
    answer = (tmp_path / "data.txt").read_text().splitlines()[0].split("output ")[1].split()
    assert (answer[0] == answer[-1]) == closed


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 0 1 0 0 1", "no 'output'"),
        ("0 0 1 output 1 2 1", "pairs of finite numbers"),
        ("output 1 1", "pairs of finite numbers"),
        ("0 nan 1 0 0 1 output 1 2 3 1", "pairs of finite numbers"),
        ("0 x 1 0 0 1 output 1 2 3 1", "could not convert"),
        ("0 0 1 0 0 1 output 1 2.5 1", "invalid literal"),
        ("0 0 1 0 0 1 output 1 2 4 1", "points from 1 to 3"),
        ("0 0 1 0 0 1 output 0 1 2 0", "points from 1 to 3"),
        ("0 0 1 0 0 1 output", "points from 1 to 3"),
        ("0 0 1 0 0 1 output 1 2 3", "does not end where it begins"),
    ],
)
def test_a_line_that_is_not_of_the_format_is_named(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(LINES + line + "\n")
    with pytest.raises(InputError, match=f"bad.txt, line 4: .*{why}"):
        read_planar(path)


def test_files_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_planar(tmp_path / "absent.txt")
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(InputError, match="holds no instances"):
        read_planar(tmp_path / "empty.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as text"):
        read_planar(tmp_path / "binary.txt")
