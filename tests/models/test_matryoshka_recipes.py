import pytest

from ordinate.models.matryoshka_recipes import RECIPES, SIDES
from ordinate.models.registry import list_models


def test_the_rate_peaks_after_two_epochs_and_falls_to_nothing() -> None:
    assert RECIPES.keys() <= set(list_models())
    published = RECIPES["resnet50-blurpool"]
    recipe, epoch = published.recipe, 1_281_167 // published.batch_size
    rates = [recipe.rate(step) for step in range(0, recipe.steps, epoch // 4)]
    assert recipe.steps == 40 * epoch and max(rates) <= 0.475 == pytest.approx(recipe.rate(2 * epoch))
    assert recipe.rate(recipe.steps - 1) < 1e-4 and published.image_size == SIDES[1]
