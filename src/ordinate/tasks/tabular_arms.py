"""The contenders on tables: deep kernel machines and what they are compared with, each as a few candidates among which a held-out fifth of the training rows chooses.

What a method tunes by its own objective (length scales, noise, Gram matrices) it tunes; what it cannot is what its candidates differ in. Every contender has a predictive distribution: where an estimator
gives none, a regression's standard deviation is the root mean square of its held-out errors, and a classifier's probabilities come from a sigmoid fitted by cross-validation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, RationalQuadratic, WhiteKernel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from ordinate.models.kernel_estimators import DeepKernelClassifier, DeepKernelRegressor

__all__ = ["CONTENDERS", "Problem", "fixed"]

MOST_INDUCING = 128
MOST_SCALES = 16  # features up to which a Gaussian process classifier learns a length scale for each


@dataclass(frozen=True)
class Problem:
    """What a contender is made for.

    Attributes:
        classification: classes, or numbers.
        features: columns of the table.
        rows: the fewest that it will be fitted to.
        seed: of what is random in a contender.
        steps: of those that are trained by steps.
    """

    classification: bool
    features: int
    rows: int
    seed: int
    steps: int


def _deep_kernel(problem: Problem, **options: Any) -> Any:
    estimator = DeepKernelClassifier if problem.classification else DeepKernelRegressor
    return estimator(random_state=problem.seed, steps=problem.steps, **options)


def _dkm(problem: Problem) -> list[Any]:
    # How much a layer may learn from few and noisy targets is the width's to say, and the objective cannot choose it.
    described: list[dict[str, Any]] = [
        {},
        {"nu": 100.0, "relevance": True},
        {"nu": 1000.0},
        {"nu": 10.0, "relevance": True},
    ]
    return [_deep_kernel(problem, **options) for options in described]


def _nngp(problem: Problem) -> list[Any]:
    described: list[dict[str, Any]] = [{}, {"relevance": True}, {"depth": 2}, {"kernel": "relu"}]
    return [_deep_kernel(problem, nu=math.inf, **options) for options in described]


def _map(problem: Problem) -> list[Any]:
    described: list[dict[str, Any]] = [{}, {"relevance": True}, {"depth": 2}, {"kernel": "relu"}]
    return [_deep_kernel(problem, prior=False, **options) for options in described]


def _svgp(problem: Problem) -> list[Any]:
    described: list[dict[str, Any]] = [{}, {"relevance": True}]
    return [_deep_kernel(problem, depth=0, inducing=min(MOST_INDUCING, problem.rows), **options) for options in described]


def _gp(problem: Problem) -> list[Any]:
    single, each = 1.0, [1.0] * problem.features
    if problem.classification:
        kernels = [RBF(single), Matern(single, nu=1.5), RationalQuadratic()]
        kernels += [RBF(each)] if problem.features <= MOST_SCALES else []
        return [
            make_pipeline(StandardScaler(), GaussianProcessClassifier(ConstantKernel() * kernel, random_state=problem.seed))
            for kernel in kernels
        ]
    kernels = [RBF(single), RBF(each), Matern(each, nu=1.5), RationalQuadratic()]
    return [
        make_pipeline(
            StandardScaler(),
            GaussianProcessRegressor(ConstantKernel() * kernel + WhiteKernel(0.1), normalize_y=True, random_state=problem.seed),
        )
        for kernel in kernels
    ]


def _svm(problem: Problem) -> list[Any]:
    grid = [(1.0, 1.0), (10.0, 1.0), (100.0, 0.1), (10.0, 0.1), (100.0, 1.0), (1.0, 0.1)]
    if problem.classification:
        machines = [SVC(C=c, gamma=gamma / problem.features) for c, gamma in grid]
        return [make_pipeline(StandardScaler(), CalibratedClassifierCV(machine, cv=3, ensemble=False)) for machine in machines]
    return [_standardised(SVR(C=c, gamma=gamma / problem.features)) for c, gamma in grid]


def _ridge(problem: Problem) -> list[Any]:
    if problem.classification:
        return [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000)) for c in (1.0, 0.1, 0.01, 10.0)]
    return [_standardised(Ridge(alpha)) for alpha in (1.0, 10.0, 100.0, 0.1)]


def _mlp(problem: Problem) -> list[Any]:
    options = {"hidden_layer_sizes": (64, 64), "max_iter": 10 * problem.steps, "random_state": problem.seed}
    if problem.classification:
        return [make_pipeline(StandardScaler(), MLPClassifier(alpha=alpha, **options)) for alpha in (1e-3, 1.0, 1e-1, 1e-2)]
    return [_standardised(MLPRegressor(alpha=alpha, **options)) for alpha in (1e-3, 1.0, 1e-1, 1e-2)]


def _standardised(estimator: Any) -> Any:
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), estimator), transformer=StandardScaler())


CONTENDERS: dict[str, tuple[Callable[[Problem], list[Any]], str]] = {
    "dkm": (_dkm, "deep kernel machine"),
    "gp": (_gp, "Gaussian process, its kernel's numbers by the evidence"),
    "map": (_map, "deep kernel machine without the divergences from the prior"),
    "mlp": (_mlp, "perceptron with two hidden layers of 64"),
    "nngp": (_nngp, "the same stack with every Gram matrix tied to the kernel below"),
    "ridge": (_ridge, "linear: ridge regression, or logistic regression with the same penalty"),
    "svgp": (_svgp, "sparse variational Gaussian process: one kernel, inducing points"),
    "svm": (_svm, "support vector machine with a squared exponential kernel"),
}
"""Name -> (candidates of a problem, what it is); the first two candidates are the ones to have where time is short."""


def fixed(options: dict[str, Any]) -> Callable[[Problem], list[Any]]:
    """A contender with one candidate: a deep kernel machine with these options."""
    return partial(_fixed, options)


def _fixed(options: dict[str, Any], problem: Problem) -> list[Any]:
    return [_deep_kernel(problem, **options)]
