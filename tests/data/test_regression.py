from pathlib import Path

import pytest
import torch

from ordinate.data.regression import REGRESSIONS, SPLITS, open_regression
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs


def _write(folder: Path, data: str) -> None:
    place = folder / "uci" / "yacht"
    place.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("data", data),
        ("index_features", "0\n2\n"),
        ("index_target", "1\n"),
        ("index_train_3", "2\n0\n"),
        ("index_test_3", "1\n"),
    ):
        (place / f"{name}.txt").write_text(content)


def test_a_split_by_hand(tmp_path: Path) -> None:
    _write(tmp_path, "1 2 3\n4 5 6\n7 8 9\n")
    split = open_regression("yacht", 3, folder=tmp_path)
    assert split.train_x.tolist() == [[7, 9], [1, 3]] and split.train_y.tolist() == [8, 2]
    assert split.test_x.tolist() == [[4, 6]] and split.test_y.tolist() == [5]


@needs("uci")
@pytest.mark.parametrize("name", REGRESSIONS)
def test_the_named_problems(name: str) -> None:
    first, last = open_regression(name), open_regression(name, SPLITS - 1)
    rows = len(first.train_y) + len(first.test_y)
    assert len(last.train_y) + len(last.test_y) == rows and abs(len(first.test_y) / rows - 0.1) < 0.02
    assert torch.equal(torch.cat([first.train_y, first.test_y]).sort().values, torch.cat([last.train_y, last.test_y]).sort().values)


def test_what_is_not_as_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown regression problem"):
        open_regression("wine")
    with pytest.raises(InputError, match="numbered 0 to 19, not 20"):
        open_regression("yacht", 20)
    with pytest.raises(MissingError, match="ordinate data get uci"):
        open_regression("yacht", folder=tmp_path)
    _write(tmp_path, "1 2 x\n")
    with pytest.raises(InputError, match="not a table of numbers"):
        open_regression("yacht", 3, folder=tmp_path)
