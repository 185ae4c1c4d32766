r"""What a pretrainer is: a latent-variable model :math:`p_\varphi(x, z)` that is fitted to unlabelled inputs by maximum likelihood, and gives what a head needs of the latent variable.

`fit` and `transform` have scikit-learn's manners (arrays in, arrays out); `posterior` is the same as `transform` on tensors: :math:`E[z \mid x]` where z is a vector, :math:`p(z \mid x)` where it is a class. A model is
identified only up to a transformation that leaves the distribution of the inputs as it is (a rotation, a permutation): `align_to` gives the equivalent model that is nearest to another.

Source: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024), algorithm 1 and assumption 3.2.
"""

from abc import abstractmethod
from copy import copy
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["LatentModel", "check_alike"]

_Self = TypeVar("_Self", bound="LatentModel")


class LatentModel(TransformerMixin, BaseEstimator):
    """The contract of a pretrainer."""

    @abstractmethod
    def posterior(self, x: Float[Tensor, "rows d"]) -> Float[Tensor, "rows latents"]:
        """What a head sees of rows (m, d), on tensors: the mean of z, or the probabilities of its values."""

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """How many free numbers the likelihood was maximised over."""

    @abstractmethod
    def align_to(self: _Self, other: _Self) -> _Self:
        """The equivalent model whose latent variable is nearest to another's.

        Raises:
            InputError: the other has a latent variable or inputs of another size.
        """

    def transform(self, X: Any) -> Any:
        """What a head sees of rows (M, d), as an array (M, latents)."""
        return self.posterior(self._read(X)).numpy()

    def _begin(self, X: Any) -> Tensor:
        return torch.tensor(np.asarray(validate_data(self, _array(X), dtype=[np.float64, np.float32])))

    def _read(self, X: Any) -> Tensor:
        check_is_fitted(self)
        return torch.tensor(np.asarray(validate_data(self, _array(X), dtype=[np.float64, np.float32], reset=False)))

    def _copied(self: _Self, **changed: Tensor) -> _Self:
        other = copy(self)
        for name, value in changed.items():
            setattr(other, name, value)
        return other


def _array(X: Any) -> Any:
    return X.numpy() if isinstance(X, Tensor) else X  # scikit-learn does not read the dtype of a tensor


def check_alike(one: Tensor, other: Tensor) -> None:
    """Refuse to align parameters of different shapes.

    Raises:
        InputError: the shapes differ.
    """
    if one.shape != other.shape:
        raise InputError(f"models of one shape can be aligned, not of {tuple(one.shape)} and {tuple(other.shape)}")
