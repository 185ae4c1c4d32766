from dataclasses import replace

import pytest

from ordinate.ground.errors import InputError
from ordinate.train.epoch_recipe import EpochRecipe


def test_the_rate_is_held_and_then_divided_at_every_epoch() -> None:
    recipe = EpochRecipe(steps=50, lr=1.0, optimizer="sgd", epoch=10, held=2, factor=1.2)
    assert [recipe.rate(step) for step in (0, 9, 10, 19, 20, 29, 30, 49)] == pytest.approx(
        [1, 1, 1, 1, 1 / 1.2, 1 / 1.2, 1 / 1.2**2, 1 / 1.2**3]
    )
    assert replace(recipe, steps=5).rate(4) == 1 and recipe.to_json()["factor"] == 1.2


def test_it_comes_on_top_of_a_warm_up() -> None:
    recipe = EpochRecipe(steps=20, lr=2.0, warmup=4, epoch=5, held=0, factor=2.0)
    assert recipe.rate(0) == pytest.approx(2 / 4 / 2) and recipe.rate(12) == pytest.approx(2 / 8)


@pytest.mark.parametrize("wrong", [{"epoch": 0}, {"held": -1}, {"factor": 0.5}])
def test_what_is_no_schedule_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="an epoch has at least 1 step"):
        EpochRecipe(steps=5, **wrong)
    with pytest.raises(InputError, match="steps must be at least 1"):
        EpochRecipe(steps=0)
