from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ordinate.data.task_table import read_prices, read_task_table
from ordinate.ground.errors import InputError

SAMPLES = "task,a,b,y\npears,1,2.5,3\napples,4,5,6\npears,7,8,9\n"


def written(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_rows_know_their_task(tmp_path: Path) -> None:
    table = read_task_table(written(tmp_path, SAMPLES))
    assert table.names == ["pears", "apples"] and table.task.tolist() == [0, 1, 0] and table.columns == ["a", "b"]
    assert table.X.tolist() == [[1, 2.5], [4, 5], [7, 8]] and table.y.tolist() == [3, 6, 9]
    other = read_task_table(written(tmp_path, SAMPLES), target="a")
    assert other.columns == ["b", "y"] and other.y.tolist() == [1, 4, 7]


def test_tasks_may_be_numbers_and_tables_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"kind": [3, 1, 3], "x": [1.0, 2.0, 3.0], "y": [1, 2, 3]}), tmp_path / "table.parquet")
    table = read_task_table(tmp_path / "table.parquet", task="kind")
    assert table.names == ["3", "1"] and table.y.dtype == torch.float64


def test_prices_come_in_the_order_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "task,cost,cap\napples,2,10\nplums,1,1\npears,0.5,30\n")
    costs, caps = read_prices(path, ["pears", "apples"])
    assert costs is not None and costs.tolist() == [0.5, 2.0] and caps is not None and caps.tolist() == [30, 10]
    costs, caps = read_prices(written(tmp_path, "task,cap\npears,3\n"), ["pears"])
    assert costs is None and caps is not None


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (SAMPLES, {"task": "tusk"}, "did you mean task"),
        (SAMPLES, {"target": "z"}, "unknown column of table.csv"),
        ("task,y\na,1\n", {}, "others to predict them from"),
        ("task,a,y\nx,1,\ny,2,3\n", {}, "column 'y' must hold a number in every row"),
        ("task,a,y\nx,one,1\n", {}, "column 'a' must hold a number"),
        ("task,a,y\n", {}, "has no rows"),
        ("", {}, "cannot be read as a table"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_task_table(written(tmp_path, text), **options)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task,cost\nplums,1\n", "no row for pears"),
        ("task,cost\npears,1\npears,2\n", "a task twice"),
        ("task,price\npears,1\n", "neither a column cost nor a column cap"),
        ("kind,cost\npears,1\n", "unknown column"),
    ],
)
def test_bad_prices_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_prices(written(tmp_path, text), ["pears"])
    with pytest.raises(InputError, match="no such file"):
        read_prices(tmp_path / "absent.csv", ["pears"])
