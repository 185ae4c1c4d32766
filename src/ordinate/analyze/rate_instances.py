r"""Excess risks of two phases, of a head on the true model and of labels alone, over a grid of m unlabelled rows and n labels: one class a problem.

Every repetition draws its own problem and one data set, and all sizes are prefixes of it. A linear predictor needs nothing of n labelled rows but :math:`X^\top X` and :math:`X^\top y`, which the next prefix adds to; a head on
top of posterior means :math:`z = W x` needs :math:`W X^\top X W^\top` and :math:`W X^\top y`. So a cell of the grid costs :math:`O(r d^2)` after one pass over the data, and all cells of all repetitions are solved at once.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float64
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Generator, Tensor

from ordinate.analyze.excess_risk import class_excess_risk, linear_excess_risk
from ordinate.data.latent_models import FactorProblem, MixtureProblem, PairsProblem
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.contrastive_pairs import ContrastivePairs
from ordinate.models.factor_model import maximum_likelihood_loadings
from ordinate.models.gaussian_mixture import GaussianMixturePretrainer
from ordinate.models.latent_heads import VoteHead

__all__ = ["FactorInstance", "Grid", "Instance", "MixtureInstance", "PairsInstance", "nested_products"]


@dataclass(frozen=True)
class Grid:
    """Excess risks of R repetitions.

    Attributes:
        ms, ns: unlabelled rows and labels, ascending.
        two_phase: (R, M, N).
        oracle: a head on the true model, (R, N).
        baselines: labels alone, by name, each (R, N).
        floor: what two phases are left with when labels are free, (R, M).
    """

    ms: tuple[int, ...]
    ns: tuple[int, ...]
    two_phase: Float64[Tensor, "reps ms ns"]
    oracle: Float64[Tensor, "reps ns"]
    baselines: dict[str, Float64[Tensor, "reps ns"]]
    floor: Float64[Tensor, "reps ms"]


class Instance(ABC):
    """A problem with known best predictors.

    Attributes:
        name: ``"factor"``, ``"mixture"``, ``"contrastive"``.
        d: coordinates.
        baselines: the names of the predictors from labels alone.
    """

    name: str
    d: int
    baselines: tuple[str, ...] = ("supervised",)

    @abstractmethod
    def grid(self, ms: Sequence[int], ns: Sequence[int], reps: int, seed: int) -> Grid:
        """Excess risks of `reps` repetitions at every pair of sizes, which ascend: a pure function of the arguments."""


def nested_products(
    x: Float64[Tensor, "rows d"], y: Float64[Tensor, "rows k"], sizes: Sequence[int]
) -> tuple[Float64[Tensor, "sizes d d"], Float64[Tensor, "sizes d k"]]:
    """:math:`X^\\top X` and :math:`X^\\top Y` of the first rows, for every size: one pass over the rows.

    Args:
        x: (rows, d).
        y: (rows, k).
        sizes: ascending, none above the number of rows.

    Raises:
        InputError: sizes that do not ascend from 1 to that number.
    """
    if not sizes or list(sizes) != sorted(set(sizes)) or not 1 <= sizes[0] <= sizes[-1] <= len(x):
        raise InputError(f"nested sizes ascend from 1 to {len(x)}, not {list(sizes)}")
    spans = list(pairwise((0, *sizes)))
    grams = torch.stack([x[start:end].mT @ x[start:end] for start, end in spans]).cumsum(dim=0)
    crossed = torch.stack([x[start:end].mT @ y[start:end] for start, end in spans]).cumsum(dim=0)
    return grams, crossed


@dataclass
class _Linear:
    """What linear predictors need of every repetition, stacked: the true quantities and the labelled rows' products."""

    covariance: list[Tensor] = field(default_factory=list)
    best: list[Tensor] = field(default_factory=list)
    truth: list[Tensor] = field(default_factory=list)  # W of the true model
    grams: list[Tensor] = field(default_factory=list)
    crossed: list[Tensor] = field(default_factory=list)

    def add(self, problem: Any, truth: Tensor, ns: Sequence[int], chance: Generator) -> None:
        x, y = problem.sample(ns[-1], chance)
        grams, crossed = nested_products(x, y[:, None], ns)
        for kept, each in zip(
            (self.covariance, self.best, self.truth, self.grams, self.crossed),
            (problem.covariance, problem.best, truth, grams, crossed),
            strict=True,
        ):
            kept.append(each)

    def solve(self, found: Tensor, ms: Sequence[int], ns: Sequence[int]) -> Grid:
        """The grid for pretrained maps `found`, (R, M, r, d)."""
        covariance, best, truth = (torch.stack(each) for each in (self.covariance, self.best, self.truth))
        grams, crossed = torch.stack(self.grams), torch.stack(self.crossed)

        def risks(maps: Tensor) -> Tensor:
            """(R, M', N) of heads on maps (R, M', r, d)."""
            weights = _head(maps[:, :, None], grams[:, None], crossed[:, None])
            return linear_excess_risk(weights, best[:, None, None], covariance[:, None, None])

        whole = (torch.linalg.pinv(grams, hermitian=True) @ crossed)[..., 0]
        certain = (covariance @ best[..., None])[:, None]
        floor = linear_excess_risk(_head(found, covariance[:, None], certain), best[:, None], covariance[:, None])
        return Grid(
            tuple(ms),
            tuple(ns),
            risks(found),
            risks(truth[:, None])[:, 0],
            {"supervised": linear_excess_risk(whole, best[:, None], covariance[:, None])},
            floor,
        )


