import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.data.streams import Streams
from ordinate.ground.errors import InputError


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 20), st.integers(0, 3))
def test_stretches_follow_each_other_and_targets_are_one_later(rows: int, length: int, more: int, epochs: int) -> None:
    ids = torch.arange(rows * length + 1 + more)
    streams = Streams(ids, rows, length)
    each = (len(ids) - 1) // rows
    for step in range(streams.stretches * (epochs + 1)):
        batch = streams(step)
        place = step % streams.stretches
        assert batch["input"].shape == (rows, length) and torch.equal(batch["target"], batch["input"] + 1)
        assert batch["input"][:, 0].tolist() == [row * each + place * length for row in range(rows)]
        assert bool(batch["fresh"].all()) == (place == 0) == bool(batch["fresh"].any())
    assert streams.stretches * length <= each < (streams.stretches + 1) * length


def test_processes_share_the_streams() -> None:
    streams = Streams(torch.arange(100), 4, 5)
    parts = [streams(3, rank, 2) for rank in (0, 1)]
    assert torch.equal(torch.cat([part["input"] for part in parts]), streams(3)["input"])
    with pytest.raises(InputError, match="4 streams cannot be divided among 3"):
        streams(0, 0, 3)


def test_texts_that_are_too_short_are_refused() -> None:
    for rows, length in ((0, 5), (2, 0), (4, 25), (200, 1)):
        with pytest.raises(InputError, match="a text of 100 symbols does not fill"):
            Streams(torch.arange(100), rows, length)
    assert Streams(torch.arange(101), 4, 25).stretches == 1
