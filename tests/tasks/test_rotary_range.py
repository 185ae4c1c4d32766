import pytest

from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.nn.rotary import Rotary
from ordinate.nn.rotary_scaling import DynamicNtkRotary, ScaledRotary
from ordinate.tasks.rotary_range import RotaryRange


def unseen(rule: Rotary, multiple: int) -> float:
    task = RotaryRange(8, 10, (multiple,))
    return task.run(Arm("rule", lambda: rule), Run(seed=0, setting=Setting())).metrics[f"unseen@{multiple}"]


def test_plain_positions_ask_for_new_angles_where_a_pair_has_not_turned_round() -> None:
    assert unseen(Rotary(8), 1) == 0
    assert unseen(Rotary(8), 2) == 75  # of the rates 1, 0.1, 0.01 and 0.001 the first has turned round within 10 positions
    assert unseen(ScaledRotary(8, factor=4.0), 4) == 0
    assert unseen(ScaledRotary(8, factor=2.0), 4) == 75
    assert 0 < unseen(DynamicNtkRotary(8, train_length=10), 4) < 75


def test_bad_ranges_are_one_line() -> None:
    for length, multiples in ((10, ()), (1, (2,))):
        with pytest.raises(InputError, match="multiple"):
            RotaryRange(8, length, multiples)