def _head(maps: Tensor, grams: Tensor, crossed: Tensor) -> Tensor:
    """Least squares on z = W x, as coefficients of x: W^T (W G W^T)^+ W b; the pseudo-inverse passes over factors that were dropped."""
    inner = torch.linalg.pinv(maps @ grams @ maps.mT, hermitian=True)
    return (maps.mT @ (inner @ (maps @ crossed)))[..., 0]


def _posterior_maps(loadings: Tensor) -> Tensor:
    """W with E[z | x] = W x, (..., r, d), of loadings (..., d, r)."""
    inner = loadings.mT @ loadings + torch.eye(loadings.shape[-1], dtype=loadings.dtype)
    return torch.linalg.solve(inner, loadings.mT)


class FactorInstance(Instance):
    """A factor model: least squares on all coordinates is what labels alone give. See `ordinate.data.latent_models.FactorProblem.draw` for the arguments."""

    name = "factor"

    def __init__(self, d: int = 40, singular: Sequence[float] = (3.0, 2.0, 1.5), *, beta: float = 2**0.5, noise: float = 0.5) -> None:
        self.d, self.singular, self.beta, self.noise = d, tuple(singular), beta, noise

    def grid(self, ms: Sequence[int], ns: Sequence[int], reps: int, seed: int) -> Grid:
        """See `Instance.grid`."""
        linear, moments = _Linear(), []
        for rep in range(reps):
            chance = generator("factor", seed, rep)
            problem = FactorProblem.draw(self.d, self.singular, chance, beta=self.beta, noise=self.noise)
            linear.add(problem, _posterior_maps(problem.loadings), ns, chance)
            x = problem.inputs(ms[-1], chance)
            grams, _ = nested_products(x, x[:, :0], ms)
            moments.append(grams / torch.tensor(ms, dtype=torch.float64)[:, None, None])
        return linear.solve(_posterior_maps(maximum_likelihood_loadings(torch.stack(moments), len(self.singular))), ms, ns)


class PairsInstance(Instance):
    """Contrastive pairs with a linear encoder: least squares on all coordinates is what labels alone give. See `ordinate.data.latent_models.PairsProblem.draw` for the arguments."""

    name = "contrastive"

    def __init__(self, d: int = 12, r: int = 2, *, signal: float = 1.2, beta: float = 1.8, noise: float = 0.5) -> None:
        self.d, self.r, self.signal, self.beta, self.noise = d, r, signal, beta, noise

    def grid(self, ms: Sequence[int], ns: Sequence[int], reps: int, seed: int) -> Grid:
        """See `Instance.grid`."""
        linear, found = _Linear(), []
        for rep in range(reps):
            chance = generator("pairs", seed, rep)
            problem = PairsProblem.draw(self.d, self.r, chance, signal=self.signal, beta=self.beta, noise=self.noise)
            linear.add(problem, problem.theta, ns, chance)
            pairs = problem.pairs(ms[-1], chance)
            fitted = [ContrastivePairs(self.r).fit(*(half[:m] for half in pairs)).theta_ for m in ms]
            found.append(torch.stack(fitted))
        return linear.solve(torch.stack(found), ms, ns)


