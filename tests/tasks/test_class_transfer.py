from dataclasses import replace

import pytest
import torch

from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Run
from ordinate.ground.errors import InputError
from ordinate.tasks.class_finetuning import ClassFinetuning
from ordinate.tasks.class_transfer import ClassTransfer, Pretraining, parameters_of

PLAN = Pretraining("digits", "shallow", 8, steps=20, batch_size=32, images=120, labels=60, tested=150)
RUN = Run(0, Setting())


def test_the_halves_of_the_classes_are_the_source_and_the_target_and_do_not_depend_on_how_many_images_are_taken() -> None:
    split = PLAN.split
    assert [len(each) for each in (split.source, split.source_test, split.target, split.target_test)] == [120, 150, 60, 150]
    assert split.classes == split.target_classes == 5
    assert set(split.target.tensors["label"].tolist()) == set(range(5))
    fewer = replace(PLAN, images=50).split
    assert torch.equal(fewer.source.tensors["image"], split.source.tensors["image"][:50])


def test_a_wide_network_has_the_members_parameters() -> None:
    for family, width in (("shallow", 24), ("perceptron", 32), ("convnet", 8)):
        plan = replace(PLAN, family=family, width=width)
        wide = parameters_of(plan.network(plan.wide_width(4)))
        assert abs(wide / (4 * parameters_of(plan.network())) - 1) < 0.05


def test_members_of_a_seed_are_shared_and_fewer_of_them_are_the_first() -> None:
    assert PLAN.members(2, 0)[1] is PLAN.members(3, 0)[1]
    assert PLAN.members(1, 0)[0] is not PLAN.members(1, 1)[0]


@pytest.mark.parametrize(
    "name", ["one", "cat-2", "snapshots-2", "distill-2", "distill-wide-2", "wide-2", "joint-2", "ensemble-2", "sliced-wide-2"]
)
def test_every_arm_is_probed_on_both_halves(name: str) -> None:
    task = ClassTransfer(PLAN, 2, episodes=3, redundant=2)
    outcome = task.run(task.arm(name), RUN)
    assert set(outcome.metrics) == {metric.name for metric in task.metrics} == {"source", "target", "1-shot", "5-shot"}
    assert all(0 <= value <= 100 for value in outcome.metrics.values())
    assert ("redundancy" in outcome.notes) == (name == "cat-2")
    one = parameters_of(PLAN.network())
    assert outcome.parameters == pytest.approx(one if name in ("one", "distill-2") else 2 * one, rel=0.1)


def test_one_is_the_mean_over_the_members() -> None:
    task = ClassTransfer(PLAN, 2)
    first = task.run(task.arm("cat-1"), RUN).metrics["source"]
    both = task.run(task.arm("one"), RUN).metrics["source"]
    only = ClassTransfer(PLAN, 1)
    assert only.run(only.arm("one"), RUN).metrics["source"] == first
    assert 2 * both - first <= 100  # what is left is the second member's


def test_contrastive_members_need_no_labels() -> None:
    plan = replace(PLAN, objective="contrastive", steps=3)
    task = ClassTransfer(plan, 2)
    assert task.run(task.arm("cat-2"), RUN).metrics["target"] > 20


def test_unknown_arms_and_data_are_one_line() -> None:
    task = ClassTransfer(PLAN, 4)
    for name in ("cat", "cat-0", "rich-4"):
        with pytest.raises(InputError, match="it has one, and cat-4"):
            task.arm(name)
    with pytest.raises(InputError, match="unknown family"):
        replace(PLAN, family="conv").network()


def test_it_runs_on_data_by_name() -> None:
    task = ClassTransfer.from_data("digits", Setting(steps=1))
    assert task.plan.family == "perceptron" and "digits" in task.title


@pytest.mark.parametrize("name", ["one", "two-stage", "init-cat", "wide", "joint"])
def test_every_way_of_fine_tuning_beats_chance_and_names_its_rate(name: str) -> None:
    task = ClassFinetuning(PLAN, 2, steps=40, rates=(1e-3, 1e-2))
    outcome = task.run(task.arm(name), RUN)
    assert outcome.metrics["target"] > 40 and outcome.notes["lr"] in (1e-3, 1e-2)


def test_fine_tuning_leaves_the_members_as_they_are() -> None:
    before = [tensor.clone() for tensor in PLAN.members(2, 0)[0].state_dict().values()]
    task = ClassFinetuning(PLAN, 2, steps=5, rates=(1e-2,))
    for name in ("two-stage", "init-cat"):
        task.run(task.arm(name), RUN)
    assert all(torch.equal(a, b) for a, b in zip(before, PLAN.members(2, 0)[0].state_dict().values(), strict=True))
    with pytest.raises(InputError, match="it has one, two-stage"):
        task.arm("cat-4")
