import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.train.recipe import SCHEDULES, Recipe


@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.integers(1, 200),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_rates_rise_to_the_peak_and_never_exceed_it(schedule: str, steps: int, warm_share: float, final: float) -> None:
    recipe = Recipe(steps=steps, lr=0.5, schedule=schedule, warmup=int(warm_share * steps), final=final)
    rates = [recipe.rate(step) for step in range(steps)]
    assert all(0 <= rate <= 0.5 + 1e-12 for rate in rates)
    assert rates[: recipe.warmup] == sorted(rates[: recipe.warmup])
    assert rates[recipe.warmup :] == sorted(rates[recipe.warmup :], reverse=True)
    if recipe.warmup:
        assert rates[recipe.warmup - 1] == pytest.approx(0.5)


def test_schedules_at_known_points() -> None:
    assert Recipe(steps=100, lr=1.0).rate(50) == pytest.approx(0.5)
    assert Recipe(steps=100, lr=1.0, schedule="triangular").rate(25) == pytest.approx(0.75)
    stable = Recipe(steps=100, lr=1.0, schedule="wsd")
    assert stable.rate(79) == 1.0 and stable.rate(90) == pytest.approx(0.5)
    assert Recipe(steps=10, lr=1.0, schedule="constant").rate(9) == 1.0
    assert Recipe(steps=10, lr=1.0, warmup=4).rate(0) == 0.25


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"optimizer": "adam"},
        {"schedule": "cosin"},
        {"precision": "8"},
        {"warmup": 11},
        {"final": 2.0},
        {"weight_decay": -1.0},
        {"accumulate": 0},
        {"clip": 0.0},
        {"ema": 1.0},
        {"optimizer": "lbfgs", "clip": 1.0},
    ],
    ids=str,
)
def test_a_recipe_that_makes_no_sense_is_refused(bad: dict) -> None:
    with pytest.raises(InputError):
        Recipe(**{"steps": 10, **bad})
