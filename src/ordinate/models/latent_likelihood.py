r"""Heads fitted by maximum likelihood in place of empirical risk minimisation, to show why the latter is used.

Given a pretrained :math:`p(z \mid x)`, the likelihood of a label is :math:`p_\psi(y \mid x) = \int p_\psi(y \mid z)\, p(z \mid x)\, dz`. It is maximal at the truth when the pretrained model is right. When it is wrong, the
head also has to explain what the model gets wrong about the *spread* of the labels, and the predictor pays for it: the risk does not enter the objective.

- `LikelihoodRidge`: :math:`y \mid x \sim \mathcal N\bigl(w^\top E[z \mid x],\; \varepsilon^2 + w^\top \operatorname{Cov}(z \mid x)\, w\bigr)` with known noise :math:`\varepsilon`. A model that takes z to be less certain than it is
  makes long w unlikely and shrinks them.
- `LikelihoodTable`: :math:`p(y \mid z = k)` is any distribution a component, by expectation-maximisation; the class of greatest probability is predicted.

Source: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024), which pairs maximum likelihood for pretraining with empirical risk minimisation for the head; the two heads here are ours.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.models.latent_heads import RidgeHead

__all__ = ["LikelihoodRidge", "LikelihoodTable"]

_ROUNDS = 500


class LikelihoodRidge(RegressorMixin, BaseEstimator):
    """See the module.

    Attributes:
        weight_: (latents,) float64.
    """

    def __init__(self, covariance: Float[Tensor, "latents latents"], noise: float) -> None:
        """
        Args:
            covariance: of z given x.
            noise: the standard deviation of labels given z.
        """
        self.covariance = covariance
        self.noise = noise

    def fit(self, X: Any, y: Any) -> "LikelihoodRidge":
        """Maximise the likelihood, from the least squares' answer.

        Args:
            X: posterior means (n, latents).
            y: (n,).

        Raises:
            InputError: noise that is not positive, or a covariance of another size.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        if self.noise <= 0 or self.covariance.shape != (X.shape[1], X.shape[1]):
            raise InputError(
                f"the likelihood needs noise above 0 and a covariance of {X.shape[1]} latents, not {self.noise} and {tuple(self.covariance.shape)}"
            )
        z, targets = torch.tensor(np.asarray(X)), torch.tensor(np.asarray(y)).double()
        weight = RidgeHead().fit(z, targets).weight_.clone().requires_grad_()
        spread = self.covariance.double()
        optimizer = torch.optim.LBFGS([weight], max_iter=_ROUNDS, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            variance = self.noise**2 + weight @ spread @ weight
            value = 0.5 * ((targets - z @ weight).square().mean() / variance + variance.log())
            value.backward()
            return value

        optimizer.step(loss)
        self.weight_ = weight.detach()
        return self

    def predict(self, X: Any) -> Any:
        """Numbers (M,) for posterior means (M, latents)."""
        check_is_fitted(self)
        return (torch.tensor(np.asarray(validate_data(self, X, dtype=np.float64, reset=False))) @ self.weight_).numpy()


class LikelihoodTable(ClassifierMixin, BaseEstimator):
    """See the module.

    Attributes:
        classes_: the classes.
        table_: p(y | z = k), (K, classes).
    """

    def fit(self, X: Any, y: Any) -> "LikelihoodTable":
        """Maximise the likelihood.

        Args:
            X: posteriors (n, K).
            y: (n,), of any kind.

        Raises:
            InputError: one class.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError("labels of one class only tell components nothing: give labels of at least two")
        posterior, labels = torch.tensor(np.asarray(X)), torch.from_numpy(codes.reshape(-1)).long()
        chosen = torch.nn.functional.one_hot(labels, len(self.classes_)).double()
        tiny = torch.finfo(posterior.dtype).tiny
        table = (posterior.mT @ chosen + 1e-3).clamp(min=tiny)
        for _ in range(_ROUNDS):
            table = table / table.sum(dim=1, keepdim=True)
            joint = posterior * table[:, labels].mT
            blame = joint / joint.sum(dim=1, keepdim=True).clamp(min=tiny)
            table = (blame.mT @ chosen).clamp(min=tiny)
        self.table_ = table / table.sum(dim=1, keepdim=True)
        return self

    def predict(self, X: Any) -> Any:
        """The class (M,) for posteriors (M, K)."""
        check_is_fitted(self)
        posterior = torch.tensor(np.asarray(validate_data(self, X, dtype=np.float64, reset=False)))
        return self.classes_[(posterior @ self.table_).argmax(dim=1).numpy()]
