from functools import partial

import pytest
import torch

from ordinate.data.linear_sources import LinearSources, strong_and_weak
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Run
from ordinate.ground.errors import InputError
from ordinate.tasks import source_sampling
from ordinate.tasks.corrupted_sources import CorruptedSources
from ordinate.tasks.sampling_plans import SamplingPlans
from ordinate.tasks.source_sampling import SourceSampling, buyer_arm

RUN = Run(0, Setting())


def small(**options) -> SourceSampling:
    return SourceSampling(
        partial(strong_and_weak, inputs=8, rank=3, tasks=10), **{"budgets": (800,), "target": 60, "explored": 20, "minimum": 5, **options}
    )


def test_every_arm_buys_the_budget_and_is_judged() -> None:
    task = small()
    found = {name: task.run(task.arm(name), RUN).metrics for name in source_sampling._ARMS}
    for name, metrics in found.items():
        assert metrics["cost"] == 800 and 0 < metrics["representation"] <= metrics["risk"] < 1, name
    assert found["known l1"]["sources"] == 2 and found["l1"]["sources"] <= 3 and found["uniform"]["sources"] == 10
    assert found["known l1"]["risk"] < found["uniform"]["risk"]
    assert task.run(task.arm("l1"), RUN).metrics == found["l1"]
    assert task.run(task.arm("l1"), Run(1, Setting())).metrics != found["l1"]


def test_growing_budgets_have_an_exponent() -> None:
    outcome = small(budgets=(400, 1_600, 6_400)).run(buyer_arm("known l1"), RUN)
    assert -3 < outcome.metrics["exponent"] < -1.2 and len(outcome.curves["budget by eps"]) == 3
    assert "exponent" not in {metric.name for metric in small().metrics}
    with pytest.raises(InputError, match="budgets ascend"):
        small(budgets=(400, 300))


def test_it_runs_on_problems_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SourceSampling.from_data(None, Setting()).problem(0).sources.shape == (15, 12)
    assert "near-duplicates" in SourceSampling.from_data("near-duplicates", Setting()).title
    films = LinearSources("films", torch.rand(29, 4).double(), torch.rand(4).double(), 2, 0.01, torch.rand(50, 4).double())
    monkeypatch.setattr(source_sampling, "rated_films", lambda name, folder: films)
    task = SourceSampling.from_data("ml-100k", Setting())
    assert task.run(task.arm("l1"), RUN).metrics["cost"] == 50 * 29
    with pytest.raises(InputError, match="unknown problem"):
        SourceSampling.from_data("strong", Setting())
    with pytest.raises(InputError, match="unknown arm"):
        task.arm("l3")


def test_plans_are_exact() -> None:
    task = SamplingPlans(features=3, tasks=10, draws=6, small=(2, 6, 4))
    for name in ("random", "near duplicates", "two prices", "openings"):
        metrics = task.run(task.arm(name), RUN).metrics
        assert 0 < metrics["ratio"] <= metrics["worst"] <= 1 + 1e-9, name
        assert metrics["nonzeros"] <= 3 and metrics["lasso nonzeros"] <= 6 and metrics["optimal"] == 100
    with pytest.raises(InputError, match="unknown kind of instances"):
        task.arm("none")


@pytest.mark.parametrize("learner", ["linear", "convnet"])
def test_corrupted_digits_are_learnt_from_other_corruptions(learner: str) -> None:
    task = CorruptedSources(
        "digits",
        kinds=("identity", "rotate", "stripe"),
        components=16,
        rank=4,
        targets=1,
        budget=400,
        target_images=20,
        learner=learner,
        steps=15,
    )
    found = {name: task.run(task.arm(name), RUN) for name in ("lasso", "uniform")}
    for outcome in found.values():
        assert 0 < outcome.metrics["error"] < 60 and len(outcome.notes["error of each target"]) == 1
    assert found["lasso"].metrics["sources"] < found["uniform"].metrics["sources"] == 20


def test_what_images_cannot_know_is_refused() -> None:
    task = CorruptedSources.from_data("digits", Setting())
    with pytest.raises(InputError, match="the true heads of images are not known"):
        task.arm("known l1")
    with pytest.raises(InputError, match="unknown learner"):
        CorruptedSources("digits", learner="forest")
