r"""A mixture of K Gaussians of equal weight and one isotropic covariance, :math:`x \mid z = k \sim \mathcal N(u_k, \sigma^2 I)`, by expectation-maximisation.

.. math:: p(z = k \mid x) = \operatorname{softmax}_k\!\left(-\|x - u_k\|^2 / 2 \sigma^2\right), \qquad u_k \leftarrow \frac{\sum_i p(k \mid x_i)\, x_i}{\sum_i p(k \mid x_i)}.

The squared norm of x is the same for every k, so that a step is two matrix products a block of rows; blocks are small enough to stay in the cache. The likelihood has local optima, which look like a failure of the theory and
are one of the optimiser: EM starts from several draws of k-means++ (greedy, as in scikit-learn), and the best end is kept. The model is identified up to the order of its components.

Sources: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024), the section on Gaussian mixtures, where :math:`\sigma = 1`; Arthur and Vassilvitskii, k-means++ (2007).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Generator, Tensor

from ordinate.ground.errors import InputError, choose
from ordinate.models.latent_model import LatentModel, check_alike

__all__ = ["GaussianMixturePretrainer"]

NOISES = ("unit", "free")
_ROWS = 4096  # of a block


@dataclass
class _End:
    """Where EM ended from one start."""

    centres: Tensor
    variance: float
    curve: list[float]
    converged: bool


class GaussianMixturePretrainer(LatentModel):
    """See the module.

    Attributes:
        centres_: (K, d).
        noise_variance_: sigma squared.
        likelihoods_: the mean log-likelihood that every start ended at, nats a row.
        likelihood_curve_: of the best start, after every step.
        converged_: whether the best start's likelihood stopped rising.
    """

    def __init__(
        self,
        components: Any = 2,
        *,
        n_init: Any = 3,
        noise: Any = "unit",
        steps: Any = 200,
        tol: Any = 1e-6,
        start: Any = None,
        random_state: Any = 0,
    ) -> None:
        """
        Args:
            components: K.
            n_init: starts.
            noise: ``"unit"``: variance 1, as in the paper; ``"free"``: estimated.
            steps: at most this many of EM, a start.
            tol: a start ends when a step gains less, nats a row.
            start: centres (K, d) to begin at, in place of draws.
            random_state: of the starts.
        """
        self.components = components
        self.n_init = n_init
        self.noise = noise
        self.steps = steps
        self.tol = tol
        self.start = start
        self.random_state = random_state

    @classmethod
    def of_centres(cls, centres: Float[Tensor, "components d"], noise_variance: float = 1.0) -> "GaussianMixturePretrainer":
        """A model that is known.

        Raises:
            InputError: a variance that is not positive.
        """
        if noise_variance <= 0:
            raise InputError(f"the variance of the noise must be positive, not {noise_variance}")
        model = cls(len(centres), noise="unit" if noise_variance == 1.0 else "free")
        model.n_features_in_ = centres.shape[1]
        model.centres_, model.noise_variance_ = centres, noise_variance
        return model

    def fit(self, X: Any, y: Any = None) -> "GaussianMixturePretrainer":
        """Maximise the likelihood.

        Args:
            X: (m, d).
            y: not used.

        Raises:
            InputError: more components than rows, centres of another shape to begin at, or an argument out of range.
        """
        x = self._begin(X)
        choose("noise", self.noise, NOISES)
        if not 1 <= self.components <= len(x):
            raise InputError(f"{self.components} components cannot be fitted to n_samples={len(x)} rows: ask for 1 to {len(x)}")
        if self.n_init < 1 or self.steps < 1 or self.tol < 0:
            raise InputError(f"n_init and steps must be at least 1 and tol 0 or more, not {self.n_init}, {self.steps} and {self.tol}")
        chance = Generator().manual_seed(int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)))
        squares = x.square().sum(dim=1)
        starts: Iterable[Tensor] = (_spread_out(x, squares, self.components, chance) for _ in range(self.n_init))
        if self.start is not None:
            given = torch.as_tensor(np.asarray(self.start)).to(x)
            if given.shape != (self.components, x.shape[1]) or not bool(given.isfinite().all()):
                raise InputError(f"EM begins at finite centres {(self.components, x.shape[1])}, not {tuple(given.shape)}")
            starts = [given]
        ends = [self._climb(x, squares, centres) for centres in starts]
        best = max(ends, key=lambda end: end.curve[-1])
        self.centres_, self.noise_variance_ = best.centres, best.variance
        self.likelihoods_ = [end.curve[-1] for end in ends]
        self.likelihood_curve_, self.converged_ = best.curve, best.converged
        return self

    def posterior(self, x: Float[Tensor, "rows d"]) -> Float[Tensor, "rows latents"]:
        """p(z | x), (m, K), of rows (m, d)."""
        check_is_fitted(self)
        return _scores(x.to(self.centres_), self.centres_, self.noise_variance_).softmax(dim=1)

    def predict(self, X: Any) -> Any:
        """The likeliest component (M,) of rows (M, d)."""
        return self.posterior(self._read(X)).argmax(dim=1).numpy()

    def log_prob(self, X: Any) -> Float[Tensor, " rows"]:
        """The log-density of every row, (m,), in nats."""
        x = self._read(X).to(self.centres_)
        constant = _constant(len(self.centres_), x.shape[1], self.noise_variance_)
        return (
            _scores(x, self.centres_, self.noise_variance_).logsumexp(dim=1) - x.square().sum(dim=1) / (2 * self.noise_variance_) + constant
        )

    def score(self, X: Any, y: Any = None) -> float:
        """The mean log-density of rows, in nats."""
        return float(self.log_prob(X).mean())

    @property
    def n_parameters(self) -> int:
        """Of the centres, and of the noise where it is estimated."""
        check_is_fitted(self)
        return self.centres_.numel() + (self.noise == "free")

    def align_to(self, other: "GaussianMixturePretrainer") -> "GaussianMixturePretrainer":
        """The same model with its components in the order in which they are nearest to another's (the assignment of least total squared distance).

        Raises:
            InputError: the other has centres of another shape.
        """
        check_alike(self.centres_, other.centres_)
        distances = torch.cdist(other.centres_, self.centres_.to(other.centres_)).square()
        order = torch.from_numpy(linear_sum_assignment(distances.numpy())[1])
        return self._copied(centres_=self.centres_[order])

    def _climb(self, x: Tensor, squares: Tensor, centres: Tensor) -> _End:
        total, (m, d) = float(squares.sum(dtype=torch.float64)), x.shape
        # With a free variance the first posteriors need one: a share of the spread around the mean, as if the components explained most of it.
        variance = 1.0 if self.noise == "unit" else max((total / m - float(x.mean(dim=0).square().sum())) / (2 * d), 1e-12)
        curve: list[float] = []
        for step in range(self.steps):
            weights, sums, level = _expect(x, centres, variance)
            curve.append((level - total / (2 * variance)) / m + _constant(len(centres), d, variance))
            if step and curve[-1] - curve[-2] < self.tol:
                return _End(centres, variance, curve, True)
            if step == self.steps - 1:
                break
            centres = torch.where(weights[:, None] > 0, sums / weights.clamp(min=torch.finfo(x.dtype).tiny)[:, None], centres)
            if self.noise == "free":
                # sum_ik p_ik |x_i - u_k|^2 at the new centres
                variance = max((total - float((weights * centres.square().sum(dim=1)).sum())) / (m * d), 1e-12)
        return _End(centres, variance, curve, False)


def _scores(x: Tensor, centres: Tensor, variance: float) -> Tensor:
    """log p(z = k, x) without the terms that are the same for every k."""
    return torch.addmm(centres.square().sum(dim=1), x, centres.mT, beta=-0.5 / variance, alpha=1 / variance)


def _constant(components: int, d: int, variance: float) -> float:
    return -math.log(components) - 0.5 * d * math.log(2 * math.pi * variance)


def _expect(x: Tensor, centres: Tensor, variance: float) -> tuple[Tensor, Tensor, float]:
    """The components' total posteriors (K,), the sums of rows weighed by them (K, d), and the sum of the log-sum-exponentials."""
    weights, sums, level = x.new_zeros(len(centres)), torch.zeros_like(centres), 0.0
    for block in x.split(_ROWS):
        scores = _scores(block, centres, variance)
        top = scores.amax(dim=1, keepdim=True)
        scores.sub_(top).exp_()
        mass = scores.sum(dim=1, keepdim=True)
        scores.div_(mass)
        level += float((top + mass.log()).sum(dtype=torch.float64))
        weights += scores.sum(dim=0)
        sums.addmm_(scores.mT, block)
    return weights, sums, level


def _spread_out(x: Tensor, squares: Tensor, components: int, chance: Generator) -> Tensor:
    """Greedy k-means++: every next centre is the best of a few rows drawn by their squared distance from the centres so far."""
    tries = 2 + int(math.log(components))
    chosen = torch.randint(len(x), (1,), generator=chance)
    nearest = _distances(x, squares, chosen)[:, 0]
    for _ in range(components - 1):
        if float(nearest.sum()) <= 0:
            drawn = torch.randint(len(x), (tries,), generator=chance)
        else:
            heights = torch.rand(tries, generator=chance, dtype=torch.float64) * float(nearest.sum(dtype=torch.float64))
            drawn = torch.searchsorted(nearest.double().cumsum(0), heights).clamp(max=len(x) - 1)
        left = torch.minimum(nearest[:, None], _distances(x, squares, drawn))
        best = int(left.sum(dim=0).argmin())
        chosen, nearest = torch.cat([chosen, drawn[best : best + 1]]), left[:, best]
    return x[chosen].clone()


def _distances(x: Tensor, squares: Tensor, rows: Tensor) -> Tensor:
    return torch.addmm(squares[:, None] + squares[rows], x, x[rows].mT, alpha=-2.0).clamp(min=0)
