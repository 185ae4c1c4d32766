from pathlib import Path

import pytest
import torch

from ordinate.data.interactions import open_interactions
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs


def _write(folder: Path, inter: str, item: str | None = None) -> Path:
    (folder / "toy.inter").write_text(inter)
    if item is not None:
        (folder / "toy.item").write_text(item)
    return folder


def test_numbers_names_and_histories(tmp_path: Path) -> None:
    inter = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n10\tb\t5\t30\n9\ta\t3\t10\n10\ta\t4\t20\n"
    item = "item_id:token\ttitle:token_seq\nc\tNobody's\nb\t\"Quoted\n"
    found = open_interactions(_write(tmp_path, inter, item))
    assert found.users == ["9", "10"] and found.items == ["a", "b"], "numbers are ordered as numbers"
    assert found.user.tolist() == [1, 0, 1] and found.item.tolist() == [1, 0, 0]
    assert found.rating.tolist() == [5, 3, 4] and len(found) == 3
    assert [history.tolist() for history in found.histories()] == [[0], [0, 1]], "in the order of time"
    assert found.item_fields == {"title": ["", '"Quoted']} and found.user_fields == {}


def test_ratings_and_times_may_be_missing(tmp_path: Path) -> None:
    found = open_interactions(_write(tmp_path, "user_id:token\titem_id:token\nu\ti\nu\tj\n"))
    assert found.rating.tolist() == [1, 1] and found.histories()[0].tolist() == [0, 1]


@needs("ml-100k")
def test_movielens() -> None:
    found = open_interactions()
    assert (len(found), len(found.users), len(found.items)) == (100_000, 943, 1682)
    assert found.item_fields["movie_title"][0] == "Toy Story" and found.user_fields["occupation"][0] == "technician"
    assert found.rating.unique().tolist() == [1, 2, 3, 4, 5]
    histories = found.histories()
    assert min(map(len, histories)) == 20 and torch.cat(histories).bincount().sum() == 100_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a tab separated table"),
        ("user_id:token\titem_id:token\n", "no rows"),
        ("user_id:token\tfilm:token\nu\ti\n", "no column item_id: it has user_id, film"),
        ("user_id:token\titem_id:token\nu\n", "line 2 has 1 columns where the header has 2"),
        ("user_id:token\titem_id:token\trating:float\nu\ti\tgood\n", "a rating that is no number"),
    ],
)
def test_files_that_are_not_as_they_should_be(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_interactions(_write(tmp_path, text))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"one \.inter file, not 0"):
        open_interactions(tmp_path)
    with pytest.raises(InputError, match="did you mean ml-100k"):
        open_interactions("ml-1m")
    with pytest.raises(MissingError, match="ordinate data get ml-100k"):
        open_interactions(folder=tmp_path)
    _write(tmp_path, "user_id:token\titem_id:token\nu\ti\n", "film:token\nx\n")
    with pytest.raises(InputError, match="no column item_id"):
        open_interactions(tmp_path)
