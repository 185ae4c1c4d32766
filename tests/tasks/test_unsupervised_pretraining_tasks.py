import pytest

from ordinate.analyze.rate_instances import FactorInstance, MixtureInstance
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Task
from ordinate.ground.errors import InputError
from ordinate.tasks.few_labels import FewLabels
from ordinate.tasks.hidden_coordinate import HiddenCoordinateTask
from ordinate.tasks.planned_crossover import PlannedCrossover
from ordinate.tasks.sample_complexity import SampleComplexity
from ordinate.tasks.weak_factor import WeakFactor

ONE = Setting(seeds=(0,))


def compare(task: Task, *names: str, setting: Setting = ONE) -> Table:
    return Comparison("x", task, [task.arm(name) for name in names]).run(setting)


def test_two_phases_beat_labels_alone_on_a_factor_model() -> None:
    task = SampleComplexity(FactorInstance(10, (3.0, 2.0)), (20, 40, 80, 4000), (50, 100, 200, 20_000), reps=4)
    table = compare(task, "two-phase", "oracle", "supervised")
    for n in (20, 40, 80):
        assert table.value("oracle", f"n={n}") <= 1.2 * table.value("two-phase", f"n={n}") < table.value("supervised", f"n={n}")
    assert -1.5 < table.value("two-phase", "slope in n") < -0.5 and -1.6 < table.value("two-phase", "slope in m") < -0.5
    assert table.value("supervised", "slope in m") == 0.0
    assert table.value("supervised", "m=50") == table.value("supervised", "m=200") == table.value("supervised", "n=4000")
    row = table.of("two-phase")[0]
    assert row.notes["slope in n"]["fixed share"] <= 0.2 and len(row.curves["excess risk over labels"]) == 4


def test_the_problems_can_be_named() -> None:
    task = SampleComplexity.from_data("mixture", ONE)
    assert isinstance(task.instance, MixtureInstance) and not any(metric.name.startswith("slope") for metric in task.metrics)
    assert task.arm("labelled mixture").role == "baseline"
    for call in (lambda: SampleComplexity.from_data("moons", ONE), lambda: task.arm("supervised")):
        with pytest.raises(InputError):
            call()


def test_a_crossover_is_planned_and_measured() -> None:
    task = PlannedCrossover(
        FactorInstance(10, (3.0, 2.0)),
        pilot_ns=(100, 200, 800),
        pilot_ms=(50, 200, 800),
        n=4000,
        ms=(100, 1000, 10_000),
        reps=8,
        pilot_reps=8,
    )
    table = compare(task, "planned", "measured")
    assert table.value("planned", "crossover") > 0 and 100 < table.value("measured", "crossover") < 10_000
    assert table.of("planned")[0].notes["fit"]["a"] > 0
    with pytest.raises(InputError):
        task.arm("guessed")


def test_a_weak_factor_raises_kappa() -> None:
    task = WeakFactor(5, (1.0,), m=2000, n=2000, reps=2, draws=5)
    table = compare(task, "s = 0.5", "s = 0.125")
    assert table.value("s = 0.125", "kappa") > 3 * table.value("s = 0.5", "kappa")
    with pytest.raises(InputError, match="a singular value"):
        task.arm("weak")


def test_unlabelled_rows_of_a_cube_are_worth_nothing() -> None:
    task = HiddenCoordinateTask(10, n=15, ms=(5, 200), reps=20)
    table = compare(task, "two-phase", "ties left to labels", "supervised")
    assert table.value("two-phase", "m=5") == table.value("two-phase", "m=200") > table.value("supervised", "m=5") + 0.1
    assert table.value("ties left to labels", "m=200") == pytest.approx(table.value("supervised", "m=200"))
    assert (table.value("two-phase", "observed"), table.value("two-phase", "hidden")) == (0.0, 0.5)


def test_few_labels_of_digits_and_of_a_file(tmp_path: object) -> None:
    task = FewLabels.from_data("digits", ONE)
    table = compare(task, "mixture", "factors", "logistic")
    assert table.value("mixture", "accuracy@500") > 85 and table.value("logistic", "accuracy@500") > 85
    assert table.value("factors", "accuracy@100") > 60
    assert 0 <= table.value("mixture", "floor") < 20
    for data in ("diabetes", "nothing"):
        with pytest.raises(InputError):
            FewLabels.from_data(data, ONE)
    with pytest.raises(InputError, match="three or more"):
        FewLabels.from_data("wine", ONE)
    with pytest.raises(InputError):
        task.arm("svm")
