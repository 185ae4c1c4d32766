r"""The linear probe: a linear classifier on frozen features, fitted for a whole grid of penalties.

With N features x of width d, standardised or as they are, it minimises

.. math:: \frac1N \sum_i \mathrm{CE}(W x_i + b,\, y_i) + \frac{\lambda}{2} \lVert W \rVert^2 \qquad\text{or}\qquad \frac1N \sum_i \lVert W x_i + b - \mathbb 1_{y_i} \rVert^2 + \lambda \lVert W \rVert^2 .

One decomposition :math:`X = U S V^\top` serves every :math:`\lambda`. The ridge solutions are :math:`V\, S (S^2 + N\lambda)^{-1} U^\top Y`. The logistic ones are found by Newton's method with conjugate
gradients in the coordinates :math:`a = (S^2 / (NC) + \lambda)^{1/2}\, V^\top W`, in which the curvature is nearly the same in all directions, from the largest penalty to the smallest, each begun where the last one ended.

A feature that is given n times over has the optimum of one copy where the penalty is n times as large: penalties must be chosen anew for every width, and the probe does so, on a stratified fifth of the rows.

Sources: linear evaluation of Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023 (whose optimiser is ``solver="sgd"``); the penalties are Tikhonov's.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ordinate.analyze.probes import _Probe
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator
from ordinate.nn.probe_head import ProbeHead

__all__ = ["L2_GRID", "SOLVERS", "LinearProbe"]

L2_GRID = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Penalties that are tried where none is given."""
SOLVERS = ("newton", "ridge", "sgd")

_HELD_OUT = 5
_FLAT = 1e-12  # a feature that varies less is a constant
_RANK = 1e-12  # directions with less than this part of the largest variance are none
_NEWTON_STEPS, _CONJUGATE_STEPS, _CONVERGED, _ROUNDING = 60, 250, 1e-9, 1e-14
_EPOCHS, _DROPS, _BATCH, _LR, _MOMENTUM = 28, (8, 16, 24), 256, 0.01, 0.9


