import math

import pytest

from ordinate.experiment.comparison import Comparison
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Run
from ordinate.ground.errors import InputError
from ordinate.tasks.inducing_limit import InducingLimit
from ordinate.tasks.kernel_cost import GROWING, KernelCost
from ordinate.tasks.relative_width import RelativeWidth
from ordinate.tasks.tables import Tables
from ordinate.tasks.tabular import TabularTask
from ordinate.tasks.wide_limit import WideLimit

RUN = Run(0, Setting(seeds=(0,), steps=5))


def test_wide_processes_near_the_machine_s_optimum_and_without_replicas_the_inputs_kernel() -> None:
    task = WideLimit(points=3, chains=24, warmup=15, draws=12)
    narrow, wide, once = (task.run(task.arm(name), RUN).metrics for name in ("2", "40", "40 once"))
    assert wide["error"] < 0.08 and wide["error"] < narrow["error"] and wide["error"] < wide["nngp error"] / 2
    assert once["nngp error"] < 0.08 and once["nngp error"] < once["error"] / 2
    assert wide["learnt"] == once["learnt"] > 0.1
    assert all(math.isfinite(wide[metric.name]) for metric in task.metrics) and task.run(task.arm("2"), RUN).metrics == narrow


def test_representations_move_the_more_the_smaller_the_relative_width() -> None:
    task = RelativeWidth(rows=12, iterations=60)
    tied, wide, free, nngp = (task.run(task.arm(name), RUN).metrics for name in ("nu = 1e6", "nu = 10", "nu = 0.1", "nu = inf"))
    assert tied["from nngp"] < 1e-4 < wide["from nngp"] and nngp["from nngp"] == 0 and nngp["distance"] < 1e-12
    assert tied["distance"] < wide["distance"] < free["distance"] and tied["fit"] < wide["fit"] < free["fit"]


def test_with_all_rows_inducing_the_sparse_machine_is_the_exact_one() -> None:
    task = InducingLimit(rows=12, iterations=120)
    few, all_rows = (task.run(task.arm(name), RUN).metrics for name in ("3", "12"))
    assert all_rows["gap"] < 1e-6 and all_rows["prediction gap"] < 1e-4 < few["gap"]


def test_costs_are_exponents_of_what_grows() -> None:
    task = KernelCost(exact=(8, 16, 32), rows=(32, 64, 128), inducing=(4, 8, 16), repeats=1)
    for name in GROWING:
        outcome = task.run(task.arm(name), RUN)
        assert outcome.metrics["seconds"] > 0 and math.isfinite(outcome.metrics["exponent"]) and outcome.metrics["doubling"] > 0
        assert [size for size, _ in outcome.curves["seconds"]] == list(task.sizes[name])


def test_several_tables_are_one_comparison() -> None:
    task = Tables.from_data("diabetes, wine", Setting(seeds=(0,), steps=5))
    for each in task.tables:
        each.most_rows = 40
    table = Comparison("tables", task, [task.arm(name) for name in ("dkm", "ridge")]).run(RUN.setting)
    assert [metric.name for metric in task.metrics] == [
        "rmse@diabetes", "nll@diabetes", "coverage@diabetes", "accuracy@wine", "nll@wine", "ece@wine",
    ]  # fmt: skip
    (row,) = table.of("ridge")
    alone = TabularTask.from_data("wine", RUN.setting)
    alone.most_rows = 40
    assert row.metrics["nll@wine"] == alone.run(alone.arm("ridge"), RUN).metrics["nll"] and row.notes["wine"]["rows"] == 40
    assert [each.table.name for each in Tables.from_data(None, RUN.setting).tables] == ["breast-cancer", "diabetes", "digits", "wine"]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="none twice"):
        Tables.from_data("wine,wine", RUN.setting)
    with pytest.raises(InputError, match="one at least"):
        Tables.from_data(",", RUN.setting)
    with pytest.raises(InputError, match="did you mean"):
        Tables.from_data("wine", RUN.setting).arm("ridgee")
    for name in ("wide", "0", "8 twice"):
        with pytest.raises(InputError, match="an arm is a width"):
            WideLimit().arm(name)
    with pytest.raises(InputError, match="an arm is a relative width"):
        RelativeWidth(rows=5).arm("wide")
    with pytest.raises(InputError, match="from 1 to 5"):
        InducingLimit(rows=5).arm("6")
    for task in (RelativeWidth, InducingLimit):
        with pytest.raises(InputError, match="has classes"):
            task("wine", rows=5)
    with pytest.raises(InputError, match="three ascending sizes"):
        KernelCost(exact=(4, 8), rows=(8, 16, 32), inducing=(2, 4, 8))
    with pytest.raises(InputError, match="unknown what grows"):
        KernelCost(exact=(4, 8, 16), rows=(8, 16, 32), inducing=(2, 4, 8)).arm("time")
