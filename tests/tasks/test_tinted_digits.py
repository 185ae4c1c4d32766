import pytest

from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Run
from ordinate.ground.errors import InputError
from ordinate.tasks.tinted_digits import Shift, TintedDigits, _environments

SHIFT = Shift("digits", images=100, tested=60, width=8, steps=20, batch_size=32)


def test_environments_have_their_rows_and_a_fifth_is_held_out() -> None:
    found = _environments(SHIFT)
    assert [len(each) for each in (found.train, found.held_out, found.between, found.shifted)] == [160, 40, 60, 60]
    assert found.train.tensors["image"].shape[1] == 2 and found.train.tensors["environment"].bincount().tolist() == [80, 80]


def test_metrics_are_means_over_runs_of_other_members_which_the_notes_hold() -> None:
    task = TintedDigits(SHIFT, 2, pool=5)
    one, cat = (task.run(task.arm(name), Run(0, Setting())) for name in ("one", "cat-2"))
    assert set(one.metrics) == {metric.name for metric in task.metrics} == set(cat.metrics)
    for name, value in one.metrics.items():
        assert len(one.notes["each"][name]) == 5 and len(cat.notes["each"][name]) == 2
        assert value == pytest.approx(sum(one.notes["each"][name]) / 5)
    assert cat.parameters == 2 * (one.parameters or 0)


def test_unknown_arms_and_too_few_members_are_one_line() -> None:
    with pytest.raises(InputError, match="of 2 members"):
        TintedDigits(SHIFT, 3, pool=2)
    task = TintedDigits(SHIFT, 2)
    for name in ("cat-3", "wide-2", "cat"):
        with pytest.raises(InputError, match="it has one, and cat-2"):
            task.arm(name)
