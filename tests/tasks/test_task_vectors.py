"""The tasks on a small world of task vectors: every arm by name, pure functions of the seed, and the world's own promises."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ordinate.adapt.coefficient_learning import accuracy
from ordinate.data.home import dataset_folder
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Run, Task
from ordinate.ground.errors import InputError, MissingError
from ordinate.tasks import domain_world as worlds
from ordinate.tasks.domain_world import COVERED, SOURCES, DomainWorld, WorldSize, domain_world
from ordinate.tasks.unlabelled_domains import ARMS, UnlabelledDomains
from ordinate.tasks.vector_arithmetic import ADDITIONS, NEGATIONS, VectorAddition, VectorNegation
from ordinate.tasks.vector_transfer import CHOICES, CONTENDERS, FewShotTransfer, TunableSize, VectorBudget

TINY = WorldSize(base_rows=64, base_steps=2, rows=160, steps=2, learned=60, checked=30, tested=30)
SETTING = Setting(seeds=(0,))


def _absent() -> str:
    try:
        dataset_folder("mnist", "train.parquet", None)
    except MissingError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(_absent()), reason=_absent() or "MNIST is at hand")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("vector_arithmetic", "vector_transfer", "unlabelled_domains"):
        monkeypatch.setattr(f"ordinate.tasks.{module}.world_size", lambda setting: TINY)


CASES: list[tuple[Task, str]] = [
    *((VectorAddition(epochs=1), name) for name in ADDITIONS),
    *((VectorNegation(epochs=1), name) for name in NEGATIONS),
    *((FewShotTransfer(shots=(1,), epochs=1), name) for name in CONTENDERS),
    *((VectorBudget(budgets=(1,), shots=1, epochs=1), name) for name in CHOICES),
    *((UnlabelledDomains(epochs=1), name) for name in ARMS),
    *((TunableSize(shares=(0.5, 1.0), epochs=1), name) for name in ("x1", "x3", "low-rank-1")),
]


@pytest.mark.parametrize(("task", "name"), CASES, ids=[f"{task.name}-{name}" for task, name in CASES])
def test_every_arm_is_scored_on_every_metric(task: Task, name: str) -> None:
    outcome = task.run(task.arm(name), Run(0, SETTING))
    assert {metric.name for metric in task.metrics} <= outcome.metrics.keys()
    assert all(outcome.metrics[metric.name] >= 0 for metric in task.metrics)


def test_a_run_is_a_pure_function_of_its_seed() -> None:
    task = FewShotTransfer(shots=(1,), epochs=1)
    one, other = (task.run(task.arm("everything"), Run(seed, SETTING)).metrics for seed in (0, 1))
    domain_world.cache_clear()
    assert task.run(task.arm("everything"), Run(0, SETTING)).metrics == one != other


@pytest.mark.parametrize(
    "task",
    [VectorAddition(), VectorNegation(), FewShotTransfer(), VectorBudget(), UnlabelledDomains(), TunableSize()],
    ids=lambda task: task.name,
)
def test_an_unknown_arm_is_refused(task: Task) -> None:
    with pytest.raises(InputError, match="unknown"):
        task.arm("low-rank-much")


def test_a_world_keeps_its_images_apart_and_its_vectors_lead_to_its_tuned_encoders() -> None:
    world = domain_world(TINY, 0)
    parts = [getattr(world, f"_{part}").tensors["image"].flatten(1) for part in ("base", "train", "learn", "check")]
    assert len(torch.cat(parts).unique(dim=0)) == sum(len(part) for part in parts)
    assert all(float(part.min()) >= 0 and float(part.max()) <= 1 + 1e-5 for part in parts)
    name = SOURCES[1].name
    model = world.tuned(SOURCES[1])
    state = world.bank()[name].apply_to(world.encoder.state_dict())
    for key, entry in model.state_dict().items():
        torch.testing.assert_close(state[key], entry, atol=1e-6, rtol=1e-5)
    assert world.references()[name] == accuracy(model, world.head, world.task(SOURCES[1]).check)
    few = world.shots(COVERED[0], 2)
    assert len(few.learn) == 20 and len(world.some(COVERED[0], 0.1).learn) == 16 and len(world.union(SOURCES[:2]).learn) == 120


def test_without_mnist_the_command_that_gets_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="mnist"):
        DomainWorld(TINY, 0, tmp_path)
    assert replace(TINY, rows=161) != TINY and worlds.world_size(Setting(scale="full")) == WorldSize()
