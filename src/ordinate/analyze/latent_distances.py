r"""How far apart two latent-variable models are in what is observed, :math:`p(x, s)`, and in what matters, :math:`p(x, z)`.

| model | observed | joint with z |
|---|---|---|
| factors | Gaussian, covariance :math:`B B^\top + \sigma^2 I` | Gaussian; closed form |
| mixture | mixture; samples | :math:`H^2 = 1 - \frac1K \sum_k e^{-\|u_k - u_k'\|^2 / 8 \sigma^2}` |
| pairs, linear | signs given pairs of :math:`\mathcal N(0, I)`; samples | :math:`H^2 = 1 - \det(I + \tfrac14 \Delta^\top \Delta)^{-1/2}`, :math:`\Delta = \Theta - \Theta'` |
| hidden coordinate | 0 | 1 unless it is the same one |

H is the Hellinger distance, TV the total variation :math:`\frac12 \int |p - q|`. Where there is no closed form, both are means over draws of the first model, :math:`\mathrm{TV} = \frac12 E_p |1 - q/p|` and
:math:`H^2 = \frac12 E_p (1 - \sqrt{q/p})^2`, which stay accurate for models that are near each other.

Source: the distances of assumptions 3.2 and 3.6 in Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024).
"""

import math
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ordinate.ground.errors import InputError, choose
from ordinate.models.contrastive_pairs import ContrastivePairs
from ordinate.models.factor_model import FactorModel
from ordinate.models.gaussian_mixture import GaussianMixturePretrainer
from ordinate.models.hidden_coordinate import HiddenCoordinate
from ordinate.nn.gaussian_hellinger import gaussian_hellinger

__all__ = ["DISTANCES", "Family", "family_of"]

DISTANCES = ("hellinger", "tv")
_Model = TypeVar("_Model")


def _between(log_p: Tensor, log_q: Tensor, kind: str) -> float:
    """A distance from log-densities of both models on draws of the first."""
    ratio = log_q - log_p
    if kind == "tv":
        return 0.5 * float(torch.expm1(ratio).abs().mean())
    return math.sqrt(max(0.0, 0.5 * float(torch.expm1(ratio / 2).square().mean())))


def _gaussian(covariance: Tensor, x: Tensor) -> Tensor:
    below = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(below, x.mT, upper=False)
    return -0.5 * white.square().sum(dim=0) - below.diagonal().log().sum()


class Family(ABC, Generic[_Model]):
    """One kind of model: its parameters, and the two distances from a reference.

    Args:
        reference: the model that distances are taken from.
        draws: samples where there is no closed form.
        chance: of the samples.
    """

    def __init__(self, reference: _Model, draws: int, chance: Generator) -> None:
        self.reference = reference
        self.draws = draws
        self.chance = chance

    @property
    @abstractmethod
    def parameters(self) -> Tensor:
        """The reference's."""

    @abstractmethod
    def make(self, parameters: Tensor) -> _Model:
        """The model with these parameters in place of the reference's."""

    @abstractmethod
    def observed(self, other: _Model, kind: str) -> float:
        """The distance between the distributions of what is observed."""

    @abstractmethod
    def joint(self, other: _Model, kind: str) -> float:
        """The distance between the joint distributions of inputs and latent variable, for a model that is aligned to the reference."""

    def weakest(self) -> list[Tensor]:
        """Directions in which what is observed is expected to change least; none where that is not known."""
        return []


