import pytest

from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.tasks.context_extension import ContextExtension, Extension


def test_the_base_is_one_for_all_arms_of_a_seed_and_arms_start_from_it() -> None:
    task = ContextExtension(16, multiples=(1, 2), steps=6, tuning_steps=3, batch_size=8, dim=16, depth=1, tested=4)
    run = Run(seed=0, setting=Setting())
    untouched = task.run(Arm("a", lambda: Extension(tuned=False)), run).metrics
    base = task._bases[0]
    assert task.run(Arm("b", lambda: Extension("linear", {"factor": 1.0}, tuned=False)), run).metrics == untouched
    task.run(Arm("c", lambda: Extension("xpos", {"scale_base": 500.0})), run)
    assert task._bases[0] is base
    assert task.run(Arm("a", lambda: Extension(tuned=False)), run).metrics == untouched, "tuning an arm leaves the base as it was"


def test_tuning_shrinks_the_scale_base_of_xpos_after_every_step() -> None:
    from ordinate.nn.rotary_scaling import XPos
    from ordinate.tasks.context_extension import _Shrinking

    rule = XPos(4, scale_base=200.0)
    _Shrinking(rule).update()
    assert float(rule.scale_base) == 192.0


def test_more_pairs_than_keys_are_refused() -> None:
    with pytest.raises(InputError, match="512"):
        ContextExtension(128)
