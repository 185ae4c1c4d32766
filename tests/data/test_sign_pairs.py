import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.data.sign_pairs import sign_pairs
from ordinate.ground.errors import InputError


@given(st.integers(2, 9), st.data())
def test_positives_come_first_and_no_negative_is_a_row_with_its_own_partner(m: int, data: st.DataObject) -> None:
    negatives = data.draw(st.integers(1, m - 1))
    first = torch.arange(m).float()[:, None]
    one, other, signs = sign_pairs(first, first + 100, negatives=negatives, seed=data.draw(st.integers(0, 99)))
    assert one.shape == other.shape == (m * (1 + negatives), 1) and signs.dtype == torch.float32
    assert torch.equal(signs, (other - 100 == one)[:, 0].float())
    assert int(signs.sum()) == m
    pairs = list(zip(one[:, 0].tolist(), other[:, 0].tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)  # no negative twice
    for turn in range(1 + negatives):
        assert sorted(other[turn * m : (turn + 1) * m, 0].tolist()) == (first[:, 0] + 100).tolist()  # every partner as often


def test_images_keep_their_shape() -> None:
    one, other, _ = sign_pairs(torch.zeros(3, 1, 2, 2), torch.ones(3, 1, 2, 2))
    assert one.shape == other.shape == (6, 1, 2, 2)


def test_pairs_that_are_none_are_refused() -> None:
    for first, second, negatives in (
        (torch.zeros(3, 2), torch.zeros(4, 2), 1),
        (torch.zeros(1, 2), torch.zeros(1, 2), 1),
        (torch.zeros(3, 2), torch.zeros(3, 2), 3),
    ):
        with pytest.raises(InputError):
            sign_pairs(first, second, negatives=negatives)