class _Factors(Family[FactorModel]):
    def __init__(self, reference: FactorModel, draws: int, chance: Generator) -> None:
        super().__init__(reference, draws, chance)
        self.covariance, self.whole = self._covariances(reference)
        normal = torch.randn(draws, len(self.whole), generator=chance, dtype=torch.float64)
        self.sample = normal @ torch.linalg.cholesky(self.whole).mT

    def _covariances(self, model: FactorModel) -> tuple[Tensor, Tensor]:
        loadings = model.loadings_.double()
        d, r = loadings.shape
        covariance = loadings @ loadings.mT + model.noise_variance_ * torch.eye(d, dtype=torch.float64)
        return covariance, torch.cat(
            [torch.cat([covariance, loadings], dim=1), torch.cat([loadings.mT, torch.eye(r, dtype=torch.float64)], dim=1)]
        )

    @property
    def parameters(self) -> Tensor:
        return self.reference.loadings_.double()

    def make(self, parameters: Tensor) -> FactorModel:
        return FactorModel.of_loadings(parameters, self.reference.noise_variance_)

    def observed(self, other: FactorModel, kind: str) -> float:
        covariance = self._covariances(other)[0]
        if kind == "hellinger":
            return float(gaussian_hellinger(self.covariance, covariance))
        x = self.sample[:, : len(covariance)]
        return _between(_gaussian(self.covariance, x), _gaussian(covariance, x), kind)

    def joint(self, other: FactorModel, kind: str) -> float:
        whole = self._covariances(other)[1]
        if kind == "hellinger":
            return float(gaussian_hellinger(self.whole, whole))
        return _between(_gaussian(self.whole, self.sample), _gaussian(whole, self.sample), kind)

    def weakest(self) -> list[Tensor]:
        # To second order H^2 of x is a quadratic form of E, tr[(S^-1 (E B' + B E'))^2] / 16, and that of (x, z) is |E|^2 / 8 sigma^2. Its eigenvectors of least eigenvalue change x least; those of eigenvalue 0 are rotations.
        loadings = self.parameters
        root = torch.linalg.inv(torch.linalg.cholesky(self.covariance))
        moved = torch.eye(loadings.numel(), dtype=torch.float64).view(-1, *loadings.shape) @ loadings.mT
        seen = root @ (moved + moved.mT) @ root.mT
        values, vectors = torch.linalg.eigh(seen.flatten(1) @ seen.flatten(1).mT)
        rotations = loadings.shape[1] * (loadings.shape[1] - 1) // 2
        return [vectors[:, number].view_as(loadings) for number in range(rotations, min(rotations + 3, len(values)))]


class _Mixture(Family[GaussianMixturePretrainer]):
    def __init__(self, reference: GaussianMixturePretrainer, draws: int, chance: Generator) -> None:
        super().__init__(reference, draws, chance)
        centres = self.parameters
        self.component = torch.randint(len(centres), (draws,), generator=chance)
        noise = torch.randn(draws, centres.shape[1], generator=chance, dtype=torch.float64)
        self.sample = centres[self.component] + reference.noise_variance_**0.5 * noise

    @property
    def parameters(self) -> Tensor:
        return self.reference.centres_.double()

    def make(self, parameters: Tensor) -> GaussianMixturePretrainer:
        return GaussianMixturePretrainer.of_centres(parameters, self.reference.noise_variance_)

    def observed(self, other: GaussianMixturePretrainer, kind: str) -> float:
        return _between(self._log_density(self.reference), self._log_density(other), kind)

    def _log_density(self, model: GaussianMixturePretrainer) -> Tensor:
        variance, centres = model.noise_variance_, model.centres_.double()
        scores = (self.sample @ centres.mT - centres.square().sum(dim=1) / 2) / variance
        d = centres.shape[1]
        return scores.logsumexp(dim=1) - self.sample.square().sum(dim=1) / (2 * variance) - 0.5 * d * math.log(variance)

    def joint(self, other: GaussianMixturePretrainer, kind: str) -> float:
        own, centres, variance = self.parameters, other.centres_.double(), self.reference.noise_variance_
        if kind == "hellinger":
            return float((-torch.expm1(-(own - centres).square().sum(dim=1) / (8 * variance))).mean().clamp(min=0).sqrt())
        log_p, log_q = (-(self.sample - each[self.component]).square().sum(dim=1) / (2 * variance) for each in (own, centres))
        return _between(log_p, log_q, kind)


