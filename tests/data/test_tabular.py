from pathlib import Path

import pytest
import torch

from ordinate.data.home import data_folder
from ordinate.data.regression import open_regression
from ordinate.data.tabular import BUILT_IN, open_tabular
from ordinate.ground.errors import InputError, MissingError


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_built_in_tables_split_by_number_without_losing_a_row(name: str) -> None:
    table = open_tabular(name)
    loaded = BUILT_IN[name]()
    first, again, other = table.split(0), table.split(0), table.split(1)
    assert torch.equal(first.test_x, again.test_x) and not torch.equal(first.test_x, other.test_x)
    assert len(first.train_x) + len(first.test_x) == len(loaded.data)
    assert first.train_x.dtype == torch.float64
    torch.testing.assert_close(torch.cat((first.train_x, first.test_x)).sum(0), torch.tensor(loaded.data, dtype=torch.float64).sum(0))
    if table.classes is None:
        assert first.train_y.dtype == torch.float64
    else:
        assert first.train_y.dtype == torch.int64 and set(first.test_y.tolist()) == set(range(len(table.classes)))


def test_a_file_is_read_in_its_own_units_with_its_last_or_a_named_column_as_target(tmp_path: Path) -> None:
    path = tmp_path / "houses.csv"
    rows = [(10.0 * number, "red" if number % 2 else "blue", 0.5 * number) for number in range(20)]
    path.write_text("size,colour,price\n" + "\n".join(f"{a},{b},{c}" for a, b, c in rows))
    split = open_tabular(path).split(3)
    found = {
        tuple(row)
        for row in torch.cat((torch.cat((split.train_x, split.test_x)), torch.cat((split.train_y, split.test_y))[:, None]), 1).tolist()
    }
    wanted = {(a, float(b == "blue"), float(b == "red"), c) for a, b, c in rows}
    assert {tuple(round(value, 3) for value in row) for row in found} == wanted
    named = open_tabular(f"{path}:colour")
    assert named.classes == ["blue", "red"]
    assert len(named.split(0).test_y) == 4


@pytest.mark.skipif(not (data_folder() / "uci").is_dir(), reason="the UCI regression problems are not at hand: ordinate data get uci")
def test_uci_problems_have_their_standard_splits() -> None:
    split, expected = open_tabular("yacht").split(23), open_regression("yacht", 3)
    assert torch.equal(split.train_x, expected.train_x) and torch.equal(split.test_y, expected.test_y)


def test_what_is_no_table_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no table 'iris': name one of breast-cancer"):
        open_tabular("iris")
    with pytest.raises(InputError, match="no such file"):
        open_tabular(tmp_path / "absent.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match="not a table that can be read"):
        open_tabular(tmp_path / "empty.csv")
    (tmp_path / "one.csv").write_text("a,b\n" + "\n".join(f"{number},same" for number in range(9)))
    with pytest.raises(InputError, match="one class only"):
        open_tabular(tmp_path / "one.csv")
    monkeypatch.setenv("ORDINATE_DATA", str(tmp_path))
    with pytest.raises(MissingError, match="ordinate data get uci"):
        open_tabular("yacht")
