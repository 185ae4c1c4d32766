r"""Likelihoods of targets given Gaussian values: the expected log-likelihood that a variational bound needs, and the predictive distribution.

With values :math:`f \sim \mathcal N(\bar f, v)` for each output, v shared by the outputs:

- Gaussian: :math:`\mathbb E \log \mathcal N(y; f, \sigma^2) = \log \mathcal N(y; \bar f, \sigma^2) - v / 2\sigma^2`, summed over the outputs;
- categorical: :math:`\mathbb E \log \mathrm{softmax}(f)_y`, by Monte Carlo with reparametrised draws.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["LIKELIHOODS", "CategoricalLikelihood", "GaussianLikelihood", "Likelihood", "check_classes"]

LIKELIHOODS = ("categorical", "gaussian")
PREDICTIVE_DRAWS = 512


class Likelihood(nn.Module, ABC):
    """Targets given values of C outputs."""

    @abstractmethod
    def expected_log_prob(
        self, mean: Float[Tensor, "*batch tests outputs"], variance: Float[Tensor, "*batch tests"], targets: Tensor
    ) -> Float[Tensor, "*batch tests"]:
        """E log p(target | f) of every row, in nats.

        Raises:
            InputError: targets that do not fit.
        """

    @abstractmethod
    def predictive_log_prob(
        self, mean: Float[Tensor, "*batch tests outputs"], variance: Float[Tensor, "*batch tests"], targets: Tensor
    ) -> Float[Tensor, "*batch tests"]:
        """log E p(target | f) of every row, in nats."""


class GaussianLikelihood(Likelihood):
    """Real targets (..., T, C) with independent noise of one variance, learned by its logarithm."""

    log_noise: Tensor

    def __init__(
        self, *, noise: float = 0.1, learned: bool = True, batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float64
    ) -> None:
        """
        Args:
            noise: the variance, positive.
            learned: whether it is a parameter.
            batch: of independent problems.
            dtype: of the parameter.

        Raises:
            InputError: a variance that is not positive.
        """
        super().__init__()
        if not noise > 0:
            raise InputError(f"the noise is a variance and must be positive, not {noise}")
        number = torch.full(batch, math.log(noise), dtype=dtype)
        if learned:
            self.log_noise = nn.Parameter(number)
        else:
            self.register_buffer("log_noise", number)

    @property
    def noise(self) -> Float[Tensor, "*batch"]:
        """The variance, (...)."""
        return self.log_noise.exp()

    def expected_log_prob(
        self, mean: Float[Tensor, "*batch tests outputs"], variance: Float[Tensor, "*batch tests"], targets: Tensor
    ) -> Float[Tensor, "*batch tests"]:
        """Closed form."""
        noise = self.noise[..., None]
        return self._log_density(mean, noise, targets) - 0.5 * mean.shape[-1] * variance / noise

    def predictive_log_prob(
        self, mean: Float[Tensor, "*batch tests outputs"], variance: Float[Tensor, "*batch tests"], targets: Tensor
    ) -> Float[Tensor, "*batch tests"]:
        """Of a Gaussian whose variance is that of the values plus the noise's."""
        return self._log_density(mean, variance + self.noise[..., None], targets)

    @staticmethod
    def _log_density(mean: Tensor, variance: Tensor, targets: Tensor) -> Tensor:
        if targets.shape != mean.shape or not torch.is_floating_point(targets):
            raise InputError(f"Gaussian targets are real numbers of shape {tuple(mean.shape)}, not {targets.dtype} {tuple(targets.shape)}")
        outputs = mean.shape[-1]
        return -0.5 * ((targets - mean).square().sum(dim=-1) / variance + outputs * (variance.log() + math.log(2 * math.pi)))


class CategoricalLikelihood(Likelihood):
    """Classes (..., T), int64, of the softmax of C values."""

    def __init__(self, *, samples: int = 100) -> None:
        """
        Args:
            samples: Monte Carlo draws a row in training.

        Raises:
            InputError: no samples.
        """
        super().__init__()
        if samples < 1:
            raise InputError(f"samples must be at least 1, not {samples}")
        self.samples = samples

    def expected_log_prob(
        self, mean: Float[Tensor, "*batch tests outputs"], variance: Float[Tensor, "*batch tests"], targets: Tensor
    ) -> Float[Tensor, "*batch tests"]:
        """By `samples` draws from torch's own generator."""
        check_classes(targets, mean.shape[-1], tuple(mean.shape[:-1]))
        noise = torch.randn(self.samples, *mean.shape, dtype=mean.dtype, device=mean.device)
        draws = (mean + variance.sqrt()[..., None] * noise).flatten(0, -2)
        log_probs = -F.cross_entropy(draws, targets.expand(noise.shape[:-1]).flatten(), reduction="none")
        return log_probs.view(noise.shape[:-1]).mean(dim=0)

    def predictive_log_prob(
        self, mean: Float[Tensor, "*batch tests outputs"], variance: Float[Tensor, "*batch tests"], targets: Tensor
    ) -> Float[Tensor, "*batch tests"]:
        """The logarithm of `predictive_probabilities` at the targets."""
        check_classes(targets, mean.shape[-1], tuple(mean.shape[:-1]))
        return self.predictive_probabilities(mean, variance).log().gather(-1, targets[..., None]).squeeze(-1)

    def predictive_probabilities(
        self, mean: Float[Tensor, "*batch tests outputs"], variance: Float[Tensor, "*batch tests"]
    ) -> Float[Tensor, "*batch tests outputs"]:
        """The classes' probabilities, by draws that are the same at every call and for every row, so that a row's prediction does not depend on its company."""
        shape = (PREDICTIVE_DRAWS, *[1] * (mean.ndim - 1), mean.shape[-1])
        noise = torch.randn(shape, generator=generator("predictive draws"), dtype=torch.float64).to(mean)
        return (mean + variance.sqrt()[..., None] * noise).softmax(dim=-1).mean(dim=0)


def check_classes(targets: Tensor, classes: int, shape: tuple[int, ...]) -> None:
    """Raise `InputError` unless `targets` are int64 classes below `classes`, of that shape."""
    if targets.shape != shape or targets.dtype != torch.int64:
        raise InputError(f"categorical targets are int64 of shape {shape}, not {targets.dtype} {tuple(targets.shape)}")
    if targets.numel() and (int(targets.min()) < 0 or int(targets.max()) >= classes):
        raise InputError(f"categorical targets lie in 0 .. {classes - 1}, not in {int(targets.min())} .. {int(targets.max())}")
