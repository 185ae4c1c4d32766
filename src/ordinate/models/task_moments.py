r"""What least squares needs to know of the samples of many tasks: :math:`X_t^\top X_t`, :math:`X_t^\top y_t`, :math:`y_t^\top y_t`, the sums and the numbers of samples.

They are sums over samples, so new samples are added to them, and whatever iterates over the tasks afterwards costs the same for a hundred samples as for a million.
"""

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["TaskMoments"]


class TaskMoments:
    """Second moments of the samples of T tasks with d features.

    Args:
        tasks: T.
        features: d.

    Attributes:
        gram: (T, d, d) sums of x x^T.
        cross: (T, d) sums of x y.
        square: (T,) sums of y².
        total: (T, d) sums of x.
        target: (T,) sums of y.
        count: (T,) int64 numbers of samples.
    """

    def __init__(self, tasks: int, features: int) -> None:
        if tasks < 1 or features < 1:
            raise InputError(f"moments are of at least one task with one feature, not {tasks} with {features}")
        self.gram: Float64[Tensor, "tasks features features"] = torch.zeros(tasks, features, features, dtype=torch.float64)
        self.cross: Float64[Tensor, "tasks features"] = torch.zeros(tasks, features, dtype=torch.float64)
        self.square: Float64[Tensor, " tasks"] = torch.zeros(tasks, dtype=torch.float64)
        self.total: Float64[Tensor, "tasks features"] = torch.zeros(tasks, features, dtype=torch.float64)
        self.target: Float64[Tensor, " tasks"] = torch.zeros(tasks, dtype=torch.float64)
        self.count: Int64[Tensor, " tasks"] = torch.zeros(tasks, dtype=torch.int64)

    @property
    def tasks(self) -> int:
        """T."""
        return len(self.count)

    @property
    def features(self) -> int:
        """d."""
        return self.gram.shape[1]

    def add(self, task: int, X: Tensor, y: Tensor) -> None:
        """Add samples of one task.

        Args:
            task: from 0 to T - 1.
            X: (n, d).
            y: (n,).

        Raises:
            InputError: inputs of another width.
        """
        if X.ndim != 2 or X.shape[1] != self.features:
            raise InputError(f"inputs are (n, {self.features}), not {tuple(X.shape)}")
        X, y = X.double(), y.double()
        self.gram[task] += X.mT @ X
        self.cross[task] += X.mT @ y
        self.square[task] += y @ y
        self.total[task] += X.sum(dim=0)
        self.target[task] += y.sum()
        self.count[task] += len(y)

    def centred(self) -> "TaskMoments":
        """The moments of the samples less their task's means: what is left when every task has an intercept of its own."""
        moments = TaskMoments(self.tasks, self.features)
        count = self.count.clamp(min=1).double()
        moments.gram = self.gram - torch.einsum("ti,tj->tij", self.total, self.total) / count[:, None, None]
        moments.cross = self.cross - self.total * (self.target / count)[:, None]
        moments.square = self.square - self.target.square() / count
        moments.count = self.count.clone()
        return moments
