r"""Real data with few labels: a model of the inputs fitted to all training rows, and a head on the first n labels, against labels alone.

Arms are ``"mixture"`` (Gaussians of one isotropic covariance, and a vote a component), ``"factors"`` (probabilistic principal components, and a logistic regression on the posterior means) and ``"logistic"`` (on the inputs). Every
arm has as many settings to choose from, and the best is taken on the test rows at every n: no way of choosing could do better, and none is favoured. A seed orders the labelled rows; the rows that are tested stay the same.

The data are no draw from any of the models. What the wrong model costs stays when labels do not: the floor of the curve :math:`b\, n^{-q} + c` that a planner fits to the errors.

Source: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024) has no experiments; this one is ours.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ordinate.analyze.sample_planner import SamplePlanner
from ordinate.data.images import NAMED_IMAGES, open_images
from ordinate.data.tabular import BUILT_IN, TabularSplit, open_tabular
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator
from ordinate.models.factor_model import FactorModel
from ordinate.models.gaussian_mixture import GaussianMixturePretrainer
from ordinate.models.latent_heads import VoteHead
from ordinate.models.two_phase import TwoPhaseClassifier

__all__ = ["TASKS", "FewLabels"]

Candidates = Callable[[Any], list[Any]]
"""From all training inputs (m, d) to estimators with `fit(X, y)` and `predict(X)`."""

COMPONENTS = (20, 30, 50)
PENALTIES = (0.01, 0.1, 1.0)
FACTORS = 20


def _mixtures(x: Any) -> list[Any]:
    fitted = [GaussianMixturePretrainer(min(k, len(x) // 2), noise="free", steps=60, tol=1e-3).fit(x) for k in COMPONENTS]
    return [TwoPhaseClassifier(model, VoteHead(empty="nearest"), prefit=True) for model in fitted]


def _factors(x: Any) -> list[Any]:
    model = FactorModel(min(FACTORS, x.shape[1] - 1), noise="free", centre=True).fit(x)
    return [TwoPhaseClassifier(model, LogisticRegression(C=10 * penalty, max_iter=300), prefit=True) for penalty in PENALTIES]


def _logistic(x: Any) -> list[Any]:
    return [LogisticRegression(C=penalty, max_iter=300) for penalty in PENALTIES]


ARMS: dict[str, Candidates] = {"factors": _factors, "logistic": _logistic, "mixture": _mixtures}


class FewLabels(Task):
    """Accuracy by number of labels. An arm's `make` is a `Candidates`."""

    name = "few-labels"

    def __init__(self, split: TabularSplit, ns: Sequence[int], *, title: str) -> None:
        """
        Args:
            split: of classes; all training rows are unlabelled data, and any of them may be labelled.
            ns: numbers of labels, ascending.
            title: what the data are.

        Raises:
            InputError: more labels than rows, or fewer than three numbers of labels.
        """
        self.ns = tuple(ns)
        if len(self.ns) < 3 or list(self.ns) != sorted(set(self.ns)) or not 1 <= self.ns[0] <= self.ns[-1] <= len(split.train_x):
            raise InputError(f"numbers of labels are three or more and ascend to at most {len(split.train_x)}, not {list(ns)}")
        scale = split.train_x.std()  # one for all columns, so that noise that is alike in all of them stays alike
        self.train, self.tests = (split.train_x / scale).numpy(), (split.test_x / scale).numpy()
        self.labels, self.truth = split.train_y, split.test_y.numpy()
        self.title = f"Few labels of {title}"
        self.metrics = (
            *(Metric(f"accuracy@{n}", "%", True, f"of test rows, with {n} labels") for n in self.ns),
            Metric("floor", "%", False, "error that more labels do not remove, as a planner fits it"),
        )
        self._candidates: Callable[[Candidates], list[Any]] = lru_cache(maxsize=4)(lambda make: make(self.train))

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "FewLabels":
        """A table or named images with classes.

        Args:
            data: ``"digits"`` by default; a table as `ordinate.data.tabular.open_tabular` takes it, or ``"mnist"``, ``"fashion-mnist"``, ``"cifar10"``.
            setting: its scale decides on rows and numbers of labels.
            strict: no difference.

        Raises:
            InputError: no such data, or data without classes.
            MissingError: images that are not at hand.
        """
        name = data or "digits"
        rows = setting.pick(smoke=1_000, full=8_000, gpu=60_000)
        split = _pictures(name, rows, setting) if name in NAMED_IMAGES and name not in BUILT_IN else _table(name, rows)
        most = len(split.train_x)
        wanted = setting.pick(smoke=(20, 100, 500), full=(10, 20, 50, 100, 200, 500, 1000, 2000, 5000))
        return cls(split, [n for n in wanted if n <= most], title=name)

    def arm(self, name: str) -> Arm:
        """``"mixture"``, ``"factors"`` or ``"logistic"``."""
        make = ARMS[choose("arm", name, ARMS)]
        return Arm(name, make, role="baseline" if name == "logistic" else "method")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Accuracies with the first n labels, in the seed's order."""
        order = torch.randperm(len(self.train), generator=generator(run.seed, "labelled"))
        candidates = self._candidates(arm.make)
        accuracies, chosen = [], []
        for n in self.ns:
            rows = _with_two_classes(order, self.labels, n).numpy()
            scores = [self._score(candidate, rows) for candidate in candidates]
            accuracies.append(100 * max(scores))
            chosen.append(int(np.argmax(scores)))
        errors = [(len(self.train), n, max(100 - accuracy, 0.1)) for n, accuracy in zip(self.ns, accuracies, strict=True)]
        planner = SamplePlanner(resamples=0).fit(errors)
        return Outcome(
            {**{f"accuracy@{n}": value for n, value in zip(self.ns, accuracies, strict=True)}, "floor": planner.fit_.c},
            curves={"accuracy over labels": [(float(n), value) for n, value in zip(self.ns, accuracies, strict=True)]},
            notes={"chosen of the settings": chosen, "fit": planner.fit_._asdict()},
        )

    def _score(self, candidate: Any, rows: Any) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # components without a label are what few labels are about
            warnings.simplefilter("ignore", ConvergenceWarning)
            candidate.fit(self.train[rows], self.labels[rows].numpy())
        return float((candidate.predict(self.tests) == self.truth).mean())


def _with_two_classes(order: Tensor, labels: Tensor, n: int) -> Tensor:
    """The first n of the order; where they are all of one class, the next of another takes the last one's place."""
    first = order[:n]
    other = (labels[order] != labels[first[0]]).nonzero()
    if n > 1 and int(other[0]) >= n:
        first = torch.cat([first[:-1], order[other[0]]])
    return first


def _table(name: str, rows: int) -> TabularSplit:
    table = open_tabular(name)
    if table.classes is None:
        raise InputError(f"{name} has numbers as targets, and a vote needs classes: name another table or column")
    split = table.split(0)
    return TabularSplit(split.train_x[:rows], split.train_y[:rows], split.test_x, split.test_y)


def _pictures(name: str, rows: int, setting: Setting) -> TabularSplit:
    data = open_images(name, folder=setting.data_dir)
    parts = []
    for source, most in ((data.train, rows), (data.test, max(500, rows // 4))):
        some = source.take(torch.randperm(len(source), generator=generator("few labels", name))[:most])
        parts += [some["image"].flatten(1).double(), some["label"]]
    return TabularSplit(*parts)


TASKS = {FewLabels.name: FewLabels}
