import math
from functools import partial

import pytest
import torch

from ordinate.data.sorting import sorted_slots
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Run
from ordinate.ground.errors import InputError
from ordinate.models.registry import create_model
from ordinate.tasks.sorting import Sorting, SortingArm

SETTING = Setting(seeds=(0,), steps=5)


def small(**options: object) -> Sorting:
    return Sorting((3, 4), within=(4, 3), beyond=(6,), steps=5, batch_size=8, dim=8, tested=20, **options)


@pytest.mark.parametrize("name", ["lstm", "process-0", "process-2-glimpse", "pointer"])
def test_every_arm_is_trained_on_and_scored_for_each_size(name: str) -> None:
    task = small()
    outcome = task.run(task.arm(name), Run(0, SETTING))
    assert {metric.name for metric in task.metrics} <= outcome.metrics.keys()
    assert {each.partition("@")[2] for each in outcome.metrics} == {"3", "4", "6"}
    assert (outcome.metrics["sensitivity@4"] < 1e-5) is name.startswith("process")
    assert outcome.parameters and outcome.flops and "refused" not in outcome.notes


def test_a_fixed_alphabet_refuses_larger_sets() -> None:
    task = small()
    arm = SortingArm("fixed", partial(create_model, "seq2seq", hidden=8))
    assert "at most 4 points and was given 6" in task.run(arm, Run(0, SETTING)).notes["refused"]["6"]


def test_a_run_is_a_pure_function_of_its_seed() -> None:
    task = small()
    one, again, other = (task.run(task.arm("process-1"), Run(seed, SETTING)).curves["loss"] for seed in (0, 0, 1))
    assert one == again != other


def test_accuracy_is_that_of_greedy_answers_and_nats_those_of_what_is_taught() -> None:
    class Knows(torch.nn.Module):
        """Points at the smallest number that is left, right or not about the order that it is asked for."""

        def forward(self, points: torch.Tensor, target: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            truth = sorted_slots(points[..., 0], lengths)
            logits = torch.nn.functional.one_hot(truth, points.shape[1] + 1).double().log()
            return torch.full((len(points),), -2.0), logits

    task = small()
    assert task._measure(Knows(), "cpu", (4,), "descending", False) == {"accuracy@4": 100, "nats@4": 2, "sensitivity@4": 0}


def test_of_random_orders_nothing_but_the_entropy_can_be_learnt() -> None:
    task = Sorting((2, 2), within=(2,), steps=80, batch_size=32, dim=8, tested=200, lr=3e-2)
    arm = task.arm("process-1")
    ordered = task.run(arm, Run(0, Setting(seeds=(0,)))).metrics
    shuffled = task.run(SortingArm("random", arm.make, order="random"), Run(0, Setting(seeds=(0,)))).metrics
    assert shuffled["nats@2"] > math.log(2) - 0.05 and ordered["nats@2"] < 0.6 * shuffled["nats@2"]


def test_given_in_order_there_is_nothing_to_sort() -> None:
    task = small()
    batch = task._batches(0, "ascending", True)(0)
    for points, n, target in zip(batch["points"], batch["lengths"].tolist(), batch["target"], strict=True):
        assert target[:n].tolist() == list(range(1, n + 1)) and not target[n:].any()
        assert (points[:n, 0].diff() >= 0).all()


def test_data_by_name_and_what_ordinate_train_needs() -> None:
    for data, sizes, within in ((None, (5, 5), (5,)), ("sorting:7", (7, 7), (7,)), ("sorting:3-6", (3, 6), (6, 3)), ("4", (4, 4), (4,))):
        task = Sorting.from_data(data, SETTING)
        assert (task.sizes, task.within) == (sizes, within)
    for name in ("read-process-write", "pointer"):
        model = create_model(name, **task.model_arguments()).eval()
        assert {metric.name for metric in task.metrics} == task.score(model, "cpu").keys()
    assert task.input_card() == {"kind": "numbers", "largest": 4}
    assert task.batches(0, "order-search")(0)["items"].shape == (64, 4)


def test_bad_data_and_arms_are_refused() -> None:
    for data in ("sorting:", "sorting:many", "sorting:3-", "hull:5"):
        with pytest.raises(InputError, match="how many numbers"):
            Sorting.from_data(data, SETTING)
    with pytest.raises(InputError, match="1 or more numbers"):
        Sorting.from_data("sorting:5-3", SETTING)
    for name in ("process", "glimpse", "process-5-glimpses", "lstm-5"):
        with pytest.raises(InputError, match="unknown arm"):
            small().arm(name)
    with pytest.raises(InputError, match="unknown order of numbers"):
        SortingArm("x", lambda: None, order="odd")
