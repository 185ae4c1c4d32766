r"""The model class that unlabelled data cannot choose from: :math:`z = x_j` for an unknown coordinate j, with x uniform on :math:`\{-1, 1\}^d`.

:math:`p_j(x) = 2^{-d}` whatever j is, so that all d models have one likelihood: distances between the observed distributions are 0 where those between :math:`p_j(x, z)` are not, and no finite :math:`\kappa` makes the model
informative. Maximum likelihood ends in a tie, which is broken at random, or left for the labels to break.

Source: the limit of assumption 3.2 in Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024); the example is ours.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.latent_model import LatentModel

__all__ = ["HiddenCoordinate", "fewest_errors"]


class HiddenCoordinate(LatentModel):
    """See the module.

    Attributes:
        ties_: the coordinates of greatest likelihood, (ties,): all of them.
        index_: the one that was taken.
    """

    def __init__(self, random_state: Any = 0) -> None:
        """
        Args:
            random_state: by which the tie is broken.
        """
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "HiddenCoordinate":
        """Maximise the likelihood.

        Args:
            X: (m, d), of -1 and 1.
            y: not used.

        Raises:
            InputError: other numbers.
        """
        x = self._begin(X)
        if not bool((x.abs() == 1).all()):
            raise InputError("corners of a cube are made of -1 and 1")
        likelihood = torch.full((x.shape[1],), -len(x) * x.shape[1] * math.log(2))  # of every j alike: 2^-d a row
        self.ties_ = (likelihood == likelihood.max()).nonzero()[:, 0]
        self.index_ = int(self.ties_[torch.randint(len(self.ties_), (1,), generator=generator("tie", int(self.random_state)))])
        return self

    def posterior(self, x: Float[Tensor, "rows d"]) -> Float[Tensor, "rows latents"]:
        """p(z | x), (m, 2): z is certain."""
        return torch.stack([x[:, self.index_] < 0, x[:, self.index_] > 0], dim=1).to(x.dtype)

    @property
    def n_parameters(self) -> int:
        """One choice."""
        return 1

    def align_to(self, other: "HiddenCoordinate") -> "HiddenCoordinate":
        """This model: no transformation of z that a head undoes turns one coordinate into another."""
        return self


def fewest_errors(x: Float[Tensor, "rows d"], y: Int64[Tensor, " rows"]) -> tuple[int, bool]:
    """Empirical risk minimisation over all coordinates and both tables: the coordinate whose sign agrees with the labels 0 and 1 most often, or least often, and whether it has to be turned."""
    agree = ((x > 0) == (y[:, None] > 0)).double().mean(dim=0)
    index = int((agree - 0.5).abs().argmax())
    return index, bool(agree[index] < 0.5)
