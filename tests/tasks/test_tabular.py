from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.dummy import DummyClassifier

from ordinate.data.tabular import open_tabular
from ordinate.experiment.comparison import Comparison
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.tasks.tabular import TabularTask
from ordinate.tasks.tabular_arms import CONTENDERS, Problem

SETTING = Setting(seeds=(0, 1), steps=5)
FITTED: list[np.ndarray] = []


class Constant(RegressorMixin, BaseEstimator):
    """Predicts the mean of its targets plus a shift, and notes what it was fitted to."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def fit(self, X, y):
        FITTED.append(np.array(X))
        self.value_ = y.mean() + self.shift
        return self

    def predict(self, X):
        return np.full(len(X), self.value_)


def test_every_contender_runs_on_numbers_and_on_classes() -> None:
    for data in ("diabetes", "wine"):
        task = TabularTask.from_data(data, SETTING)
        task.most_rows = 60
        table = Comparison(data, task, [task.arm(name) for name in CONTENDERS]).run(SETTING.with_seeds(1))
        assert table.arms == list(CONTENDERS)


def test_candidates_are_scored_on_rows_that_they_have_not_seen_and_the_best_is_refitted() -> None:
    task = TabularTask(open_tabular("diabetes"), steps=5)
    FITTED.clear()
    outcome = task.run(Arm("constant", lambda problem: [Constant(200.0), Constant()]), Run(0, SETTING))
    assert outcome.notes["chosen"] == "Constant()" and outcome.notes["tried"] == 2
    split = open_tabular("diabetes").split(0)
    assert [len(rows) for rows in FITTED] == [283, 283, 353]
    errors = split.test_y.numpy() - split.train_y.numpy().mean()
    assert outcome.metrics["rmse"] == pytest.approx(np.sqrt(np.square(errors).mean()))
    assert 70 < outcome.metrics["coverage"] < 100


def test_probabilities_are_put_under_their_own_classes() -> None:
    task = TabularTask(open_tabular("wine"), steps=5)
    outcome = task.run(Arm("prior", lambda problem: [DummyClassifier(strategy="prior")]), Run(0, SETTING))
    assert 30 < outcome.metrics["accuracy"] < 45 and outcome.metrics["nll"] == pytest.approx(1.09, abs=0.02)
    assert outcome.metrics["ece"] < 5


def test_a_split_gives_every_arm_the_same_rows_and_seeds_give_others() -> None:
    task = TabularTask(open_tabular("diabetes"), steps=5, most_rows=50)
    FITTED.clear()
    for seed in (0, 0, 1):
        task.run(Arm("constant", lambda problem: [Constant()]), Run(seed, SETTING))
    whole = FITTED[1::2]  # the first fit of each run is the trial on a part
    assert len(whole[0]) == 50 and np.array_equal(whole[0], whole[1]) and not np.array_equal(whole[0], whole[2])


def test_a_table_of_ones_own_and_bad_requests(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("a,b,target\n" + "\n".join(f"{number},{number % 3},{'yes' if number % 2 else 'no'}" for number in range(40)))
    task = TabularTask.from_data(str(path), SETTING)
    assert task.run(task.arm("ridge"), Run(0, SETTING)).metrics.keys() == {"accuracy", "nll", "ece"}
    with pytest.raises(InputError, match="did you mean svm"):
        task.arm("svmm")
    with pytest.raises(InputError, match="no table 'nothing'"):
        TabularTask.from_data("nothing", SETTING)


def test_candidates_are_as_many_for_every_contender_at_the_least_budget() -> None:
    for classification in (False, True):
        counts = {name: len(make(Problem(classification, 5, 40, 0, 5))[:2]) for name, (make, _) in CONTENDERS.items()}
        assert set(counts.values()) == {2}
