import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.nn.drop_path import DropPath, rising_rates


def test_whole_samples_are_dropped_and_the_mean_is_kept() -> None:
    y = DropPath(0.25)(torch.ones(4000, 2, 3))
    assert set(y.unique().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert torch.equal(y.amin(dim=(1, 2)), y.amax(dim=(1, 2)))
    assert abs(y.mean().item() - 1) < 0.05


def test_nothing_is_dropped_outside_training_or_at_rate_0() -> None:
    x = torch.randn(8, 3)
    assert DropPath(0.5).eval()(x) is x
    assert DropPath(0.0)(x) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_is_a_probability_below_1(rate: float) -> None:
    with pytest.raises(InputError, match=r"lies in \[0, 1\)"):
        DropPath(rate)


def test_rates_rise_linearly() -> None:
    assert rising_rates(0.4, 5) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert rising_rates(0.4, 1) == [0.0] and rising_rates(0.4, 0) == []
