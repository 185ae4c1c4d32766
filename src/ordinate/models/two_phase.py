r"""Learning in two phases: a latent-variable model is fitted to unlabelled inputs by maximum likelihood, and a small head to labels on top of its posterior by empirical risk minimisation.

.. math:: \hat\varphi = \arg\max_\varphi \sum_{i=1}^m \log p_\varphi(x_i, s_i), \qquad \hat\psi = \arg\min_\psi \sum_{j=1}^n \ell\bigl(g_{\hat\varphi, \psi}(x_j), y_j\bigr),

where :math:`g_{\varphi, \psi}(x)` is the Bayes predictor of the model. The pretrained model is not tuned any further in the second phase.

With enough unlabelled rows the number of labels that are needed grows with the head, not with the inputs.

Source: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024), algorithm 1.
"""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ordinate.ground.errors import InputError, choose
from ordinate.models.factor_model import FactorModel
from ordinate.models.gaussian_mixture import GaussianMixturePretrainer
from ordinate.models.latent_heads import RidgeHead, VoteHead
from ordinate.models.latent_likelihood import LikelihoodRidge, LikelihoodTable

__all__ = ["TwoPhaseClassifier", "TwoPhaseRegressor"]

PHASES = ("erm", "mle")


class _TwoPhase(BaseEstimator):
    """What both share: the first phase, and what the head sees.

    Attributes:
        pretrainer_: the fitted model.
        head_: the fitted head.
    """

    pretrainer: Any
    head: Any
    prefit: Any
    phase2: Any

    def _pretrain(self, X: Any, unlabelled: Any, default: Any) -> None:
        choose("second phase", self.phase2, PHASES)
        if self.prefit:
            if self.pretrainer is None or unlabelled is not None:
                raise InputError("prefit=True takes a fitted pretrainer as it is, without unlabelled rows")
            check_is_fitted(self.pretrainer)
            self.pretrainer_ = self.pretrainer
        else:
            self.pretrainer_ = clone(default if self.pretrainer is None else self.pretrainer)
            given = (X,) if unlabelled is None else unlabelled if isinstance(unlabelled, tuple) else (unlabelled,)
            self.pretrainer_.fit(*given)
        if self.pretrainer_.n_features_in_ != X.shape[1]:
            raise InputError(f"unlabelled rows have {self.pretrainer_.n_features_in_} features and labelled ones {X.shape[1]}")

    def _seen(self, X: Any) -> Any:
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self.pretrainer_.posterior(torch.tensor(np.asarray(rows))).numpy()

    def predict(self, X: Any) -> Any:
        """The Bayes predictor of both fitted phases, (M,), for rows (M, d)."""
        seen = self._seen(X)
        return self.head_.predict(seen)


class TwoPhaseRegressor(RegressorMixin, _TwoPhase):
    """Two phases for a number that is linear in the latent variable. See the module."""

    def __init__(
        self, pretrainer: Any = None, head: Any = None, *, limit: Any = None, prefit: Any = False, phase2: Any = "erm", noise: Any = 1.0
    ) -> None:
        """
        Args:
            pretrainer: a latent-variable model; by default one factor with free noise.
            head: anything with `fit` and `predict` on posterior means; by default least squares.
            limit: where the default head's squared error is truncated; None for nowhere.
            prefit: the pretrainer is fitted already and is taken as it is. A clone of the estimator has it unfitted.
            phase2: ``"erm"``; ``"mle"`` fits the head by maximum likelihood, to show what that does when the pretrained model is wrong.
            noise: with ``"mle"``, the standard deviation of labels given the latent variable.
        """
        self.pretrainer = pretrainer
        self.head = head
        self.limit = limit
        self.prefit = prefit
        self.phase2 = phase2
        self.noise = noise

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # a head on one factor is no match for scikit-learn's example of ten informative features
        return tags

    def fit(self, X: Any, y: Any, unlabelled: Any = None) -> "TwoPhaseRegressor":
        """Both phases.

        Args:
            X: labelled rows (n, d).
            y: (n,) numbers.
            unlabelled: rows (m, d) for the first phase, or a tuple of all that the pretrainer's `fit` takes: (X1, X2, s). None takes the labelled rows without their labels.

        Raises:
            InputError: rows of different widths, an unknown phase, or whatever pretrainer and head refuse.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], y_numeric=True)
        self._pretrain(X, unlabelled, FactorModel(1, noise="free"))
        if self.phase2 == "mle":
            if not hasattr(self.pretrainer_, "posterior_covariance"):
                raise InputError("maximum likelihood of numbers needs a pretrainer with a posterior_covariance")
            head: Any = LikelihoodRidge(self.pretrainer_.posterior_covariance(), self.noise)
        else:
            head = RidgeHead(limit=self.limit) if self.head is None else clone(self.head)
        self.head_ = head.fit(self._seen(X), y)
        return self


class TwoPhaseClassifier(ClassifierMixin, _TwoPhase):
    """Two phases for a class that depends on the component of a mixture. See the module."""

    def __init__(self, pretrainer: Any = None, head: Any = None, *, prefit: Any = False, phase2: Any = "erm") -> None:
        """
        Args:
            pretrainer: a latent-variable model; by default a mixture of two Gaussians with free noise.
            head: anything with `fit` and `predict` on posteriors; by default a weighted majority vote a component.
            prefit, phase2: see `TwoPhaseRegressor`.
        """
        self.pretrainer = pretrainer
        self.head = head
        self.prefit = prefit
        self.phase2 = phase2

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # two components tell three blobs apart badly
        return tags

    def fit(self, X: Any, y: Any, unlabelled: Any = None) -> "TwoPhaseClassifier":
        """Both phases.

        Args:
            X: labelled rows (n, d).
            y: (n,) classes of any kind.
            unlabelled: as for `TwoPhaseRegressor.fit`.

        Raises:
            InputError: one class, rows of different widths, an unknown phase, or whatever pretrainer and head refuse.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise InputError("labels of one class only tell nothing apart: give labels of at least two")
        self._pretrain(X, unlabelled, GaussianMixturePretrainer(2, noise="free"))
        head = LikelihoodTable() if self.phase2 == "mle" else VoteHead() if self.head is None else clone(self.head)
        self.head_ = head.fit(self._seen(X), y)
        return self
