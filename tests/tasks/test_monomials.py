import pytest
import torch
from torch import nn

from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.tasks.monomials import MARGIN, OFFSETS, Monomials, products_of_taps


def run(task: Monomials, make, seed: int = 0) -> dict[str, float]:
    return task.run(Arm("arm", make), Run(seed, Setting(seeds=(seed,)))).metrics


def test_a_target_is_the_product_of_its_taps() -> None:
    x = torch.randn(2, 3, 9, 10)
    y = products_of_taps(x)
    assert y.shape == (2, 1, 3, 4)
    row, column = MARGIN + 1, MARGIN + 2
    expected = torch.ones(2)
    for channel, (down, right) in enumerate(OFFSETS[:3]):
        expected = expected * x[:, channel, row + down, column + right]
    torch.testing.assert_close(y[:, 0, 1, 2], expected)


def test_offsets_lie_in_the_window_and_differ() -> None:
    assert OFFSETS[0] == (0, 0) and len(set(OFFSETS)) == len(OFFSETS)
    assert all(abs(down) <= MARGIN and abs(right) <= MARGIN for down, right in OFFSETS)


class Oracle(nn.Module):
    """The product itself, at every pixel far enough from the edge, times a weight that starts at 1."""

    def __init__(self, channels: int, factors: int) -> None:
        super().__init__()
        self.weight, self.factors = nn.Parameter(torch.ones(())), factors

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * nn.functional.pad(products_of_taps(x[:, : self.factors]), (MARGIN,) * 4)


def test_the_product_explains_everything_and_fewer_factors_nothing() -> None:
    task = Monomials(3, steps=2, images=4, lr=1e-6)
    assert run(task, lambda channels: Oracle(channels, 3))["r2"] == pytest.approx(1, abs=1e-6)
    assert run(task, lambda channels: Oracle(channels, 2))["r2"] < 0


def test_a_run_is_a_function_of_its_seed() -> None:
    task = Monomials(2, steps=3, images=4)

    def make(channels: int) -> nn.Module:
        return nn.Conv2d(channels, 1, 7, padding=3)

    assert run(task, make) == run(task, make) != run(task, make, seed=1)


@pytest.mark.parametrize("degree", [1, 6])
def test_other_degrees_are_refused(degree: int) -> None:
    with pytest.raises(InputError, match="between 2 and 5"):
        Monomials(degree)