class _Pairs(Family[ContrastivePairs]):
    def __init__(self, reference: ContrastivePairs, draws: int, chance: Generator) -> None:
        super().__init__(reference, draws, chance)
        if not hasattr(reference, "theta_"):
            raise InputError("distances between contrastive models are known for linear encoders")
        d = self.parameters.shape[1]
        self.first, self.second = (torch.randn(draws, d, generator=chance, dtype=torch.float64) for _ in range(2))
        self.noise = torch.randn(draws, len(self.parameters), generator=chance, dtype=torch.float64)
        self.agree = self._inner(self.parameters)

    def _inner(self, theta: Tensor) -> Tensor:
        return ((self.first @ theta.mT) * (self.second @ theta.mT)).sum(dim=1)

    @property
    def parameters(self) -> Tensor:
        return self.reference.theta_.double()

    def make(self, parameters: Tensor) -> ContrastivePairs:
        return ContrastivePairs.of_theta(parameters)

    def observed(self, other: ContrastivePairs, kind: str) -> float:
        theirs = self._inner(other.theta_.double())
        if kind == "tv":
            return float((self.agree.sigmoid() - theirs.sigmoid()).abs().mean())
        half = sum(
            (0.5 * F.logsigmoid(sign * self.agree)).exp().sub((0.5 * F.logsigmoid(sign * theirs)).exp()).square() for sign in (1, -1)
        )
        return math.sqrt(0.5 * float(torch.as_tensor(half).mean()))

    def joint(self, other: ContrastivePairs, kind: str) -> float:
        off = other.theta_.double() - self.parameters
        if kind == "hellinger":
            inner = torch.eye(len(off), dtype=torch.float64) + off @ off.mT / 4
            return math.sqrt(max(0.0, -math.expm1(-0.5 * float(torch.linalg.slogdet(inner).logabsdet))))
        moved = self.first @ off.mT
        return _between(-0.5 * self.noise.square().sum(dim=1), -0.5 * (self.noise - moved).square().sum(dim=1), kind)

    def weakest(self) -> list[Tensor]:
        # The features' weakest direction, changed along itself and towards an input that no feature has.
        left, _, right = torch.linalg.svd(self.parameters)
        r = len(left)
        return [torch.outer(left[:, -1], right[number]) for number in (r - 1, r)]


class _Coordinate(Family[HiddenCoordinate]):
    @property
    def parameters(self) -> Tensor:
        return torch.tensor([float(self.reference.index_)], dtype=torch.float64)

    def make(self, parameters: Tensor) -> HiddenCoordinate:
        other = HiddenCoordinate()
        other.n_features_in_, other.ties_ = self.reference.n_features_in_, self.reference.ties_
        # Whatever the direction and the radius, the nearest different model is another coordinate.
        step = 1 if float(parameters) >= self.reference.index_ else -1
        other.index_ = (self.reference.index_ + step) % self.reference.n_features_in_
        return other

    def observed(self, other: HiddenCoordinate, kind: str) -> float:
        return 0.0

    def joint(self, other: HiddenCoordinate, kind: str) -> float:
        # Given x, z is one value under the one and, for half of the corners, the other value under the other.
        share = 0.5 if other.index_ != self.reference.index_ else 0.0
        return share if kind == "tv" else math.sqrt(share)


_FAMILIES: dict[type, Any] = {
    FactorModel: _Factors,
    GaussianMixturePretrainer: _Mixture,
    ContrastivePairs: _Pairs,
    HiddenCoordinate: _Coordinate,
}


def family_of(model: Any, draws: int, chance: Generator) -> Family[Any]:
    """The distances of a fitted model's kind.

    Raises:
        InputError: a kind without any, or an encoder that is not linear.
    """
    names = {kind.__name__: kind for kind in _FAMILIES}
    return _FAMILIES[names[choose("kind of model with distances", type(model).__name__, names)]](model, draws, chance)
