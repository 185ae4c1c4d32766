import math

import pytest

from ordinate.data.controlled.sequences import Occurs
from ordinate.data.controlled.vectors import Majority, Parity, Unit
from ordinate.experiment.comparison import Comparison
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.tasks.feature_bias import FeatureBias, TaughtAlone
from ordinate.tasks.feature_plans import image_plan, sequence_plan, vector_plan
from ordinate.train.recipe import Recipe

RUN = Run(0, Setting())


def task(names: tuple[str, ...] = ("easy", "hard"), **options: object) -> FeatureBias:
    given = {"examples": 1_000, "tested": 400, "members": 2, "batch_size": 64}
    return FeatureBias(Recipe(steps=80, lr=1e-2, schedule="constant"), names, **{**given, **options})  # type: ignore[arg-type]


def test_two_features_are_measured_and_intervened_on() -> None:
    measured = task(every=40, interventions=True)
    arm = Arm("units", lambda: vector_plan([Unit(), Majority(3)], hidden=(24, 12)))
    (row,) = Comparison("tiny", measured, [arm]).run(Setting(seeds=(0,))).rows
    assert row.metrics.keys() == {metric.name for metric in measured.metrics}
    assert all(math.isfinite(value) for value in row.metrics.values())
    assert row.metrics["R2 easy"] + row.metrics["R2 hard"] == pytest.approx(row.metrics["joint"], abs=3)
    assert row.metrics["accuracy easy"] > 95 and row.metrics["flips own"] > 90
    assert [step for step, _ in row.curves["R2 easy"]] == [40, 80] and "interventions" in row.notes
    assert row.parameters == 33 * 24 + 25 * 12 + 13 * 2


def test_a_run_is_a_function_of_its_seed() -> None:
    arm = Arm("units", lambda: vector_plan([Unit(), Unit()], hidden=(8,)))
    one, same, other = (task().run(arm, Run(seed, Setting())).metrics for seed in (0, 0, 1))
    assert one == same != other


def test_what_was_not_learnt_is_told() -> None:
    outcome = task(every=40).run(Arm("parity", lambda: vector_plan([Unit(), Parity(4)], hidden=(8,))), RUN)
    assert (
        outcome.metrics["mastered"] == 0
        and outcome.metrics["accuracy hard"] < 75 < outcome.metrics["accuracy easy"]
        and outcome.metrics["early"] > 1
    )


def test_decoders_and_images_are_measured_alike() -> None:
    decoder = task(("one", "other"), members=1, mastery=0.5).run(
        Arm("decoder", lambda: sequence_plan([Occurs(0), Occurs(1)], (1, 0), length=4, alphabet=4, dim=16, depth=1)), RUN
    )
    assert decoder.metrics["accuracy one"] > 55 and 0 < decoder.metrics["joint"] <= 100
    small = task(("color", "shape", "texture"), members=1, examples=100, tested=60, batch_size=16, mastery=0.2)
    for network in ("convnet", "resnet"):
        metrics = small.run(Arm(network, lambda network=network: image_plan(network, classes=2, size=8, width=4)), RUN).metrics
        assert metrics["accuracy color"] > 80 and {"R2 texture", "dense shape"} <= metrics.keys()


def test_networks_of_both_are_held_against_networks_of_one() -> None:
    alone = TaughtAlone(Recipe(steps=80, lr=1e-2, schedule="constant"), examples=1_000, members=1, batch_size=64)
    metrics = alone.run(Arm("units", lambda: vector_plan([Unit(), Unit()], hidden=(16,))), RUN).metrics
    assert metrics.keys() == {metric.name for metric in alone.metrics} and metrics["rsa both"] == 1.0
    assert metrics["rsa first"] > 0.2 and metrics["rsa second"] > 0.2 and metrics["least accuracy"] > 95


def test_what_a_recipe_hasn_t_is_refused() -> None:
    with pytest.raises(InputError, match="arm 'x'"):
        task().run(Arm("x", lambda: vector_plan([Unit(), Unit()]), recipe={"speed": 3}), RUN)
