"""Updates of a model on small streams, and what their arms differ in."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ordinate.data.class_splits import labels_of
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Run
from ordinate.ground.errors import InputError, MissingError
from ordinate.models.mlp import MLP
from ordinate.objectives.stationary import FrozenEmbedding
from ordinate.tasks import compatible_updates
from ordinate.tasks.compatible_updates import CompatibleUpdates, FeatureDistillation, Updating, paired_retrieval
from ordinate.tasks.update_streams import Cifar, TurnedDigits
from ordinate.train.recipe import Recipe

SEQUENTIAL: dict[str, Any] = {"scenario": "sequential", "groups": (2, 1), "images": (20, 12), "unseen": 2, "symmetries": 1, "quota": 3}


def _streams(**changes: Any) -> TurnedDigits:
    return TurnedDigits(**{**SEQUENTIAL, "tested": 3, "data": "digits", **changes})


def _task(**changes: Any) -> CompatibleUpdates:
    return CompatibleUpdates(_streams(**changes), partial(MLP, hidden=(6,)), 8, recipe=Recipe(steps=2, lr=1e-2), batch_size=8)


def test_a_stream_is_the_seed_s_and_its_classes_do_not_meet() -> None:
    stream = _streams(published=((1, 3, 15),)).draw(4, None)
    again = _streams(published=((1, 3, 15),)).draw(4, None)
    first, second = stream.stages
    assert (first.classes, second.classes) == (2, 3) and second.published is not None and second.published.classes == 3
    assert set(labels_of(first.train).tolist()) == {0, 1} and set(labels_of(second.train).tolist()) == {2}
    assert torch.equal(first.train.take(torch.arange(20))["image"], again.stages[0].train.take(torch.arange(20))["image"])
    for queries, gallery in stream.tests.values():
        asked, stored = (source.take(torch.arange(len(source))) for source in (queries, gallery))
        assert set(asked["label"].tolist()) == set(stored["label"].tolist())
        same = (asked["image"].flatten(1)[:, None] == stored["image"].flatten(1)).all(dim=2)
        assert not same.any()
    other = _streams().draw(5, None)
    assert not torch.equal(first.train.take(torch.arange(20))["image"], other.stages[0].train.take(torch.arange(20))["image"])


def test_retraining_takes_all_classes_so_far_and_more_images_each_time() -> None:
    stream = _streams(scenario="retrain", groups=(2, 1, 0), images=(10, 20, 30)).draw(0, None)
    assert [len(stage.train) for stage in stream.stages] == [10, 20, 30] and [stage.classes for stage in stream.stages] == [2, 3, 3]
    assert stream.from_scratch and set(labels_of(stream.stages[1].train).tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    "scenario", [{}, {"scenario": "retrain", "images": (20, 40)}, {"scenario": "replacement", "published": ((1, 3, 15),)}]
)
@pytest.mark.parametrize("arm", ["hoc", "simplex", "learnable", "distilled"])
def test_every_arm_runs_every_scenario(scenario: dict[str, Any], arm: str) -> None:
    task = _task(**scenario)
    outcome = task.run(task.arm(arm), Run(0, Setting()))
    again = task.run(task.arm(arm), Run(0, Setting()))
    assert outcome.metrics == again.metrics
    assert {metric.name for metric in task.metrics} <= outcome.metrics.keys()
    assert ("best jump open" in outcome.metrics) == (scenario.get("scenario") == "replacement")
    matrix = torch.tensor(outcome.notes["matrix open"])
    assert matrix.shape == (2, 2) and matrix[0, 1] == 0 and len(outcome.curves["AA open by version"]) == 2


def _seen(monkeypatch: pytest.MonkeyPatch, arm: str, **changes: Any) -> list[tuple[nn.Module, Any, Any]]:
    """Model, objective and batches of every training in a run."""
    found: list[tuple[nn.Module, Any, Any]] = []
    train: Callable[..., Any] = compatible_updates.train_arm

    def noted(model: nn.Module, objective: Any, batches: Any, *others: Any) -> Any:
        found.append((model, objective, batches))
        return train(model, objective, batches, *others)

    monkeypatch.setattr(compatible_updates, "train_arm", noted)
    task = _task(**changes)
    task.run(task.arm(arm), Run(0, Setting()))
    return found


def test_the_previous_version_teaches_and_at_a_replacement_the_replacement_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = _seen(monkeypatch, "hoc")
    assert first[1].previous is None and isinstance(second[1].previous, FrozenEmbedding) and first[0] is second[0]
    first, published, second = _seen(monkeypatch, "hoc", scenario="replacement", published=((1, 3, 15),))
    assert second[0] is published[0] and second[0] is not first[0] and second[1].previous is not None
    assert published[1].head.places.tolist() == [0, 1, 2] and second[1].head.places.tolist() == list(reversed(range(8)))


def test_the_cross_entropy_alone_has_no_teacher_and_retraining_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(objective.previous is None for _, objective, _ in _seen(monkeypatch, "simplex"))
    models = [model for model, _, _ in _seen(monkeypatch, "hoc", scenario="retrain", images=(20, 40))]
    assert models[0] is not models[1]


def test_later_versions_rehearse_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    _, (_, _, batches) = _seen(monkeypatch, "simplex")
    labels = batches(0)["label"]
    assert (labels[:4] == 2).all() and (labels[4:] < 2).all()


def test_a_learnable_classifier_grows_and_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MLP(num_classes=2, image_size=4, hidden=[3], num_features=4)
    before = model.head.weight.detach().clone()
    compatible_updates._grow_head(model, 5, 2, 0)
    assert model.num_classes == 5 and torch.equal(model.head.weight[:2], before) and model(torch.randn(1, 1, 4, 4)).shape == (1, 5)
    trained = _seen(monkeypatch, "learnable")
    assert trained[-1][0].num_classes == 3


def test_distillation_adds_the_distance_to_the_version_before() -> None:
    model = MLP(num_classes=2, image_size=4, hidden=[3], num_features=4)
    batch = {"image": torch.randn(6, 1, 4, 4), "label": torch.arange(6) % 2}
    same = FeatureDistillation(FrozenEmbedding(model), 3.0)(model, batch)
    plain = nn.functional.cross_entropy(model(batch["image"]), batch["label"])
    torch.testing.assert_close(same, plain)
    other = MLP(num_classes=2, image_size=4, hidden=[3], num_features=4)
    away = nn.functional.mse_loss(model.embed(batch["image"]), other.embed(batch["image"]))
    torch.testing.assert_close(FeatureDistillation(FrozenEmbedding(other), 3.0)(model, batch), plain + 3 * away)


def test_images_are_found_again_among_features_that_did_not_move() -> None:
    unit = nn.functional.normalize(torch.randn(20, 5), dim=1)
    assert paired_retrieval(unit, unit) == 1.0 and paired_retrieval(unit.roll(1, 0), unit) == 0.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scenario": "stream"}, "unknown scenario"),
        ({"unseen": 9}, "12 classes are needed"),
        ({"images": (20,)}, "new classes and of images"),
        ({"groups": (0, 1)}, "at least one class"),
    ],
)
def test_streams_that_cannot_be_are_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        _streams(**changes)


def test_too_few_images_and_unknown_arms_are_one_line() -> None:
    with pytest.raises(InputError, match="900 images of 2 classes"):
        _streams(images=(900, 10)).draw(0, None)
    with pytest.raises(InputError, match="unknown arm"):
        _task().arm("frozen")
    with pytest.raises(InputError, match="unknown classifier"):
        Updating("cosine")
    with pytest.raises(InputError, match="distil"):
        Updating("learnable", distil=-1.0)


def test_the_paper_s_own_protocol_says_what_is_absent(tmp_path: Path) -> None:
    assert "7 versions" in Cifar().title and "31 versions" in Cifar(step=3).title
    with pytest.raises(MissingError, match=r"cifar100/train\.parquet"):
        Cifar().draw(0, tmp_path)