class LinearProbe(_Probe):
    """A linear classifier whose penalty is chosen on held-out rows.

    Attributes:
        weight_: (C, d) float64 after `fit`, of the features as they are given.
        bias_: (C,) float64.
        l2_: the penalty that was chosen.
        scores_: penalty -> accuracy on the held-out rows; empty where only one was given.
    """

    def __init__(self, l2: Any = L2_GRID, solver: Any = "newton", use_bn: Any = True, seed: Any = 0) -> None:
        """
        Args:
            l2: the penalty :math:`\\lambda`, or several to choose from. SGD calls it weight decay.
            solver: ``"newton"`` (logistic), ``"ridge"`` (least squares, in closed form) or ``"sgd"`` (logistic by the paper's recipe: 28 epochs of batches of 256, Nesterov momentum 0.9, rate 0.01 divided by 10 after
                8, 16 and 24 epochs).
            use_bn: bring features to mean 0 and variance 1 over the training rows; SGD does so with batch normalisation, whose scales are not decayed.
            seed: of the rows that are held out, and of SGD.
        """
        self.l2 = l2
        self.solver = solver
        self.use_bn = use_bn
        self.seed = seed

    def fit(self, X: Any, y: Any) -> "LinearProbe":
        """Choose the penalty, where there are several, and fit all rows with it.

        Args:
            X: (N, d).
            y: (N,).

        Raises:
            InputError: one class, no penalty or one that is not positive, an unknown solver, or several penalties and no class with two rows.
        """
        X, codes = self._begin(X, y)
        choose("solver", self.solver, SOLVERS)
        grid = _descending(self.l2 if isinstance(self.l2, Sequence) else [self.l2])
        X = X.double()
        self.scores_: dict[float, float] = {}
        if len(grid) > 1:
            fitted, held = _split(codes, len(self.classes_), self.seed)
            for value, (weight, bias) in zip(grid, self._solve(X[fitted], codes[fitted], grid), strict=True):
                self.scores_[value] = float(((X[held] @ weight.T + bias).argmax(dim=1) == codes[held]).double().mean())
        self.l2_ = max(self.scores_, key=lambda value: self.scores_[value]) if self.scores_ else grid[0]  # of equals, the largest
        path = [value for value in grid if value >= self.l2_] if self.solver == "newton" else [self.l2_]
        self.weight_, self.bias_ = self._solve(X, codes, path)[-1]
        return self

    def path(self, X: Any, y: Any, grid: Sequence[float]) -> list[tuple[Tensor, Tensor]]:
        """The solution for every penalty of a grid, on all rows, from one decomposition; nothing is chosen or kept.

        Args:
            X: (N, d).
            y: (N,).
            grid: penalties, in any order.

        Returns:
            For each penalty, the largest first, the weight (C, d) and bias (C,), float64, of the features as they are given.

        Raises:
            InputError: one class, or a penalty that is not positive.
        """
        X, codes = self._begin(X, y)
        return self._solve(X.double(), codes, _descending(grid))

    def _solve(self, X: Tensor, codes: Tensor, grid: Sequence[float]) -> list[tuple[Tensor, Tensor]]:
        """Weight and bias for every penalty, the largest first."""
        classes = len(self.classes_)
        if self.solver == "sgd":
            return [_descend(X, codes, classes, value, bool(self.use_bn), self.seed) for value in grid]
        mean = X.mean(dim=0)
        scale = X.std(dim=0, unbiased=False) if self.use_bn else torch.ones_like(mean)
        scale = torch.where(scale < _FLAT, 1.0, scale)
        rotated, basis, squares = _decompose((X - mean) / scale)
        solve = _ridge if self.solver == "ridge" else _logistic
        found = []
        for weight, bias in solve(rotated, squares, F.one_hot(codes, classes).double(), grid):
            weight = (basis @ weight).T / scale
            found.append((weight, bias - weight @ mean))
        return found

    def decide(self, X: Any) -> Tensor:
        """Logits (M, C), float64, of features (M, d); the largest is the prediction."""
        return self._read(X).double() @ self.weight_.T + self.bias_

    def predict(self, X: Any) -> Any:
        """The labels (M,) of features (M, d)."""
        return self._named(self.decide(X).argmax(dim=1))

    def to_linear(self) -> nn.Linear:
        """The fitted classifier as a layer (B, d) -> (B, C), float32, its classes in the order of `classes_`.

        Raises:
            sklearn.exceptions.NotFittedError: it is not fitted.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        layer = nn.Linear(self.weight_.shape[1], len(self.weight_))
        with torch.no_grad():
            layer.weight.copy_(self.weight_)
            layer.bias.copy_(self.bias_)
        return layer


def _descending(penalties: Sequence[float]) -> list[float]:
    grid = sorted({float(value) for value in penalties}, reverse=True)
    if not grid or not all(math.isfinite(value) and value > 0 for value in grid):
        raise InputError(
            f"penalties are positive numbers, or features that repeat each other have no single solution, not {list(penalties)}"
        )
    return grid


def _split(codes: Tensor, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows to fit and rows to score: of every class a fifth, at least one and never all."""
    order = torch.randperm(len(codes), generator=generator(seed, "probe held out"))
    held = []
    for code in range(classes):
        rows = order[codes[order] == code]
        held.append(rows[: min(len(rows) - 1, max(1, len(rows) // _HELD_OUT))])
    scored = torch.cat(held)
    if not len(scored):
        raise InputError("a penalty is chosen on held-out rows, and there is one row a class: give one penalty")
    mask = torch.ones(len(codes), dtype=torch.bool).index_fill_(0, scored, False)
    return mask.nonzero()[:, 0], scored


def _decompose(X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """X V (N, r), V (d, r) and the squared singular values (r,), by the smaller Gram matrix."""
    wide = X.shape[1] > len(X)
    values, vectors = torch.linalg.eigh(X @ X.T if wide else X.T @ X)
    kept = values > _RANK * values[-1].clamp(min=_FLAT)
    values, vectors = values[kept], vectors[:, kept]
    if not wide:
        return X @ vectors, vectors, values
    lengths = values.sqrt()
    return vectors * lengths, X.T @ vectors / lengths, values


def _ridge(rotated: Tensor, squares: Tensor, targets: Tensor, grid: Sequence[float]) -> list[tuple[Tensor, Tensor]]:
    bias = targets.mean(dim=0)
    products = rotated.T @ (targets - bias)
    return [(products / (squares + value * len(rotated))[:, None], bias) for value in grid]


def _logistic(rotated: Tensor, squares: Tensor, targets: Tensor, grid: Sequence[float]) -> list[tuple[Tensor, Tensor]]:
    count, classes = targets.shape
    weight = rotated.new_zeros(rotated.shape[1] + 1, classes)
    weight[-1] = targets.mean(dim=0).clamp(min=1 / (2 * count)).log()
    found = []
    for value in grid:
        roots = torch.cat([squares / (count * classes) + value, squares.new_tensor([1 / classes])]).sqrt()[:, None]
        rows = torch.cat([rotated, rotated.new_ones(count, 1)], dim=1) / roots[:, 0]
        penalty = value / roots.square()
        penalty[-1] = 0
        weight = _newton(rows, targets, penalty, weight * roots) / roots
        found.append((weight[:-1], weight[-1]))
    return found


def _newton(rows: Tensor, targets: Tensor, penalty: Tensor, a: Tensor) -> Tensor:
    """The minimum of the mean cross-entropy of `rows @ a` plus half the penalty times the squares of `a`, begun at `a`: steps by conjugate gradients, shortened until the loss falls."""
    count = len(rows)

    def loss(a: Tensor) -> tuple[Tensor, float]:
        logs = (rows @ a).log_softmax(dim=1)
        return logs, float((penalty * a.square()).sum() / 2 - (targets * logs).sum() / count)

    logs, value = loss(a)
    for _ in range(_NEWTON_STEPS):
        p = logs.exp()
        gradient = rows.T @ (p - targets) / count + penalty * a
        if float(gradient.abs().max()) < _CONVERGED:
            break
        step = _conjugate(rows, p, penalty, gradient)
        slope, length = float((gradient * step).sum()), 1.0
        while True:
            trial_logs, trial = loss(a - length * step)
            if trial <= value - 1e-4 * length * slope + _ROUNDING * abs(value) or length < 1e-6:
                break
            length /= 2
        a, logs, value = a - length * step, trial_logs, trial
    return a


def _conjugate(rows: Tensor, p: Tensor, penalty: Tensor, gradient: Tensor) -> Tensor:
    """The Hessian's inverse times the gradient, the more exactly the smaller the gradient is."""
    step, left = torch.zeros_like(gradient), gradient
    direction, size = left, float(left.square().sum())
    enough = size * min(0.1, size**0.5)
    for _ in range(_CONJUGATE_STEPS):
        moved = rows @ direction
        curved = rows.T @ (p * (moved - (p * moved).sum(dim=1, keepdim=True))) / len(rows) + penalty * direction
        along = float((direction * curved).sum())
        if along <= 0:  # nothing but the one direction in which all biases move together, and rounding
            break
        step = step + size / along * direction
        left = left - size / along * curved
        before, size = size, float(left.square().sum())
        if size <= enough:
            break
        direction = left + size / before * direction
    return step


def _descend(X: Tensor, codes: Tensor, classes: int, decay: float, use_bn: bool, seed: int) -> tuple[Tensor, Tensor]:
    """The paper's recipe, in float32."""
    X, chance = X.float(), generator(seed, "probe sgd")
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        head = ProbeHead(X.shape[1], classes, use_bn=use_bn)
    groups: list[dict[str, Any]] = [
        {"params": [head.linear.weight], "weight_decay": decay},
        {"params": [head.linear.bias, *head.bn.parameters()]},
    ]
    optimizer = torch.optim.SGD(groups, lr=_LR, momentum=_MOMENTUM, nesterov=True)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(_DROPS), gamma=0.1)
    for _ in range(_EPOCHS):
        for rows in torch.randperm(len(X), generator=chance).split(_BATCH):
            if use_bn and len(rows) == 1:
                continue  # one row has no variance to normalise by
            optimizer.zero_grad()
            F.cross_entropy(head(X[rows]), codes[rows]).backward()
            optimizer.step()
        schedule.step()
    weight, bias = head.eval().folded()
    return weight.double(), bias.double()
