r"""Heads: what is fitted to labels on top of a latent posterior, by empirical risk minimisation.

- `RidgeHead`: :math:`\arg\min_w \frac1n \sum_j \min\bigl((y_j - w^\top z_j)^2, L\bigr) + \alpha \|w\|^2`, the squared error truncated at L, on posterior means z. Without truncation it has a closed form. With it, rows whose error
  is past L are left out and the rest is solved again until nothing changes: the squared error of the rows that are kept, and L for the others, lies above the truncated loss and touches it, so that no round makes it worse.
- `VoteHead`: a class for every component of a mixture, the one that most labelled rows have, each weighed by its posterior of the component; a row's class is then the one with the largest posterior.

Source: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024), algorithm 1 and the sections on factor models and Gaussian mixtures.
"""

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ordinate.ground.errors import InputError, choose

__all__ = ["RidgeHead", "VoteHead"]

EMPTY = ("majority", "nearest")
_ROUNDS = 100


class RidgeHead(RegressorMixin, BaseEstimator):
    """Least squares without an intercept, as latent variables have mean zero. See the module.

    Attributes:
        weight_: (latents,) float64.
        kept_: how many rows were within the limit at the end.
    """

    def __init__(self, alpha: Any = 0.0, limit: Any = None) -> None:
        """
        Args:
            alpha: the penalty, a row.
            limit: L, or None for plain squared error.
        """
        self.alpha = alpha
        self.limit = limit

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # scikit-learn's own example has an intercept
        return tags

    def fit(self, X: Any, y: Any) -> "RidgeHead":
        """Minimise the empirical risk.

        Args:
            X: posterior means (n, latents).
            y: (n,).

        Raises:
            InputError: a negative penalty, or a limit that is not positive.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], y_numeric=True)
        if self.alpha < 0 or (self.limit is not None and self.limit <= 0):
            raise InputError(f"alpha must be 0 or more and limit positive or None, not {self.alpha} and {self.limit}")
        z, targets = torch.tensor(np.asarray(X)).double(), torch.tensor(np.asarray(y)).double()
        kept = torch.ones(len(z), dtype=torch.bool)
        for _ in range(_ROUNDS):
            self.weight_ = _solve(z[kept], targets[kept], self.alpha * len(z))
            if self.limit is None:
                break
            within = (targets - z @ self.weight_).square() < self.limit
            if bool((within == kept).all()) or not bool(within.any()):
                break
            kept = within
        self.kept_ = int(kept.sum())
        return self

    def predict(self, X: Any) -> Any:
        """Numbers (M,) for posterior means (M, latents)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return (torch.tensor(np.asarray(X)).double() @ self.weight_).numpy()


def _solve(z: Tensor, targets: Tensor, penalty: float) -> Tensor:
    if penalty == 0:
        return torch.linalg.lstsq(z, targets[:, None], driver="gelsd").solution[:, 0]  # the shortest where several fit
    return torch.linalg.solve(z.mT @ z + penalty * torch.eye(z.shape[1], dtype=z.dtype), z.mT @ targets)


class VoteHead(ClassifierMixin, BaseEstimator):
    """A weighted majority vote a component. See the module.

    Attributes:
        classes_: the classes.
        table_: the class of every component by its number in `classes_`, (K,).
        empty_: how many components had no labelled row.
    """

    def __init__(self, empty: Any = "majority", least: Any = 1e-3) -> None:
        """
        Args:
            empty: the class of a component without a labelled row: ``"majority"``, the most frequent of all, or ``"nearest"``, the vote of what little posterior it has.
            least: the posterior mass, in rows, below which a component has none.
        """
        self.empty = empty
        self.least = least

    def fit(self, X: Any, y: Any) -> "VoteHead":
        """Count the votes.

        Args:
            X: posteriors (n, K), 0 or more.
            y: (n,), of any kind.

        Raises:
            InputError: one class, negative posteriors, or an unknown rule.

        Warns:
            UserWarning: components have no labelled row.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        choose("rule for empty components", self.empty, EMPTY)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError("labels of one class only tell components nothing: give labels of at least two")
        posterior = torch.tensor(np.asarray(X)).double()
        if bool((posterior < 0).any()):
            raise InputError("a vote is weighed by posteriors, which are 0 or more")
        chosen = torch.nn.functional.one_hot(torch.from_numpy(codes.reshape(-1)).long(), len(self.classes_)).double()
        votes = posterior.mT @ chosen
        self.table_ = votes.argmax(dim=1)
        without = votes.sum(dim=1) < (self.least if self.empty == "majority" else torch.finfo(votes.dtype).tiny)
        self.table_[without] = chosen.sum(dim=0).argmax()
        self.empty_ = int((votes.sum(dim=1) < self.least).sum())
        if self.empty_:
            rule = "the most frequent class of all" if self.empty == "majority" else "the class of the rows nearest to them"
            warnings.warn(f"{self.empty_} of {len(votes)} components have no labelled row and get {rule}: label more rows", stacklevel=2)
        return self

    def predict_proba(self, X: Any) -> Any:
        """The posterior of every class (M, classes) for posteriors (M, K)."""
        check_is_fitted(self)
        posterior = torch.tensor(np.asarray(validate_data(self, X, dtype=[np.float64, np.float32], reset=False))).double()
        return torch.zeros(len(posterior), len(self.classes_), dtype=torch.float64).index_add_(1, self.table_, posterior).numpy()

    def predict(self, X: Any) -> Any:
        """The class (M,) for posteriors (M, K)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
