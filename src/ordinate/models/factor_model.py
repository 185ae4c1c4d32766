r"""A factor model: :math:`x = B z + \mu` with :math:`z \sim \mathcal N(0, I_r)` and :math:`\mu \sim \mathcal N(0, \sigma^2 I_d)`, so that :math:`x \sim \mathcal N(0, B B^\top + \sigma^2 I)`.

With the second moments of the rows :math:`S = X^\top X / m = V \operatorname{diag}(\ell)\, V^\top` the likelihood is maximal at

.. math:: \hat B = V_r \operatorname{diag}\bigl((\ell_r - \sigma^2)_+\bigr)^{1/2},

with :math:`\sigma^2 = 1` where the noise is known to have unit variance (the paper's model) and the mean of the discarded eigenvalues where it is free (probabilistic principal components). The posterior mean is
:math:`E[z \mid x] = (\sigma^2 I_r + B^\top B)^{-1} B^\top x`. B is identified up to a rotation of z.

The noise is one number for all coordinates: standardising columns of unlike noise makes it so, and standardising columns of like noise undoes it. Where there are fewer rows than coordinates, the rows' own m × m products are
decomposed in place of S.

Sources: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024), the section on factor models; Tipping and Bishop, Probabilistic principal component analysis (1999).
"""

import math
import warnings
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ordinate.ground.errors import InputError, choose
from ordinate.models.latent_model import LatentModel, check_alike

__all__ = ["FactorModel", "maximum_likelihood_loadings"]

NOISES = ("unit", "free")


def maximum_likelihood_loadings(second_moments: Float[Tensor, "*batch d d"], factors: int) -> Float[Tensor, "*batch d factors"]:
    """The loadings of greatest likelihood for noise of unit variance, of one matrix of second moments or many at once.

    Args:
        second_moments: S, (..., d, d).
        factors: r. A factor whose eigenvalue is below 1 gets loadings of 0.
    """
    values, vectors = torch.linalg.eigh(second_moments)
    lengths = (values[..., -factors:] - 1).clamp(min=0).sqrt()
    return (vectors[..., -factors:] * lengths[..., None, :]).flip(-1)


