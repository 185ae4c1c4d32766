r"""Predictors that a prompt can be answered with, all of them online: the answer for example i + 1 is made from the first i pairs, and is 0 where there is none.

With :math:`X_i` and :math:`y_i` the first i inputs and labels,

- `LeastSquares`: :math:`w_i = X_i^+ y_i`, the solution of least norm where there are several;
- `Ridge`: :math:`w_i = (X_i^\top X_i + \lambda I)^{-1} X_i^\top y_i`, all prefixes in turn by rank-one updates, :math:`O(n d^2)` a prompt;
- `Bayes`: the posterior mean for :math:`w \sim \mathcal N(0, \tau^2 I)` and noise :math:`\sigma^2`: ridge with :math:`\lambda = \sigma^2 / \tau^2`, least squares where there is no noise;
- `GradientDescent`: steps on the whole prefix from :math:`w = 0`, :math:`w \leftarrow w - 2a\,(X_i^\top X_i w - X_i^\top y_i + \lambda w)`; one step is :math:`2a\,X_i^\top y_i`;
- `OnePass`: stochastic gradient descent, one example a step, :math:`w_i = w_{i-1} - 2a\,\bigl(x_i (w_{i-1} \cdot x_i - y_i) + \lambda w_{i-1}\bigr)`; or, as the paper's code has it, with all rows so far in every step and a clipped
  gradient;
- `Correlation`: :math:`w_i = X_i^\top y_i / i`, right on average for inputs of identity covariance;
- `Neighbours`: the mean label of the nearest min(k, i) inputs, plain or weighted by a power of the distance.

Everything is computed in double precision, over all prompts and prefixes at once.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), sections 2.3 and 4.1; for rank-one updates, Sherman and Morrison (1950).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError, choose

__all__ = [
    "Bayes",
    "Correlation",
    "GradientDescent",
    "LeastSquares",
    "LinearPredictor",
    "Neighbours",
    "OnePass",
    "Predictor",
    "Ridge",
    "Zero",
    "online_ridge",
]

_SINGULAR = 1e-5  # least diagonal of a Cholesky factor over the largest, below which normal equations lose more digits than they may


def _check_pairs(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim != 3 or y.shape[:2] != x.shape[:2] or not x.shape[1] or not x.shape[2]:
        raise InputError(
            f"prompts are inputs (batch, n, d) and labels (batch, n), at least one pair in each, not {tuple(x.shape)} and {tuple(y.shape)}"
        )
    return x.double(), y.double()


class Predictor(ABC):
    """Answers queries from prefixes of a prompt.

    Attributes:
        name: for tables.
    """

    name: str

    @abstractmethod
    def answer(
        self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], queries: Float[Tensor, "batch n queries d"]
    ) -> Float[Tensor, "batch n queries"]:
        """Answers to queries of every prefix, float64.

        Args:
            x: (B, n, d), the inputs.
            y: (B, n), their labels.
            queries: (B, n, Q, d); those at i are answered from the first i pairs, i = 0, ..., n - 1.

        Raises:
            InputError: shapes that do not fit.
        """

    def __call__(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        """Predictions of the labels of the prompt itself, each from the pairs before it, (B, n), float64.

        Raises:
            InputError: shapes that do not fit.
        """
        return self.answer(x, y, x[:, :, None])[..., 0]


class LinearPredictor(Predictor):
    """One whose answer is a linear function of the query."""

    @abstractmethod
    def weights(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n d"]:
        """The weight vector of every prefix, (B, n, d), float64; that at i is of the first i pairs.

        Raises:
            InputError: shapes that do not fit.
        """

    def answer(
        self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], queries: Float[Tensor, "batch n queries d"]
    ) -> Float[Tensor, "batch n queries"]:
        """The products of queries and weights; see :meth:`Predictor.answer`."""
        return (queries.double() @ self.weights(x, y)[..., None])[..., 0]


def _before(totals: Tensor) -> Tensor:
    """Running sums (B, n, ...) of all before each place."""
    return torch.cat((torch.zeros_like(totals[:, :1]), totals[:, :-1].cumsum(dim=1)), dim=1)


class Zero(LinearPredictor):
    """Always 0: what can be had without learning anything."""

    name = "zero"

    def weights(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n d"]:
        """Zeros."""
        return torch.zeros_like(_check_pairs(x, y)[0])


class LeastSquares(LinearPredictor):
    """Ordinary least squares, of least norm where the prefix leaves a choice."""

    name = "OLS"

    def weights(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n d"]:
        """By normal equations on the smaller side, all prefixes at once; prefixes that are nearly singular, by their singular values. See :meth:`LinearPredictor.weights`."""
        x, y = _check_pairs(x, y)
        _, n, d = x.shape
        short = min(n, d)
        # Up to d pairs the system is K a = y with K = X Xᵀ, and w = Xᵀ a; places of pairs still to come are filled with the identity.
        seen = torch.arange(short, device=x.device) < torch.arange(short, device=x.device)[:, None]
        head = x[:, :short]
        eye = torch.eye(short, dtype=x.dtype, device=x.device)
        kernel = torch.where(seen[:, :, None] & seen[:, None, :], (head @ head.mT)[:, None], eye)
        labels = torch.where(seen, y[:, None, :short], 0.0)
        few, fine = _solve(kernel, labels[..., None])
        parts, settled = [(few.mT @ head[:, None])[..., 0, :]], [fine]
        if n > d:
            gram = (x[:, :-1, :, None] * x[:, :-1, None, :]).cumsum(dim=1)[:, d - 1 :]
            moment = (x[:, :-1] * y[:, :-1, None]).cumsum(dim=1)[:, d - 1 :]
            many, fine = _solve(gram, moment[..., None])
            parts.append(many[..., 0])
            settled.append(fine)
        found, settled_all = torch.cat(parts, dim=1), torch.cat(settled, dim=1)
        row, place = (~settled_all).nonzero(as_tuple=True)
        if len(row):
            masks = torch.arange(n, device=x.device) < place[:, None]
            found[row, place] = (torch.linalg.pinv(x[row] * masks[..., None]) @ (y[row] * masks)[..., None])[..., 0]
        return found


def _solve(system: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Solutions of positive definite systems, and where they can be trusted."""
    factor, info = torch.linalg.cholesky_ex(system)
    diagonal = factor.diagonal(dim1=-2, dim2=-1)
    fine = (info == 0) & (diagonal.amin(dim=-1) > _SINGULAR * diagonal.amax(dim=-1))
    safe = torch.where(fine[..., None, None], factor, torch.eye(system.shape[-1], dtype=system.dtype, device=system.device))
    return torch.cholesky_solve(right, safe), fine