class MixtureInstance(Instance):
    """A mixture of Gaussians: a logistic regression, nearest neighbours, and a mixture fitted to the labelled rows alone are what labels alone give.

    The regression's penalty and the number of neighbours are the best of a few on the very inputs that the risk is measured on, for every repetition and size: no way of choosing them could do better.
    """

    name = "mixture"
    baselines = ("logistic", "neighbours", "labelled mixture")
    penalties = (0.01, 0.1, 1.0, 10.0)
    neighbours = (1, 5, 15)

    def __init__(
        self, d: int = 20, components: int = 8, classes: int = 3, *, separation: float = 5.0, flips: float = 0.1, tested: int = 4000
    ) -> None:
        """
        Args:
            d, components, classes, separation, flips: see `ordinate.data.latent_models.MixtureProblem.draw`.
            tested: inputs that risks are means over.
        """
        self.d, self.components, self.classes = d, components, classes
        self.separation, self.flips, self.tested = separation, flips, tested

    def grid(self, ms: Sequence[int], ns: Sequence[int], reps: int, seed: int) -> Grid:
        """See `Instance.grid`."""
        shape = (reps, len(ns))
        two_phase, floor = torch.zeros(reps, len(ms), len(ns), dtype=torch.float64), torch.zeros(reps, len(ms), dtype=torch.float64)
        oracle, baselines = (
            torch.zeros(shape, dtype=torch.float64),
            {name: torch.zeros(shape, dtype=torch.float64) for name in self.baselines},
        )
        for rep in range(reps):
            chance = generator("mixture", seed, rep)
            problem = MixtureProblem.draw(self.d, self.components, self.classes, chance, separation=self.separation, flips=self.flips)
            x, y = problem.sample(ns[-1], chance)
            tests = problem.inputs(self.tested, chance)
            probabilities = problem.probabilities(tests)
            unlabelled = problem.inputs(ms[-1], chance)
            models = [self._mixture(unlabelled[:m], rep) for m in ms]
            truth = GaussianMixturePretrainer.of_centres(problem.centres)
            for column, n in enumerate(ns):
                for row, model in enumerate(models):
                    two_phase[rep, row, column] = _voted(model, x[:n], y[:n], tests, probabilities)
                oracle[rep, column] = _voted(truth, x[:n], y[:n], tests, probabilities)
                for name, risk in self._alone(x[:n], y[:n], tests, probabilities, rep).items():
                    baselines[name][rep, column] = risk
            for row, model in enumerate(models):
                posterior = model.posterior(tests)
                table = (posterior.mT @ probabilities).argmax(dim=1)
                floor[rep, row] = class_excess_risk(probabilities, _by_table(posterior, table, self.classes))
        return Grid(tuple(ms), tuple(ns), two_phase, oracle, baselines, floor)

    def _mixture(self, x: Tensor, seed: int) -> GaussianMixturePretrainer:
        return GaussianMixturePretrainer(min(self.components, len(x)), random_state=seed).fit(x)

    def _alone(self, x: Tensor, y: Tensor, tests: Tensor, probabilities: Tensor, seed: int) -> dict[str, float]:
        def risk(estimator: Any) -> float:
            fitted = estimator.fit(x.numpy(), y.numpy())
            return class_excess_risk(probabilities, torch.from_numpy(fitted.predict(tests.numpy())))

        return {
            "logistic": min(risk(LogisticRegression(C=penalty, max_iter=500)) for penalty in self.penalties),
            "neighbours": min(risk(KNeighborsClassifier(min(k, len(x)), algorithm="brute")) for k in self.neighbours),
            "labelled mixture": _voted(self._mixture(x, seed), x, y, tests, probabilities),
        }


def _by_table(posterior: Tensor, table: Tensor, classes: int) -> Tensor:
    return torch.zeros(len(posterior), classes, dtype=posterior.dtype).index_add_(1, table, posterior).argmax(dim=1)


def _voted(model: GaussianMixturePretrainer, x: Tensor, y: Tensor, tests: Tensor, probabilities: Tensor) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # components without a label are what small n is about
        head = VoteHead().fit(model.posterior(x), y)
    return class_excess_risk(probabilities, torch.from_numpy(head.predict(model.posterior(tests))))
