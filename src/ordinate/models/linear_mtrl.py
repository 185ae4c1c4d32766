r"""A linear representation shared by tasks, with scikit-learn's manners: :math:`y = x^\top B w_t + c_t`.

Rows come with the number of their task (`tasks`), or with one column of targets a task. With one task, or with columns, it is a reduced rank regression; with as many features as inputs it is ordinary least squares.
Samples are kept as second moments, so that adding more costs their number alone. How B and W are found: :mod:`ordinate.models.alternating`.

Source: Wang et al., "Improved active multi-task representation learning via Lasso" (ICML 2023), section 2: the joint empirical risk minimisation, and the target's head with the representation frozen.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.models.alternating import fit_representation
from ordinate.models.task_learner import TaskLearner, check_samples
from ordinate.models.task_moments import TaskMoments

__all__ = ["LinearMTRL"]


class LinearMTRL(RegressorMixin, TaskLearner, BaseEstimator):
    """A linear representation and one head a task. See the module."""

    def __init__(self, rank: Any = None, *, intercept: Any = True, rounds: Any = 50, tolerance: Any = 1e-8, ridge: Any = 1e-9) -> None:
        """
        Args:
            rank: K, the representation's features; None is the number of tasks, or of inputs where there are fewer.
            intercept: every task has an intercept of its own.
            rounds, tolerance, ridge: of the alternation; see `ordinate.models.alternating.fit_representation`.
        """
        self.rank = rank
        self.intercept = intercept
        self.rounds = rounds
        self.tolerance = tolerance
        self.ridge = ridge

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, tasks: Any = None) -> "LinearMTRL":
        """Learn the representation and the heads.

        Args:
            X: (n, d).
            y: (n,) targets; (n, T) without `tasks`, one column a task on the same inputs.
            tasks: (n,) the task of each row, integers from 0; None where all rows are of one task, or of every column's.

        Raises:
            InputError: more features than tasks or inputs, or tasks that are not integers from 0.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True)
        inputs, targets = torch.tensor(np.asarray(X), dtype=torch.float64), torch.tensor(np.asarray(y), dtype=torch.float64)
        if tasks is None:
            self._flat = targets.ndim == 1
            columns = targets.view(len(inputs), -1)
            self.begin(columns.shape[1])
            for task, column in enumerate(columns.unbind(dim=1)):
                self.add(task, inputs, column)
        else:
            numbers = _task_numbers(tasks, len(inputs))
            if targets.ndim != 1:
                raise InputError("targets are (n,) where rows come with their tasks")
            self._flat = False
            self.begin(int(numbers.max()) + 1)
            for task in numbers.unique().tolist():
                self.add(task, inputs[numbers == task], targets[numbers == task])
        self.learn()
        return self

    def begin(self, tasks: int) -> None:
        if tasks < 1:
            raise InputError(f"there must be at least one task, not {tasks}")
        if self.rank is not None and not 1 <= self.rank <= tasks:
            raise InputError(f"a representation that {tasks} tasks share has 1 to {tasks} features, not {self.rank}")
        self._tasks = tasks
        self._moments: TaskMoments | None = None

    def add(self, task: int, X: Tensor, y: Tensor) -> None:
        self.check_task(task, self._tasks, X, y)
        if self._moments is None:
            self._moments = TaskMoments(self._tasks, X[0].numel() if len(X) else int(np.prod(X.shape[1:])))
        self._moments.add(task, X.flatten(1), y)

    def learn(self, seed: int = 0) -> None:
        moments = self._moments
        if moments is None:
            raise InputError("a representation is learnt from samples, and there are none")
        rank = min(self._tasks, moments.features) if self.rank is None else self.rank
        used = moments.centred() if self.intercept else moments
        found = fit_representation(used, rank, rounds=self.rounds, tolerance=self.tolerance, ridge=self.ridge)
        self.B, self.W, self.losses_ = found.B, found.W, found.losses
        self.n_features_in_ = moments.features
        self.intercept_ = torch.zeros(self._tasks, dtype=torch.float64)
        if self.intercept:
            count = moments.count.clamp(min=1)
            self.intercept_ = (moments.target - (moments.total @ self.B * self.W.mT).sum(dim=1)) / count

    @property
    def heads(self) -> Float64[Tensor, "features tasks"]:
        """W, (K, T)."""
        check_is_fitted(self, "B")
        return self.W

    def encode(self, X: Tensor) -> Float64[Tensor, "samples features"]:
        """X B, (n, K)."""
        check_is_fitted(self, "B")
        return X.flatten(1).double() @ self.B

    def fit_head(self, X: Tensor, y: Tensor) -> tuple[Float64[Tensor, " features"], float]:
        """Least squares on the features, the smallest solution where there are fewer samples than features."""
        check_samples(X, y)
        if not len(X):
            raise InputError("a head is fitted to samples, and there are none")
        features, y = self.encode(X), y.double()
        if not self.intercept:
            return torch.linalg.lstsq(features, y[:, None], driver="gelsd").solution[:, 0], 0.0
        mean, level = features.mean(dim=0), float(y.mean())
        head = torch.linalg.lstsq(features - mean, (y - level)[:, None], driver="gelsd").solution[:, 0]
        return head, level - float(mean @ head)

    def predict(self, X: Any, tasks: Any = None) -> Any:
        """Targets of rows (n, d): (n,) for the task of each row; without `tasks` those of every task, (n, T), or (n,) where it was fitted on one column.

        Raises:
            InputError: a task that was not there in `fit`.
        """
        check_is_fitted(self, "B")
        rows = torch.tensor(np.asarray(validate_data(self, X, dtype=[np.float64, np.float32], reset=False)), dtype=torch.float64)
        every = self.encode(rows) @ self.W + self.intercept_
        if tasks is None:
            return (every[:, 0] if self._flat else every).numpy()
        numbers = _task_numbers(tasks, len(rows))
        if len(numbers) and int(numbers.max()) >= self._tasks:
            raise InputError(f"there is no task {int(numbers.max())}: there are {self._tasks}, numbered from 0")
        return every.gather(1, numbers[:, None])[:, 0].numpy()


def _task_numbers(tasks: Any, rows: int) -> Tensor:
    numbers = np.asarray(tasks)
    if numbers.shape != (rows,) or numbers.dtype.kind not in "iu" or (rows and numbers.min() < 0):
        raise InputError(f"tasks are {rows} integers from 0, one a row")
    return torch.tensor(numbers, dtype=torch.int64)
