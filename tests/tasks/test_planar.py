import math
from pathlib import Path

import pytest
import torch

from ordinate.data.planar import Hull, Tour, Triangulation, sample
from ordinate.data.planar_files import write_planar
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.models.registry import create_model
from ordinate.tasks.planar import Drawn, Filed, Planar, Taught

SETTING = Setting(seeds=(0,), steps=6)


def small(problem: Hull | Triangulation | Tour, sizes: tuple[int, int] = (4, 5), **options: object) -> Planar:
    instances = Drawn(problem, sizes, count=60, tested=12, within=(5, 4), beyond=(7,))
    return Planar(instances, steps=6, batch_size=8, hidden=8, **options)


@pytest.mark.parametrize("problem", [Hull(), Triangulation(), Tour()])
def test_every_problem_is_trained_on_and_scored_for_each_size(problem: Hull | Triangulation | Tour) -> None:
    task = small(problem)
    outcome = task.run(task.arm("pointer"), Run(0, SETTING))
    assert {metric.name for metric in task.metrics} <= outcome.metrics.keys()
    assert {name.partition("@")[2] for name in outcome.metrics} == {"4", "5", "7"}
    assert outcome.parameters and outcome.flops and len(outcome.curves["loss"]) == 6
    assert "refused" not in outcome.notes


@pytest.mark.parametrize("arm", ["attention", "seq2seq"])
def test_a_fixed_head_is_scored_on_the_sizes_that_it_takes_and_says_why_not_on_others(arm: str) -> None:
    task = small(Hull())
    outcome = task.run(task.arm(arm), Run(0, SETTING))
    assert {name.partition("@")[2] for name in outcome.metrics} == {"4", "5"}
    assert "at most 5 points and was given 7" in outcome.notes["refused"]["7"]


def test_a_run_is_a_pure_function_of_its_seed() -> None:
    task = small(Hull())
    one, again, other = (task.run(task.arm("pointer"), Run(seed, SETTING)).curves["loss"] for seed in (0, 0, 1))
    assert one == again != other


def test_what_needs_no_geometry_is_learnt_first() -> None:
    """Of three points: the hull begins at slot 1 and ends after three. What is left is the entropy of the plateau, two choices between two slots, ln(2) / 2 nats a symbol."""
    task = Planar(Drawn(Hull(), (3, 3), count=200, tested=50, within=(3,)), steps=150, batch_size=16, hidden=16)
    loss = task.run(task.arm("pointer"), Run(0, Setting(seeds=(0,)))).curves["loss"]
    assert loss[0][1] == pytest.approx(math.log(4), abs=0.05) and loss[-1][1] == pytest.approx(math.log(2) / 2, abs=0.05)


def test_solvers_are_arms_of_tours() -> None:
    task = small(Tour())
    exact, near, random = (task.run(task.arm(name), Run(0, SETTING)).metrics for name in ("held-karp", "nearest-neighbour", "random"))
    assert exact["ratio@5"] == pytest.approx(1) and 1 < near["ratio@5"] < random["ratio@5"]
    assert near["validity@7"] == near["unconstrained validity@7"] == 100


def test_an_arm_may_have_a_teacher_of_its_own() -> None:
    task = small(Triangulation())
    make = task.arm("pointer").make
    own = task.run(Arm("own", make), Run(0, SETTING))
    shuffled = task.run(Taught("shuffled", make, teacher=Triangulation(order="random")), Run(0, SETTING))
    same = task.run(Taught("same", make, teacher=Triangulation()), Run(0, SETTING))
    assert own.curves["loss"] == same.curves["loss"] != shuffled.curves["loss"]


def test_tours_are_measured_against_the_optimum_whatever_the_training_tours_are() -> None:
    near = Drawn(Tour(solver="nearest-neighbour"), (5, 5), count=4, tested=30, within=(5,))
    assert torch.equal(near.test("5").targets, Drawn(Tour(), (5, 5), count=4, tested=30, within=(5,)).test("5").targets)
    assert not torch.equal(near.training(0).targets, Drawn(Tour(), (5, 5), count=4, tested=30, within=(5,)).training(0).targets)


def test_training_instances_differ_by_seed_and_test_instances_do_not() -> None:
    instances = small(Hull()).instances
    assert not torch.equal(instances.training(0).points, instances.training(1).points)
    assert instances.test("5") is instances.test("5")


@pytest.mark.parametrize(
    ("data", "problem", "within", "beyond"),
    [
        (None, Hull(), ("10", "5"), ("15", "20")),
        ("hull:6", Hull(), ("6",), ("9", "12")),
        ("delaunay:4-5", Triangulation(), ("5", "4"), ("7", "10")),
        ("tsp:5-8", Tour(), ("8", "5"), ("12", "16")),
        ("tsp:5-20", Tour(solver="nearest-neighbour+2-opt"), ("20", "5"), ("30", "40")),
    ],
)
def test_data_by_name(data: str | None, problem: object, within: tuple[str, ...], beyond: tuple[str, ...]) -> None:
    task = Planar.from_data(data, SETTING)
    assert task.instances.problem == problem
    assert (task.instances.within_names, task.instances.beyond_names) == (within, beyond)
    assert task.model_arguments() == {"n_max": int(within[0])}
    assert task.metrics[0].name.endswith(f"@{within[0]}")


@pytest.mark.parametrize("name", ["hull", "tsp", "delaunay"])
def test_data_from_a_file(tmp_path: Path, name: str) -> None:
    data = sample(name, (4, 6), 25, 0)
    write_planar(tmp_path / "data.txt", data, closed=name != "delaunay")
    task = Planar.from_data(f"{name}:{tmp_path / 'data.txt'}", SETTING)
    assert isinstance(task.instances, Filed) and task.instances.largest == 6
    train, test = task.instances.training(0), task.instances.test("held-out")
    assert len(train) == 20 and len(test) == 5
    rows = {tuple(points.flatten().tolist()) for part in (train, test) for points in part.points}
    assert len(rows) == 25
    outcome = task.run(task.arm("seq2seq"), Run(0, SETTING))
    assert all(metric.name.endswith("@held-out") and metric.name in outcome.metrics for metric in task.metrics)


def test_bad_data_and_arms_are_refused(tmp_path: Path) -> None:
    for data, message in (
        ("hulls:5", "did you mean hull"),
        ("hull", "Give hull:10, hull:5-10, or hull:FILE"),
        ("hull:2", "3 or more points"),
        ("hull:9-5", "the fewest first, not 9-5"),
        ("hull:absent.txt", "no such file"),
    ):
        with pytest.raises(InputError, match=message):
            Planar.from_data(data, SETTING)
    (tmp_path / "one.txt").write_text("0 0 1 0 0 1 output 1 2 3 1\n")
    with pytest.raises(InputError, match="holds one instance"):
        Planar.from_data(f"hull:{tmp_path / 'one.txt'}", SETTING)
    with pytest.raises(InputError, match="unknown arm 'lstm'"):
        small(Hull()).arm("lstm")
    with pytest.raises(InputError, match="unknown arm 'nearest-neighbour'"):
        small(Hull()).arm("nearest-neighbour")


def test_what_ordinate_train_needs() -> None:
    task = Planar.from_data("hull:5", SETTING)
    assert task.objectives == ("pointing",) and task.input_card() == {"kind": "points", "problem": "hull", "largest": 5}
    model = create_model("pointer", hidden=8, **task.model_arguments()).eval()
    assert {metric.name for metric in task.metrics} == task.score(model, "cpu").keys()
