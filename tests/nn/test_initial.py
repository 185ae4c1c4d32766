import pytest
from torch import nn

from ordinate.nn.initial import draw_weights


@pytest.mark.parametrize(("std", "expected"), [(0.02, (0.02, 0.02)), (None, (0.1, 1 / 7))])
def test_weights_are_drawn_by_a_number_or_by_their_fan_in(std: float | None, expected: tuple[float, float]) -> None:
    linear, depthwise, norm = nn.Linear(100, 200), nn.Conv2d(300, 300, 7, groups=300), nn.LayerNorm(3)
    nn.init.constant_(norm.weight, 5)
    draw_weights(nn.Sequential(linear, depthwise, norm), std)
    assert (linear.weight.std().item(), depthwise.weight.std().item()) == pytest.approx(expected, rel=0.05)
    assert not linear.bias.any() and not depthwise.bias.any() and (norm.weight == 5).all()
