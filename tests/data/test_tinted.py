import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.data.tinted import tinted
from ordinate.ground.errors import InputError

LABELS = torch.arange(40) % 4


@given(st.floats(0, 1), st.integers(4, 9))
def test_grounds_stay_in_range_and_digits_stay_on_top(share: float, side: int) -> None:
    images = torch.rand(40, 1, side, side, generator=torch.Generator().manual_seed(side))
    found = tinted(images, LABELS, share, classes=4)
    assert found.shape == (40, 2, side, side)
    assert bool((found >= images).all()) and float(found.max()) <= 1.0


def test_the_ground_tells_the_half_and_in_the_other_share_its_opposite() -> None:
    dark = torch.zeros(40, 1, 8, 8)
    for share, first in ((0.0, LABELS >= 2), (1.0, LABELS < 2)):
        bright = tinted(dark, LABELS, share, classes=4).mean(dim=(2, 3))
        assert torch.equal(bright[:, 0] > bright[:, 1], first)


def test_about_the_share_is_turned_round_and_a_seed_decides_which() -> None:
    dark, labels = torch.zeros(4000, 1, 4, 4), torch.zeros(4000, dtype=torch.int64)
    turned = [tinted(dark, labels, 0.3, classes=2, seed=seed).mean(dim=(2, 3))[:, 0] > 0 for seed in (0, 0, 1)]
    assert 0.27 < turned[0].float().mean() < 0.33
    assert torch.equal(turned[0], turned[1]) and not torch.equal(turned[0], turned[2])


def test_what_is_wrong_is_one_line() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        tinted(torch.zeros(2, 1, 4, 4), LABELS[:2], 1.5, classes=4)
    with pytest.raises(InputError, match="2 images and 40 labels"):
        tinted(torch.zeros(2, 1, 4, 4), LABELS, 0.5, classes=4)