def online_ridge(x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n outputs"], penalty: float) -> Float[Tensor, "batch n d outputs"]:
    r"""Ridge weights of every prefix by rank-one updates (Sherman and Morrison): with :math:`u = A^{-1} x`,

    .. math:: A^{-1} \leftarrow A^{-1} - \frac{u u^\top}{1 + x \cdot u}, \qquad W \leftarrow W + \frac{u\,(y - x^\top W)}{1 + x \cdot u}.

    Args:
        x: (B, n, d), float64.
        y: (B, n, K), float64; K outputs are K regressions on the same inputs.
        penalty: lambda, positive.

    Returns:
        (B, n, d, K); that at i is of the first i pairs.

    Raises:
        InputError: a penalty that is not positive.
    """
    if not (math.isfinite(penalty) and penalty > 0):
        raise InputError(
            f"rank-one updates start from the inverse of the penalty, which must be positive, not {penalty}: without one, take least squares"
        )
    batch, n, d = x.shape
    inverse = (torch.eye(d, dtype=x.dtype, device=x.device) / penalty).expand(batch, d, d).contiguous()
    weight = x.new_zeros(batch, d, y.shape[2])
    kept = [weight]
    for row, label in zip(x[:, : n - 1].unbind(dim=1), y[:, : n - 1].unbind(dim=1), strict=True):
        u = (inverse @ row[..., None])[..., 0]
        scale = 1 / (1 + (row * u).sum(dim=1))
        gain = u * scale[:, None]
        inverse = torch.baddbmm(inverse, gain[..., None], u[:, None], alpha=-1)
        weight = torch.baddbmm(weight, gain[..., None], label[:, None] - row[:, None] @ weight)
        kept.append(weight)
    return torch.stack(kept, dim=1)


@dataclass(frozen=True)
class Ridge(LinearPredictor):
    """Ridge regression with a fixed penalty.

    Attributes:
        penalty: lambda, positive.

    Raises:
        InputError: a penalty that is not positive.
    """

    penalty: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.penalty) and self.penalty > 0):
            raise InputError(f"the penalty of ridge regression must be positive, not {self.penalty}: without one it is least squares")

    @property
    def name(self) -> str:  # type: ignore[override]
        """With its penalty."""
        return f"ridge {self.penalty:.3g}"

    def weights(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n d"]:
        """By rank-one updates; see :meth:`LinearPredictor.weights`."""
        x, y = _check_pairs(x, y)
        return online_ridge(x, y[..., None], self.penalty)[..., 0]


@dataclass(frozen=True)
class Bayes(LinearPredictor):
    """The posterior mean under the prompts' own prior: nothing has a lower expected squared error.

    Attributes:
        noise: the variance sigma² of a label given its input.
        prior: the variance tau² of a weight.

    Raises:
        InputError: a negative noise, or a prior that is not positive.
    """

    noise: float
    prior: float = 1.0
    name = "Bayes"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise) and self.noise >= 0 and math.isfinite(self.prior) and self.prior > 0):
            raise InputError(f"the variances are 0 or more of the noise, and positive of the weights, not {self.noise} and {self.prior}")

    def weights(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n d"]:
        """Ridge, or least squares where there is no noise; see :meth:`LinearPredictor.weights`."""
        return (Ridge(self.noise / self.prior) if self.noise > 0 else LeastSquares()).weights(x, y)


@dataclass(frozen=True)
class GradientDescent(LinearPredictor):
    """Steps of gradient descent on the whole prefix, from zero.

    Attributes:
        rate: a, the step size of the summed loss.
        steps: how many.
        penalty: lambda.
        averaged: the loss is a mean over the prefix and not a sum.

    Raises:
        InputError: a rate that is not positive, no step, or a negative penalty.
    """

    rate: float
    steps: int = 1
    penalty: float = 0.0
    averaged: bool = False

    def __post_init__(self) -> None:
        _check_descent(self.rate, self.penalty)
        if self.steps < 1:
            raise InputError(f"gradient descent takes at least 1 step, not {self.steps}")

    @property
    def name(self) -> str:  # type: ignore[override]
        """With its steps."""
        return f"GD, {self.steps} step{'s' if self.steps > 1 else ''}"

    def weights(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n d"]:
        """From running sums of the normal equations; see :meth:`LinearPredictor.weights`."""
        x, y = _check_pairs(x, y)
        moment = _before(x * y[..., None])
        count = torch.arange(x.shape[1], dtype=x.dtype, device=x.device).clamp(min=1)[:, None] if self.averaged else 1.0
        weight = 2 * self.rate * moment / count
        if self.steps > 1:
            gram = _before(x[..., :, None] * x[..., None, :])
            for _ in range(self.steps - 1):
                slope = (gram @ weight[..., None])[..., 0] - moment
                weight = weight - 2 * self.rate * (slope / count + self.penalty * weight)
        return weight


@dataclass(frozen=True)
class OnePass(LinearPredictor):
    """Stochastic gradient descent, one example a step.

    Attributes:
        rate: a.
        penalty: lambda.
        growing: every step uses all rows so far, not the newest alone (the paper's code with `window=-1`).
        clip: the largest magnitude of an entry of the gradient, or None.

    Raises:
        InputError: a rate or clip that is not positive, or a negative penalty.
    """

    rate: float
    penalty: float = 0.0
    growing: bool = False
    clip: float | None = None

    def __post_init__(self) -> None:
        _check_descent(self.rate, self.penalty)
        if self.clip is not None and self.clip <= 0:
            raise InputError(f"clip must be positive, or None, not {self.clip}")

    @property
    def name(self) -> str:  # type: ignore[override]
        """Which of the two it is."""
        return "SGD, growing window" if self.growing else "SGD, one pass"

    def weights(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n d"]:
        """In turn over the examples; see :meth:`LinearPredictor.weights`."""
        x, y = _check_pairs(x, y)
        batch, n, d = x.shape
        weight, gram, moment = x.new_zeros(batch, d), x.new_zeros(batch, d, d), x.new_zeros(batch, d)
        kept = [weight]
        for row, label in zip(x[:, : n - 1].unbind(dim=1), y[:, : n - 1].unbind(dim=1), strict=True):
            if self.growing:
                gram, moment = gram + row[:, :, None] * row[:, None], moment + row * label[:, None]
                slope = (gram @ weight[..., None])[..., 0] - moment
            else:
                slope = row * ((row * weight).sum(dim=1) - label)[:, None]
            slope = 2 * (slope + self.penalty * weight)
            if self.clip is not None:
                slope = slope.clamp(-self.clip, self.clip)
            weight = weight - self.rate * slope
            kept.append(weight)
        return torch.stack(kept, dim=1)


def _check_descent(rate: float, penalty: float) -> None:
    if not (math.isfinite(rate) and rate > 0 and math.isfinite(penalty) and penalty >= 0):
        raise InputError(f"descent needs a positive rate and a penalty of 0 or more, not {rate} and {penalty}")


class Correlation(LinearPredictor):
    """The mean of x y: least squares as if inputs had identity covariance."""

    name = "correlation"

    def weights(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n d"]:
        """Running means; see :meth:`LinearPredictor.weights`."""
        x, y = _check_pairs(x, y)
        return _before(x * y[..., None]) / torch.arange(x.shape[1], dtype=x.dtype, device=x.device).clamp(min=1)[:, None]


@dataclass(frozen=True)
class Neighbours(Predictor):
    """The nearest earlier inputs answer, min(k, i) of them.

    Attributes:
        k: how many.
        weighting: ``"uniform"``; ``"inverse"``, by 1 / distance (the paper's code); ``"inverse-square"``, by 1 / distance² (the paper). Of neighbours at distance 0 only they count.

    Raises:
        InputError: k below 1, or an unknown weighting.
    """

    k: int = 3
    weighting: str = "uniform"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"k must be at least 1 neighbour, not {self.k}")
        choose("weighting", self.weighting, _POWERS)

    @property
    def name(self) -> str:  # type: ignore[override]
        """With its k."""
        return f"{self.k}-NN{'' if self.weighting == 'uniform' else f', {self.weighting}'}"

    def answer(
        self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], queries: Float[Tensor, "batch n queries d"]
    ) -> Float[Tensor, "batch n queries"]:
        """Distances to all inputs, those to come put out of reach; see :meth:`Predictor.answer`."""
        x, y = _check_pairs(x, y)
        n = x.shape[1]
        difference = queries.double().flatten(1, 2)[:, :, None] - x[:, None]
        distance = difference.square().sum(dim=-1).sqrt().unflatten(1, (n, -1))
        ahead = torch.ones(n, n, dtype=torch.bool, device=x.device).triu()
        near = distance.masked_fill(ahead[:, None], torch.inf).topk(min(self.k, n), dim=-1, largest=False)
        labels = y[:, None, None].expand(*distance.shape).gather(-1, near.indices)
        there = torch.isfinite(near.values)
        power = _POWERS[self.weighting]
        weight = torch.where(there, near.values, 1.0) ** -power
        same = (near.values == 0) & there
        if power:
            weight = torch.where(same.any(dim=-1, keepdim=True), same.to(weight), weight)
        weight = torch.where(there, weight, 0.0)
        return (weight * labels).sum(dim=-1) / weight.sum(dim=-1).clamp(min=torch.finfo(weight.dtype).tiny)


_POWERS = {"uniform": 0, "inverse": 1, "inverse-square": 2}
