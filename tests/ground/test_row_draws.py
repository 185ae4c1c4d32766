import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.ground.row_draws import row_normal, row_uniform


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 9))
def test_a_row_draws_the_same_alone_and_among_others(rows: list[int], count: int, seed: int) -> None:
    together = row_uniform(torch.tensor(rows), count, seed, "what for")
    for place, row in enumerate(rows):
        assert torch.equal(row_uniform(torch.tensor([row]), count, seed, "what for")[0], together[place])
    assert torch.equal(row_uniform(torch.tensor(rows), count + 3, seed, "what for")[:, :count], together)


def test_numbers_are_uniform_and_independent_of_neighbours() -> None:
    drawn = row_uniform(torch.arange(400), 500, 3)
    assert float(drawn.min()) > 0 and float(drawn.max()) < 1
    counts = torch.histc(drawn, 20, 0, 1)
    assert float(((counts - 10_000) ** 2 / 10_000).sum()) < 45  # chi square of 19 degrees: one in a thousand lies above 43.8
    centred = drawn - 0.5
    for neighbour in (centred.roll(1, 0), centred.roll(1, 1)):
        assert abs(float((centred * neighbour).mean() * 12)) < 0.01


def test_keys_and_rows_make_different_numbers() -> None:
    rows = torch.arange(3)
    assert not torch.equal(row_uniform(rows, 4, 0, "a"), row_uniform(rows, 4, 0, "b"))
    assert len(row_uniform(torch.arange(1000), 100).unique()) == 100_000


def test_normal_numbers_have_their_moments() -> None:
    drawn = row_normal(torch.arange(300), 300, "normal")
    assert abs(float(drawn.mean())) < 0.02 and abs(float(drawn.std()) - 1) < 0.02 and abs(float(drawn.pow(4).mean()) - 3) < 0.15


@pytest.mark.parametrize(("rows", "count"), [(torch.tensor([-1]), 1), (torch.tensor([1]), 0)])
def test_what_cannot_be_drawn_is_refused(rows: torch.Tensor, count: int) -> None:
    with pytest.raises(InputError, match="rows are counted from 0"):
        row_uniform(rows, count)
