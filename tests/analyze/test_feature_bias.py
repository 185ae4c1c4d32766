import math

import pytest
import torch
from torch import nn

from ordinate.analyze.capture import collect
from ordinate.analyze.feature_bias import BiasReport, FeatureBiasSuite, Moments
from ordinate.analyze.variance_explained import variance_explained
from ordinate.data.controlled.images import ControlledImages
from ordinate.data.controlled.vectors import ControlledFeatures, Majority, SumModulo, Unit
from ordinate.ground.errors import InputError
from ordinate.models.convnet import ConvNet
from ordinate.nn.perceptron import Perceptron
from ordinate.train.recipe import Recipe


def suite(**options: object) -> FeatureBiasSuite:
    given = {
        "make": lambda outputs: Perceptron(8, (16, 12), outputs),
        "data": ControlledFeatures([Unit(), Majority(3)], 8),
        "layers": ("hidden.0", "hidden.1"),
        "members": 2,
        "recipe": Recipe(steps=60, lr=1e-2, schedule="constant"),
        "examples": 500,
        "tested": 400,
        "batch_size": 64,
    }
    return FeatureBiasSuite(**{**given, **options})  # type: ignore[arg-type]


def test_easy_features_are_learnt_and_seen_at_every_layer_and_look() -> None:
    report = suite(every=20).run(seed=1)
    assert [each.step for each in report.moments] == [20, 40, 60]
    assert report.end.variance.shape == (2, 2, 2) and report.end.joint.shape == (2, 2)
    assert bool(report.mastered.all()) and len(report.ratios(0, 1)) == 2
    assert report.bias(0, 1).mean == pytest.approx(sum(report.ratios(0, 1)) / 2) and report.bias(0, 1).low == -math.inf
    document = report.to_json()
    assert document["mastered"] == [True, True] and len(document["moments"]) == 3


def test_what_is_reported_is_what_the_models_show() -> None:
    data = ControlledFeatures([Unit(), Majority(3)], 8)
    report = suite(data=data).run()
    test = data.sample(400, train=False)
    phi = collect(report.models[1], ["hidden.1"], [test.x])["hidden.1"]
    found = variance_explained(phi[:200], test.features[:200], phi[200:], test.features[200:])
    torch.testing.assert_close(report.end.variance[1, 1], found.per_feature, rtol=1e-5, atol=1e-6)
    right = ((report.models[1](test.x) > 0).long() == test.features).double().mean(dim=0)
    torch.testing.assert_close(report.end.accuracy[1], right)


def test_networks_trained_together_and_one_after_another_are_alike() -> None:
    one, other = suite(recipe=Recipe(steps=5)).run(), suite(recipe=Recipe(steps=5), together=False).run()
    torch.testing.assert_close(one.end.variance, other.end.variance, rtol=1e-3, atol=1e-4)


def test_what_has_no_weight_is_not_learnt_and_stages_teach_in_turn() -> None:
    alone = suite(weights=(1.0, 0.0)).run()
    assert bool((alone.end.accuracy[:, 0] > 0.99).all()) and bool((alone.end.accuracy[:, 1] < 0.9).all())
    staged = suite(stages=((30, (1.0, 0.0)),), every=30, recipe=Recipe(steps=90, lr=1e-2, schedule="constant")).run()
    assert bool((staged.moments[0].accuracy[:, 1] < 0.8).all()) and float(staged.moments[-1].accuracy[:, 1].min()) > 0.9


def test_features_of_many_classes_and_networks_with_batch_statistics() -> None:
    many = suite(data=ControlledFeatures([Unit(), SumModulo(3, 3)], 8), members=1, recipe=Recipe(steps=150, lr=2e-2)).run()
    assert float(many.end.accuracy[0, 0]) > 0.95 and float(many.end.accuracy[0, 1]) > 0.6
    images = suite(
        make=lambda outputs: ConvNet(outputs, 8, 3, 4, 2, num_features=8),
        data=ControlledImages({"color": 2, "shape": 2}, 8),
        layers=("body",),
        pool="space",
        recipe=Recipe(steps=20, lr=1e-2),
        examples=60,
        tested=60,
        batch_size=16,
    ).run()
    assert float(images.end.accuracy[:, 0].mean()) > 0.9 and images.end.variance.shape == (2, 1, 2)


def made(accuracy: list[list[float]], variance: list[list[float]], steps: int = 10) -> Moments:
    parts = torch.tensor(variance, dtype=torch.float64)[:, None]
    total = torch.full(parts.shape[:2], float(steps), dtype=torch.float64)
    return Moments(
        steps,
        torch.tensor(accuracy, dtype=torch.float64),
        parts,
        parts,
        parts.sum(dim=2),
        total,
        torch.zeros(parts.shape, dtype=torch.int64),
    )


def test_ratios_are_of_networks_that_mastered_everything_and_early_is_before() -> None:
    moments = (made([[1.0, 0.5], [1.0, 0.6]], [[0.8, 0.0], [0.9, 0.0]], 10), made([[1.0, 1.0], [1.0, 0.7]], [[0.4, 0.2], [0.9, 0.1]], 20))
    report = BiasReport(("last",), moments, (nn.Identity(), nn.Identity()))
    assert report.mastered.tolist() == [True, False] and report.ratios(0, 1) == pytest.approx([2.0])
    assert report.before_learning(0, 1) == pytest.approx([0.8, 0.9])
    assert report.curve(0) == [(10.0, pytest.approx(0.85)), (20.0, pytest.approx(0.65))]
    assert report.curve(0, fixed=True)[0] == (10.0, pytest.approx(0.425))
    with pytest.raises(InputError, match=r"no network has learnt every feature to 0.99: the best has 0.700"):
        BiasReport(("last",), (made([[1.0, 0.7]], [[0.9, 0.1]]),), (nn.Identity(),)).bias(0, 1)
    assert math.isnan(BiasReport(("last",), (made([[1.0, 1.0]], [[0.9, 0.1]]),), (nn.Identity(),)).before_learning(0, 1)[0])


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="no module 'penultimate'"):
        suite(layers=("penultimate",)).run()
    with pytest.raises(InputError, match="at least one network"):
        suite(members=0).run()
    with pytest.raises(InputError, match="pool it first"):
        suite(
            make=lambda outputs: ConvNet(outputs, 8, 3, 4, 2),
            data=ControlledImages({"color": 2, "shape": 2}, 8),
            layers=("body.0",),
            pool=lambda activation: activation,
            recipe=Recipe(steps=1),
            examples=20,
            tested=20,
        ).run()
