import pytest
import torch

from ordinate.data.planar import Hull, answer_lengths
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Run
from ordinate.ground.errors import InputError
from ordinate.tasks.input_orders import ByAngle, InputOrders, by_angle

SETTING = Setting(seeds=(0,), steps=4)


def small() -> InputOrders:
    return InputOrders(5, steps=4, count=40, tested=10, batch_size=8, hidden=8)


@pytest.mark.parametrize("name", ["pointer", "pointer-by-angle", "process-1-glimpse", "process-0"])
def test_every_arm_is_trained_and_scored(name: str) -> None:
    task = small()
    outcome = task.run(task.arm(name), Run(0, SETTING))
    assert {metric.name for metric in task.metrics} == outcome.metrics.keys() and len(outcome.curves["loss"]) == 4


def test_sorted_points_are_the_same_points_and_their_hulls_run_upwards() -> None:
    given, turned = (task.instances.training(0) for task in (small().drawn, small().sorted))
    assert torch.equal(given.points.sort(dim=1).values, turned.points.sort(dim=1).values)
    for target, length in zip(turned.targets, answer_lengths(turned.targets).tolist(), strict=True):
        assert (target[:length].diff() > 0).all()
    test = ByAngle(Hull(), (5, 5), 40, 10, (5,)).test("5")
    assert len(test) == 10 and torch.equal(test.points, by_angle(test.points))


def test_sizes_by_name_and_what_is_refused() -> None:
    assert InputOrders.from_data("hull:6", SETTING).drawn.instances.largest == 6
    assert InputOrders.from_data(None, SETTING).drawn.instances.largest == 8
    for data in ("hull:2", "tsp:5", "hull:5-8"):
        with pytest.raises(InputError, match="hulls of how many points"):
            InputOrders.from_data(data, SETTING)
    with pytest.raises(InputError, match="unknown arm 'process'"):
        small().arm("process")
