import pytest
import torch

from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Run
from ordinate.ground.errors import InputError
from ordinate.tasks.smooth_functions import TARGETS, SmoothFunctions


def run(seed: int = 0) -> Run:
    return Run(seed=seed, setting=Setting(), folder=None)


@pytest.mark.parametrize("target", TARGETS)
def test_errors_fall_with_the_width_and_come_again(target: str) -> None:
    task = SmoothFunctions(target, (2, 8, 20), steps=30, starts=1)
    metrics = task.run(task.arm("tanh"), run()).metrics
    assert metrics["error@20"] < metrics["error@8"] < metrics["error@2"] < 1.2
    assert metrics["slope"] < -0.5
    assert task.run(task.arm("tanh"), run()).metrics == metrics
    assert task.run(task.arm("tanh"), run(1)).metrics != metrics


def test_what_a_unit_can_be_is_found() -> None:
    task = SmoothFunctions("wave", (1, 2, 3), steps=5, starts=1)
    task.function = lambda x: 3 * x[:, 0] - 2  # two ReLUs are a line, and one with a bias nearly so
    assert task.run(task.arm("relu"), run()).metrics["error@3"] < 0.3
    task.function = lambda x: x[:, 0] ** 3
    assert task._error(task.arm("polyrelu").make, 24, run()) < 1e-2


def test_bad_requests_are_one_line() -> None:
    with pytest.raises(InputError, match="target"):
        SmoothFunctions("step", (1, 2, 3))
    for widths in ((1, 2), (3, 2, 1), (0, 1, 2)):
        with pytest.raises(InputError, match="widths"):
            SmoothFunctions("wave", widths)
    with pytest.raises(InputError, match="activation"):
        SmoothFunctions("wave", (1, 2, 3)).arm("swoosh").make()
    assert torch.isfinite(TARGETS["bump"][1](torch.zeros(1, 2))).all()
