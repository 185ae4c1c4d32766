import json

import pytest
import torch

from ordinate.analyze.sample_study import study_samples
from ordinate.data.linear_sources import SourceSampler, strong_and_weak
from ordinate.data.task_table import TaskTable
from ordinate.ground.errors import InputError


def table(count: int = 60, target: int = 80, tasks: int = 8) -> TaskTable:
    problem = strong_and_weak(0, inputs=6, rank=2, tasks=tasks, noise=0.1)
    sampler = SourceSampler(problem, 0)
    parts = [sampler(task, count) for task in range(tasks)] + [sampler(-1, target)]
    task = torch.cat([torch.full((len(y),), number) for number, (_, y) in enumerate(parts)])
    # columns in units of their own, and every task with a level of its own
    X, y = torch.cat([X for X, _ in parts]) * torch.tensor([1, 10, 0.1, 1, 1, 5]).double() + 3, torch.cat([y for _, y in parts]) + task
    return TaskTable(X, y, task, [f"source {number}" for number in range(tasks)] + ["wanted"], list("abcdef"))


def test_the_sources_that_make_up_the_target_are_bought() -> None:
    study = study_samples(table(), "wanted", 1_000, 2)
    assert study.sources == [f"source {number}" for number in range(8)] and study.at_hand.tolist() == [60] * 8
    assert set(study.allocation.topk(2).indices.tolist()) == {0, 1} and int(study.allocation.sum()) == 1_000 == study.cost
    assert study.noise == pytest.approx(0.1, rel=0.3) and not study.remarks
    assert study.rivals["l1"] == pytest.approx(1_000, rel=0.01) and study.rivals["uniform"] > study.rivals["l1"] < study.rivals["l2"]
    document = json.loads(json.dumps(study.to_json(), allow_nan=False))
    assert document["sources"][0]["samples"] == int(study.allocation[0])


@pytest.mark.parametrize("options", [{"rule": "l2"}, {"rule": "uniform"}, {"penalty": "cv"}, {"penalty": 0.01}])
def test_other_rules_and_penalties(options: dict) -> None:
    study = study_samples(table(), "wanted", 900, 2, minimum=10, **options)
    assert int(study.allocation.sum()) == 900 and int(study.allocation.min()) >= 10
    if options.get("rule") == "uniform":
        assert study.rivals["uniform"] == pytest.approx(900, rel=0.02)


def test_prices_and_caps_are_kept_to() -> None:
    costs = torch.tensor([9.0] + [1.0] * 7, dtype=torch.float64)
    study = study_samples(table(), "wanted", 500, 2, costs=costs, caps=torch.full((8,), 100.0, dtype=torch.float64))
    assert study.cost <= 500 and int(study.allocation.max()) <= 100
    assert study.cost == pytest.approx(float((study.allocation * costs).sum()))


def test_what_a_plan_rests_on_is_said() -> None:
    assert "fewer than 4 samples" in study_samples(table(count=3), "wanted", 100, 2).remarks[0]
    assert any("the target has 2 samples" in remark for remark in study_samples(table(target=2), "wanted", 100, 2).remarks)
    assert any("as many sources as features" in remark for remark in study_samples(table(tasks=2), "wanted", 100, 2).remarks)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing", 100, 2), "unknown task"),
        (("wanted", 100, 9), "8 tasks share has 1 to 8 features, not 9"),
        (("wanted", 0, 2), "the budget is 0"),
    ],
)
def test_bad_input_is_refused(arguments: tuple, words: str) -> None:
    with pytest.raises(InputError, match=words):
        study_samples(table(), *arguments)
    with pytest.raises(InputError, match="'cv'"):
        study_samples(table(), "wanted", 100, 2, penalty="auto")
