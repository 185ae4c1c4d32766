import pytest
import torch

from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Run
from ordinate.ground.errors import InputError
from ordinate.tasks.positions import Positions, position_batch


def test_targets_by_hand() -> None:
    batch = position_batch("etp", 4, 6, 9, torch.Generator().manual_seed(0))
    assert torch.equal(batch["target"][:, :3], batch["input"][:, [1, 3, 5]])
    assert (batch["target"][:, 3:] == 9).all()
    assert torch.equal(position_batch("pi", 2, 5, 9, torch.Generator())["target"], torch.arange(5).expand(2, -1))


def test_absolute_positions_solve_it_at_once_and_a_model_without_any_stays_at_chance() -> None:
    task = Positions("pi", 6, steps=80, batch_size=32, dim=16, depth=1, heads=2, lr=1e-2, tested=128)
    run = Run(seed=0, setting=Setting())
    assert task.run(task.arm("absolute"), run).metrics["accuracy"] > 95
    none = task.run(task.arm("none"), run).metrics
    assert none["accuracy"] < 40
    assert none["apart"] < 1e-5


def test_bad_requests_are_one_line() -> None:
    with pytest.raises(InputError, match="even"):
        Positions("etp", 7)
    with pytest.raises(InputError, match="kind"):
        Positions("where", 8)
    with pytest.raises(InputError, match="positions"):
        Positions("pi", 8).arm("gps")
    with pytest.raises(InputError, match="etp:16"):
        Positions.from_data("etp:long", Setting())
    assert Positions.from_data("etp:12", Setting()).length == 12
