"""What is asked of a learner of one representation for many tasks: samples are added task by task, everything is learnt anew from all of them, and a new task's head is fitted on the representation as it stands.

Heads of the sources and of a new task must come from the same representation, in a basis in which the representation's coordinates are alike (orthonormal directions, or features of unit second moment): combinations of heads that
are found with a penalty depend on the basis.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["TaskLearner", "check_samples"]


class TaskLearner(ABC):
    """A representation of K features that T tasks share, each with a linear head on it."""

    @abstractmethod
    def begin(self, tasks: int) -> None:
        """Forget everything; there are `tasks` tasks, without samples.

        Raises:
            InputError: fewer tasks than the representation has features, or no task.
        """

    @abstractmethod
    def add(self, task: int, X: Tensor, y: Tensor) -> None:
        """Add samples of one task.

        Args:
            task: its number, from 0.
            X: (n, ...) inputs.
            y: (n,) targets.

        Raises:
            InputError: no such task, or samples of another shape or that are not finite.
        """

    @abstractmethod
    def learn(self, seed: int = 0) -> None:
        """Learn the representation and the heads from all samples that were added.

        Raises:
            InputError: there are none.
        """

    @property
    @abstractmethod
    def heads(self) -> Float[Tensor, "features tasks"]:
        """The heads of the tasks (K, T), float64."""

    @abstractmethod
    def encode(self, X: Tensor) -> Float[Tensor, "samples features"]:
        """The features (n, K), float64, of inputs (n, ...)."""

    @abstractmethod
    def fit_head(self, X: Tensor, y: Tensor) -> tuple[Float[Tensor, " features"], float]:
        """A new task's head (K,) and intercept on the representation as it stands.

        Args:
            X: (n, ...) inputs.
            y: (n,) targets.

        Raises:
            InputError: no samples.
        """

    def fit_tasks(self, samples: Sequence[tuple[Tensor, Tensor]], seed: int = 0) -> "TaskLearner":
        """Learn from (X, y) of every task at once."""
        self.begin(len(samples))
        for task, (X, y) in enumerate(samples):
            self.add(task, X, y)
        self.learn(seed)
        return self

    @staticmethod
    def check_task(task: int, tasks: int, X: Tensor, y: Tensor) -> None:
        """Raise `InputError` unless there is such a task and (X, y) are finite samples of it."""
        if not 0 <= task < tasks:
            raise InputError(f"there is no task {task}: there are {tasks}, numbered from 0")
        check_samples(X, y)


def check_samples(X: Tensor, y: Tensor) -> None:
    """Raise `InputError` unless `X` (n, ...) and `y` (n,) are finite and have as many rows."""
    if X.ndim < 2 or y.ndim != 1 or len(X) != len(y):
        raise InputError(f"samples are inputs (n, ...) and targets (n,), not {tuple(X.shape)} and {tuple(y.shape)}")
    if not (bool(X.isfinite().all()) and bool(y.isfinite().all())):
        raise InputError("samples must be finite: there is a NaN or an infinity among them")
