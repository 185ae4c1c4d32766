import pytest

from ordinate.models.hornet_recipes import RECIPES, RECIPES_22K, RECIPES_384
from ordinate.models.registry import list_models


def test_every_recipe_is_of_a_published_network() -> None:
    assert {*RECIPES, *RECIPES_22K, *RECIPES_384} <= set(list_models("hornet-*"))


@pytest.mark.parametrize("name", list(RECIPES))
def test_the_rate_warms_up_and_ends_at_a_millionth(name: str) -> None:
    recipe = RECIPES[name].recipe
    assert recipe.steps == 300 * 312 and recipe.warmup == 20 * 312
    assert recipe.rate(recipe.warmup) == pytest.approx(4e-3)
    assert recipe.rate(recipe.steps - 1) == pytest.approx(1e-6, rel=1e-2)


def test_filters_are_clipped_harder() -> None:
    assert [RECIPES[name].recipe.clip for name in RECIPES] == [100, 1, 5, 1, 5, 1]
    assert all(recipe.recipe.clip == 1 for name, recipe in (RECIPES | RECIPES_22K | RECIPES_384).items() if "gf" in name)


def test_fine_tuning_decays_by_layer_and_mixes_nothing() -> None:
    recipe = RECIPES_384["hornet-large-gf-384"]
    assert (recipe.layer_decay, recipe.mixup, recipe.cutmix, recipe.image_size) == (0.7, 0, 0, 384)
