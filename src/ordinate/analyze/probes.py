r"""Probes: simple classifiers fitted on frozen embeddings, with scikit-learn's manners.

- `NeighbourProbe`: the k nearest training embeddings vote, each once, or with weight :math:`\exp(s / \tau)` of its cosine similarity s (Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance
  Discrimination", 2018, section 3.4);
- `ClassMeanProbe`: the nearest mean of a class (nearest class mean; few-shot classification in the manner of Snell et al., "Prototypical Networks", 2017);
- `RidgeProbe`: a linear classifier by ridge regression onto one-hot labels, in closed form: the linear probe where there are many to be fitted.

All of them take arrays or CPU tensors (N, d) and labels of any kind, and compute with torch. As scikit-learn asks, arguments of a constructor are checked when the probe is fitted.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ordinate.ground.errors import InputError, choose

__all__ = ["ClassMeanProbe", "NeighbourProbe", "RidgeProbe"]

_METRICS = ("cosine", "l2")
_DISTANCES_AT_ONCE = 1 << 24


class _Probe(ClassifierMixin, BaseEstimator):
    """Labels to numbers and back, and arrays to tensors."""

    def _begin(self, X: Any, y: Any) -> tuple[Tensor, Tensor]:
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"a probe tells classes apart, and there is {len(self.classes_)} class: give labels of at least two")
        return torch.from_numpy(np.array(X)), torch.from_numpy(codes.reshape(-1)).long()

    def _read(self, X: Any) -> Tensor:
        check_is_fitted(self)
        return torch.from_numpy(np.array(validate_data(self, X, dtype=[np.float64, np.float32], reset=False)))

    def _named(self, codes: Tensor) -> Any:
        return self.classes_[codes.numpy()]


def _prepared(X: Tensor, metric: str) -> Tensor:
    return F.normalize(X, dim=1) if choose("metric", metric, _METRICS) == "cosine" else X


class NeighbourProbe(_Probe):
    """The k nearest training embeddings vote."""

    def __init__(self, neighbours: Any = 1, metric: Any = "cosine", temperature: Any = None) -> None:
        """
        Args:
            neighbours: k.
            metric: ``"cosine"`` or ``"l2"``.
            temperature: votes weigh exp(cosine similarity / temperature); None gives every neighbour one vote. Of equal votes the first class in sorted order wins.
        """
        self.neighbours = neighbours
        self.metric = metric
        self.temperature = temperature

    def fit(self, X: Any, y: Any) -> "NeighbourProbe":
        """Keep the training embeddings.

        Args:
            X: (N, d).
            y: (N,).

        Raises:
            InputError: one class, more neighbours than embeddings, or an unknown metric.
        """
        X, codes = self._begin(X, y)
        if self.neighbours < 1:
            raise InputError(f"neighbours must be at least 1, not {self.neighbours}")
        if self.temperature is not None and (self.temperature <= 0 or self.metric != "cosine"):
            raise InputError("votes are weighed by cosine similarity: temperature must be positive, and the metric cosine")
        self.points_, self.codes_ = _prepared(X, self.metric), codes
        return self

    def predict(self, X: Any) -> Any:
        """The labels (M,) of embeddings (M, d)."""
        queries = _prepared(self._read(X).to(self.points_), self.metric)
        k = min(self.neighbours, len(self.points_))
        some = max(1, _DISTANCES_AT_ONCE // len(self.points_))
        squares = self.points_.square().sum(dim=1)
        found = []
        for block in queries.split(some):
            scores = torch.addmm(squares, block, self.points_.t(), alpha=-2.0)
            nearest = scores.topk(k, dim=1, largest=False)
            codes = self.codes_[nearest.indices]
            if k == 1:
                found.append(codes[:, 0])
                continue
            weights = torch.ones_like(nearest.values)
            if self.temperature is not None:
                similarity = (squares[nearest.indices] - nearest.values) / 2
                weights = ((similarity - similarity[:, :1]) / self.temperature).exp()
            votes = torch.zeros(len(block), len(self.classes_), dtype=weights.dtype).scatter_add_(1, codes, weights)
            found.append(votes.argmax(dim=1))
        return self._named(torch.cat(found))


class ClassMeanProbe(_Probe):
    """The nearest class mean."""

    def __init__(self, metric: Any = "cosine") -> None:
        """
        Args:
            metric: ``"cosine"`` scales embeddings to unit length before they are averaged; ``"l2"`` takes them as they are.
        """
        self.metric = metric

    def fit(self, X: Any, y: Any) -> "ClassMeanProbe":
        """Average the embeddings of every class.

        Args:
            X: (N, d).
            y: (N,).

        Raises:
            InputError: one class, or an unknown metric.
        """
        X, codes = self._begin(X, y)
        points = _prepared(X, self.metric)
        sums = torch.zeros(len(self.classes_), points.shape[1], dtype=points.dtype).index_add_(0, codes, points)
        self.means_ = _prepared(sums / torch.bincount(codes)[:, None], self.metric)
        return self

    def predict(self, X: Any) -> Any:
        """The labels (M,) of embeddings (M, d)."""
        queries = _prepared(self._read(X).to(self.means_), self.metric)
        scores = torch.addmm(self.means_.square().sum(dim=1), queries, self.means_.t(), alpha=-2.0)
        return self._named(scores.argmin(dim=1))


class RidgeProbe(_Probe):
    r"""A linear classifier: :math:`\arg\min_W \lVert X W + b - Y \rVert^2 + \alpha N \lVert W \rVert^2` for one-hot Y, features standardised, in closed form."""

    def __init__(self, alpha: Any = 1e-3) -> None:
        """
        Args:
            alpha: the penalty, an example.
        """
        self.alpha = alpha

    def fit(self, X: Any, y: Any) -> "RidgeProbe":
        """Solve for the weights.

        Args:
            X: (N, d).
            y: (N,).

        Raises:
            InputError: one class, or a penalty that is not positive.
        """
        X, codes = self._begin(X, y)
        if self.alpha <= 0:
            raise InputError(f"alpha must be positive, or features that repeat each other have no single solution, not {self.alpha}")
        X = X.double()
        self.mean_ = X.mean(dim=0)
        self.scale_ = X.std(dim=0, unbiased=False)
        self.scale_[self.scale_ < 1e-12] = 1.0
        scaled = (X - self.mean_) / self.scale_
        targets = F.one_hot(codes, len(self.classes_)).double()
        self.bias_ = targets.mean(dim=0)
        gram = scaled.t() @ scaled + self.alpha * len(X) * torch.eye(X.shape[1], dtype=X.dtype)
        self.weight_ = torch.linalg.solve(gram, scaled.t() @ (targets - self.bias_))
        return self

    def decide(self, X: Any) -> Tensor:
        """Scores (M, classes), float64, whose largest is the prediction."""
        return (self._read(X).double() - self.mean_) / self.scale_ @ self.weight_ + self.bias_

    def predict(self, X: Any) -> Any:
        """The labels (M,) of embeddings (M, d)."""
        return self._named(self.decide(X).argmax(dim=1))
