"""Tables: regression or classification on rows of numbers, every arm tuned alike on a held-out part of its training rows.

Of the training rows a fifth is held out; each candidate of an arm is fitted to the rest and scored on it, and the best is fitted again to all of them. A seed is a split of the table: one of the 20
standard ones where there are such, else a fifth of the rows drawn by the seed.
"""

import inspect
import warnings
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from torch import Tensor

from ordinate.analyze.calibration import classification_nll, coverage, expected_calibration_error, gaussian_nll
from ordinate.data.tabular import Tabular, TabularSplit, open_tabular
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator
from ordinate.tasks.tabular_arms import CONTENDERS, Problem

__all__ = ["TASKS", "TabularTask"]

REGRESSION = (
    Metric("rmse", higher_is_better=False, meaning="root mean squared error on the test rows, in the target's units"),
    Metric("nll", "nats", higher_is_better=False, meaning="negative log-density of the test targets"),
    Metric("coverage", "%", meaning="of test targets inside the central 90 % interval"),
)
CLASSIFICATION = (
    Metric("accuracy", "%", meaning="of test rows whose most probable class is the right one"),
    Metric("nll", "nats", higher_is_better=False, meaning="negative log-probability of the test rows' classes"),
    Metric("ece", "%", higher_is_better=False, meaning="expected calibration error"),
)


class TabularTask(Task):
    """Error, likelihood and calibration on held-out rows of a table. An arm's `make(problem)` gives its candidates, scikit-learn estimators."""

    name = "tabular"

    def __init__(self, table: Tabular, *, steps: int, candidates: int | None = None, most_rows: int | None = None) -> None:
        """
        Args:
            table: what is learnt.
            steps: of arms that are trained by steps.
            candidates: try at most this many of each arm's.
            most_rows: train on at most this many rows, drawn by the seed and the same for every arm.
        """
        self.table = table
        self.steps = steps
        self.candidates = candidates
        self.most_rows = most_rows
        self.metrics = REGRESSION if table.classes is None else CLASSIFICATION
        self.title = f"{'Regression' if table.classes is None else 'Classification'} on {table.name}"

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "TabularTask":
        """On scikit-learn's tables, the UCI regression problems, or a file.

        Args:
            data: ``"diabetes"`` by default; see `ordinate.data.tabular`.
            setting: its scale decides on steps, candidates and rows.
            strict: nothing in a table is passed over in any case.
        """
        return cls(
            open_tabular(data or "diabetes"),
            steps=setting.steps or setting.pick(smoke=60, full=300),
            candidates=setting.pick(smoke=2, full=4),
            most_rows=setting.pick(smoke=300, full=1000, gpu=5000),
        )

    def arm(self, name: str) -> Arm:
        """One of the contenders: dkm, nngp, map, svgp, gp, svm, ridge, mlp."""
        make, note = CONTENDERS[choose("arm", name, CONTENDERS)]
        return Arm(name, make, role="method" if name == "dkm" else "baseline", note=note)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Tune, fit and score one arm on the split that the seed numbers."""
        split = self._cut(self.table.split(run.seed), run.seed)
        if run.setting.device != "cpu":
            raise InputError("the arms on tables are scikit-learn estimators and run on the CPU: leave out --device")
        classification = self.table.classes is not None
        x, y = split.train_x.numpy(), split.train_y.numpy()
        held = torch.randperm(len(x), generator=generator(run.seed, "held out")).numpy()[: max(1, len(x) // 5)]
        fitted = np.setdiff1d(np.arange(len(x)), held)
        candidates = arm.make(Problem(classification, x.shape[1], len(fitted), run.seed, self.steps))[: self.candidates]
        scores, errors = [], []
        for candidate in candidates if len(candidates) > 1 or not (classification or _has_deviation(candidates[0])) else []:
            tried = _fit(candidate, x[fitted], y[fitted])
            scores.append(float(tried.score(x[held], y[held])))
            errors.append(1.0 if classification else float(np.sqrt(np.square(tried.predict(x[held]) - y[held]).mean())))
        best = int(np.argmax(scores)) if scores else 0
        final = _fit(candidates[best], x, y)
        score = (
            partial(_score_classes, len(self.table.classes or ()))
            if classification
            else partial(_score_numbers, errors[best] if errors else 0.0)
        )
        notes = {"chosen": " ".join(str(candidates[best]).split()), "tried": len(candidates), "rows": len(x)}
        return Outcome(score(final, split), notes=notes)

    def _cut(self, split: TabularSplit, seed: int) -> TabularSplit:
        if self.most_rows is None or len(split.train_x) <= self.most_rows:
            return split
        rows = torch.randperm(len(split.train_x), generator=generator(seed, "rows"))[: self.most_rows]
        return TabularSplit(split.train_x[rows], split.train_y[rows], split.test_x, split.test_y)


def _fit(candidate: Any, x: Any, y: Any) -> Any:
    with warnings.catch_warnings():
        # A length scale at its bound is a feature that does not matter, and a perceptron's budget is what it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return clone(candidate).fit(x, y)


def _has_deviation(estimator: Any) -> bool:
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    return "return_std" in inspect.signature(last.predict).parameters


def _score_numbers(error: float, estimator: Any, split: TabularSplit) -> dict[str, float]:
    x = split.test_x.numpy()
    if _has_deviation(estimator):
        mean, deviation = (torch.tensor(each, dtype=torch.float64) for each in estimator.predict(x, return_std=True))
    else:
        mean = torch.tensor(estimator.predict(x), dtype=torch.float64)
        deviation = torch.full_like(mean, max(error, torch.finfo(torch.float64).tiny))
    return {
        "rmse": float((mean - split.test_y).square().mean().sqrt()),
        "nll": gaussian_nll(mean, deviation, split.test_y),
        "coverage": 100 * coverage(mean, deviation, split.test_y),
    }


def _score_classes(classes: int, estimator: Any, split: TabularSplit) -> dict[str, float]:
    probabilities = torch.zeros(len(split.test_x), classes, dtype=torch.float64)
    probabilities[:, torch.tensor(np.asarray(estimator.classes_))] = torch.tensor(
        estimator.predict_proba(split.test_x.numpy()), dtype=torch.float64
    )
    labels: Tensor = split.test_y
    return {
        "accuracy": 100 * float((probabilities.argmax(dim=1) == labels).double().mean()),
        "nll": classification_nll(probabilities, labels),
        "ece": 100 * expected_calibration_error(probabilities, labels),
    }


TASKS = {TabularTask.name: TabularTask}
