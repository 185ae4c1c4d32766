import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ordinate.data.tables import TableData, open_table
from ordinate.ground.errors import InputError


def _csv(folder: Path, rows: list[str], name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


def _people(folder: Path) -> Path:
    rows = [
        f"{20 + row},{('red', 'green', 'blue')[row % 3]},{'true' if row % 2 else 'false'},{row * 0.5},{'yes' if row % 2 else 'no'}"
        for row in range(20)
    ]
    return _csv(folder, ["age,colour,member,score,bought", *rows])


def _all(data: TableData) -> dict[str, torch.Tensor]:
    parts = [source.take(torch.arange(len(source))) for source in (data.train, data.test)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def test_classes_and_one_column_a_category(tmp_path: Path) -> None:
    data = open_table(_people(tmp_path), "bought")
    assert data.classes == ["no", "yes"] and data.target == "bought"
    assert data.features == ["age", "colour=blue", "colour=green", "colour=red", "member=False", "member=True", "score"]
    assert (len(data.train), len(data.test)) == (16, 4)
    batch = _all(data)
    assert batch["features"].dtype == torch.float32 and batch["target"].dtype == torch.int64
    assert torch.equal(batch["features"][:, 1:4].sum(1), torch.ones(20))
    assert torch.equal(batch["features"][:, 5], batch["target"].float()), "members bought"
    ages = batch["features"][:, 0] * data.std[0] + data.mean[0]
    assert sorted(ages.round().int().tolist()) == list(range(20, 40))
    train = data.train.take(torch.arange(16))["features"]
    assert abs(train[:, 0].mean().item()) < 1e-5 and train[:, 0].std(correction=0).item() == pytest.approx(1)
    assert data.mean[1:4].tolist() == [0, 0, 0] and data.std[1:4].tolist() == [1, 1, 1]


def test_numbers_chosen_features_and_other_formats(tmp_path: Path) -> None:
    data = open_table(_people(tmp_path), "score", features=["age"])
    assert data.classes is None and data.features == ["age"]
    batch = _all(data)
    assert batch["target"].dtype == torch.float32
    assert torch.allclose(batch["features"][:, 0] * data.std[0] + data.mean[0], 20 + 2 * batch["target"], atol=1e-3)
    pq.write_table(pa.table({"x": [float(row) for row in range(10)], "y": [row % 2 for row in range(10)]}), tmp_path / "table.parquet")
    assert open_table(tmp_path / "table.parquet", "y").classes == ["0", "1"]
    _csv(tmp_path, ["x\ty", *(f"{row}\t{row / 3}" for row in range(10))], "table.tsv")
    assert open_table(str(tmp_path / "table.tsv"), "y").classes is None


def test_whole_numbers_with_many_values_are_numbers(tmp_path: Path) -> None:
    assert open_table(_csv(tmp_path, ["x,y", *(f"{row},{row}" for row in range(60))]), "y").classes is None
    assert open_table(_csv(tmp_path, ["x,y", *(f"{row},{row}" for row in range(9))]), "y").classes is None, "every value once"


def test_missing_numbers_become_the_mean_and_missing_text_no_column(tmp_path: Path) -> None:
    rows = [f"{'' if row == 3 else row},{'' if row == 4 else 'ab'[row % 2]},{row / 7}" for row in range(10)]
    data = open_table(_csv(tmp_path, ["x,c,y", *rows]), "y")
    batch = _all(data)
    order = batch["target"].argsort()
    assert batch["features"][order[3], 0] == 0 and batch["features"][order[4], 1:].tolist() == [0, 0]


def test_a_category_that_training_has_not_seen_gives_zeros(tmp_path: Path) -> None:
    path = _csv(tmp_path, ["c,y", *(f"v{row},{row / 7}" for row in range(10))])
    data = open_table(path, "y")
    assert len(data.features) == len(data.train) == 8
    assert data.test.take(torch.arange(2))["features"].abs().sum() == 0


def test_a_constant_column_is_harmless(tmp_path: Path) -> None:
    data = open_table(_csv(tmp_path, ["x,y", *(f"4,{row / 7}" for row in range(10))]), "y")
    assert _all(data)["features"].abs().sum() == 0 and math.isclose(data.mean[0], 4)


def test_the_split_is_the_same_every_time(tmp_path: Path) -> None:
    first, second = (_all(open_table(_people(tmp_path), "bought")) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["x,z", "1,2"], "unknown column of table.csv 'y'"),
        (["x,y", "1,2"], "1 rows: at least 5"),
        (["y", *("12345")], "no column to predict 'y' from"),
        (["x,y", "1,a", "2,a", "3,a", "4,a", "5,a"], "one class only in 'y'"),
        (["x,y", "1,a", "2,b", "3,", "4,a", "5,a"], "row 2 .* has no 'y'"),
        (["x,y", "1,a", "2,b", "3,c", "4,d", "5,e"], "no row to test on"),
        (["x,y", *(f",{row}" for row in range(9))], "column 'x' is of null"),
        (["x,y", *(f"2024-01-0{row},{row}" for row in range(1, 9))], "neither numbers nor text"),
        (["x,y", *(f"{'inf' if row == 6 else row},{row / 7}" for row in range(9))], "infinite value in 'x', row 6"),
        (["x,y", "1,2,3", "1"], "not a table that can be read"),
    ],
)
def test_tables_that_cannot_be_learnt_from(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_table(_csv(tmp_path, rows), "y")


def test_what_is_not_there_or_wrongly_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_table(tmp_path / "absent.csv", "y")
    path = _people(tmp_path)
    with pytest.raises(InputError, match="did you mean age"):
        open_table(path, "bought", features=["agee"])
    with pytest.raises(InputError, match="cannot be a feature too"):
        open_table(path, "bought", features=["bought"])
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(InputError, match="not a table that can be read"):
        open_table(tmp_path / "bad.parquet", "y")
    names = _csv(tmp_path, ["id,y", *(f"name{row},{row / 7}" for row in range(700))], "names.csv")
    with pytest.raises(InputError, match="560 values of 'id' in training"):
        open_table(names, "y")