class FactorModel(LatentModel):
    """See the module.

    Attributes:
        loadings_: B, (d, r), fewer columns where factors were dropped.
        noise_variance_: the variance of the noise.
        mean_: (d,), 0 unless the rows are centred.
        rows_: how many rows were seen.
    """

    _sums: tuple[int, Tensor, Tensor] | None = None

    def __init__(self, factors: Any = 1, *, noise: Any = "unit", centre: Any = False) -> None:
        """
        Args:
            factors: r.
            noise: ``"unit"``: of variance 1, as in the paper; ``"free"``: of a variance that is estimated too.
            centre: estimate a mean; the paper's model has none.
        """
        self.factors = factors
        self.noise = noise
        self.centre = centre

    @classmethod
    def of_loadings(cls, loadings: Float[Tensor, "d r"], noise_variance: float = 1.0) -> "FactorModel":
        """A model that is known: r may then be as large as d.

        Raises:
            InputError: a variance that is not positive.
        """
        if noise_variance <= 0:
            raise InputError(f"the variance of the noise must be positive, not {noise_variance}")
        model = cls(loadings.shape[1], noise="unit" if noise_variance == 1.0 else "free")
        model.n_features_in_ = len(loadings)
        model.loadings_, model.noise_variance_, model.rows_ = loadings, noise_variance, 0
        model.mean_ = torch.zeros(len(loadings), dtype=loadings.dtype)
        return model

    def fit(self, X: Any, y: Any = None) -> "FactorModel":
        """Maximise the likelihood.

        Args:
            X: (m, d).
            y: not used.

        Raises:
            InputError: as many factors as coordinates or more, fewer than one, or another kind of noise.

        Warns:
            UserWarning: an eigenvalue is below the noise, and its factor is dropped: r is too large.
        """
        x = self._begin(X)
        self._check(x.shape[1])
        self.mean_ = x.mean(dim=0) if self.centre else torch.zeros(x.shape[1], dtype=x.dtype)
        self.rows_ = len(x)
        self._sums = None
        x = x - self.mean_
        if len(x) < x.shape[1]:
            values, vectors = torch.linalg.eigh(x @ x.mT / len(x))
            lengths = (values * len(x)).clamp(min=torch.finfo(x.dtype).tiny).sqrt()
            self._settle(values, x.mT @ (vectors / lengths), float(x.square().sum()) / len(x), x.shape[1])
        else:
            moments = x.mT @ x / len(x)
            values, vectors = torch.linalg.eigh(moments)
            self._settle(values, vectors, float(moments.trace()), x.shape[1])
        return self

    def partial_fit(self, X: Any, y: Any = None) -> "FactorModel":
        """Maximise the likelihood of these rows and of all that were given to `partial_fit` before: only their count, sum and products are kept.

        Args:
            X: (m, d).
            y: not used.

        Raises:
            InputError: as `fit`.
        """
        begun = self._sums
        x = torch.tensor(np.asarray(validate_data(self, X, dtype=[np.float64, np.float32], reset=begun is None))).double()
        self._check(x.shape[1])
        sums = (len(x), x.sum(dim=0), x.mT @ x)
        if begun is not None:
            sums = (begun[0] + sums[0], begun[1] + sums[1], begun[2] + sums[2])
        self._sums = sums
        self.rows_, total, products = sums
        self.mean_ = total / self.rows_ if self.centre else torch.zeros_like(total)
        moments = products / self.rows_ - torch.outer(self.mean_, self.mean_)
        values, vectors = torch.linalg.eigh(moments)
        self._settle(values, vectors, float(moments.trace()), len(moments))
        return self

    def posterior(self, x: Float[Tensor, "rows d"]) -> Float[Tensor, "rows latents"]:
        """E[z | x], (m, r), of rows (m, d)."""
        check_is_fitted(self)
        return (x.to(self.loadings_) - self.mean_) @ torch.linalg.solve(self._inner(), self.loadings_.mT).mT

    def posterior_covariance(self) -> Float[Tensor, "latents latents"]:
        """Of z given x, (r, r): the same for every x."""
        check_is_fitted(self)
        return self.noise_variance_ * torch.linalg.inv(self._inner())

    def log_prob(self, X: Any) -> Float[Tensor, " rows"]:
        """The log-density of every row, (m,), in nats."""
        x = self._read(X).to(self.loadings_) - self.mean_
        d, variance = x.shape[1], self.noise_variance_
        inner = self._inner()
        seen = x @ self.loadings_
        squares = x.square().sum(dim=1) - (seen * torch.linalg.solve(inner, seen.mT).mT).sum(dim=1)
        logdet = (d - len(inner)) * math.log(variance) + torch.linalg.slogdet(inner).logabsdet
        return -0.5 * (squares / variance + logdet + d * math.log(2 * math.pi))

    def score(self, X: Any, y: Any = None) -> float:
        """The mean log-density of rows, in nats."""
        return float(self.log_prob(X).mean())

    @property
    def n_parameters(self) -> int:
        """Of B up to rotations, and of the noise and the mean where they are estimated."""
        check_is_fitted(self)
        d, r = self.loadings_.shape
        return d * r - r * (r - 1) // 2 + (self.noise == "free") + d * bool(self.centre)

    def align_to(self, other: "FactorModel") -> "FactorModel":
        """The same model with z rotated so that B is nearest to another's (orthogonal Procrustes).

        Raises:
            InputError: the other's B has another shape.
        """
        check_alike(self.loadings_, other.loadings_)
        left, _, right = torch.linalg.svd(self.loadings_.mT @ other.loadings_)
        return self._copied(loadings_=self.loadings_ @ left @ right)

    def _check(self, d: int) -> None:
        choose("noise", self.noise, NOISES)
        if not 1 <= self.factors < d:
            raise InputError(
                f"a factor model has fewer factors than coordinates, and one at least, not factors={self.factors} for n_features={d}"
            )

    def _inner(self) -> Tensor:
        r = self.loadings_.shape[1]
        return self.noise_variance_ * torch.eye(r, dtype=self.loadings_.dtype) + self.loadings_.mT @ self.loadings_

    def _settle(self, values: Tensor, vectors: Tensor, trace: float, d: int) -> None:
        kept = min(self.factors, len(values))
        top, axes = values[-kept:].flip(0), vectors[:, -kept:].flip(1)
        free = max((trace - float(top.sum())) / (d - self.factors), float(torch.finfo(values.dtype).eps) * max(trace, 1e-30))
        self.noise_variance_ = free if self.noise == "free" else 1.0
        real = top > self.noise_variance_
        if int(real.sum()) < self.factors:
            warnings.warn(
                f"{self.factors - int(real.sum())} of {self.factors} factors are below the noise and dropped: ask for {int(real.sum())}",
                stacklevel=3,
            )
        self.loadings_ = axes[:, real] * (top[real] - self.noise_variance_).sqrt()
