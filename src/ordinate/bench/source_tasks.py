"""Relevance of source tasks and representations shared by them, against straightforward code.

The peer of the batched Lasso is a loop of scikit-learn's over the targets, each to the same precision; that of a linear representation's fit touches every sample again in each round, as the formulas read.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import Lasso
from torch import Tensor

from ordinate.analyze.lasso import lasso
from ordinate.analyze.relevance import relevance
from ordinate.bench.base import Bench, BenchResult, Timing, fitted_exponents
from ordinate.experiment.measure import measure_time
from ordinate.models.alternating import fit_representation
from ordinate.models.task_moments import TaskMoments

__all__ = ["BENCHES", "fit_touching_data", "lasso_one_by_one"]

TARGETS = 160
FEATURES = 20
PENALTY = 0.03  # of the largest entry of |W^T w|, each target's own
INPUTS, SHARED, TASKS, ROUNDS = 64, 8, 40, 10


def lasso_one_by_one(W: Tensor, targets: Tensor, penalties: Tensor) -> Tensor:
    """The peer: one scikit-learn Lasso a target."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for target, penalty in zip(targets.T.numpy(), penalties.tolist(), strict=True):
            model = Lasso(alpha=penalty / len(W), fit_intercept=False, tol=1e-8, max_iter=100_000)
            found.append(model.fit(W.numpy(), target).coef_)
    return torch.from_numpy(np.stack(found, axis=1))


def fit_touching_data(samples: Sequence[tuple[Tensor, Tensor]], B: Tensor, rounds: int) -> Tensor:
    """The peer: the same alternation, with every round's systems put together from the samples."""
    d, K = B.shape
    for _ in range(rounds):
        matrix, right = torch.zeros(d * K, d * K, dtype=torch.float64), torch.zeros(d * K, dtype=torch.float64)
        for X, y in samples:
            w = torch.linalg.lstsq(X @ B, y[:, None]).solution[:, 0]
            rows = (w[None, :, None] * X[:, None, :]).reshape(len(X), K * d)
            matrix += rows.mT @ rows
            right += rows.mT @ y
        B = torch.linalg.qr(torch.linalg.solve(matrix, right).view(K, d).mT).Q
    return B


def _lassos(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for tasks in sizes or ((40, 80, 160) if quick else BENCHES["task-relevance"].sizes):
        chance = torch.Generator().manual_seed(tasks)
        W = torch.randn(FEATURES, tasks, dtype=torch.float64, generator=chance)
        targets = torch.randn(FEATURES, TARGETS, dtype=torch.float64, generator=chance)
        penalties = PENALTY * (W.mT @ targets).abs().amax(dim=0)
        calls: dict[str, tuple[Callable[[], Any], int]] = {
            "ordinate": (partial(lasso, W, targets, penalties), 1),
            "scikit-learn, one by one": (partial(lasso_one_by_one, W, targets, penalties), 1),
            "linear program, one by one": (partial(_programs, W, targets[:, : TARGETS // 10]), 10),
        }
        for contender, (call, times) in calls.items():
            watch(f"{contender}, {tasks} sources")
            rows.append(Timing(contender, tasks, times * measure_time(call, repeats=1 if quick else 3)))
    return BenchResult(
        rows,
        peer="ordinate",
        size_name="sources",
        exponents=fitted_exponents(rows),
        remarks=[f"{TARGETS} targets in {FEATURES} dimensions; the linear program is timed on a tenth of them"],
    )


def _programs(W: Tensor, targets: Tensor) -> None:
    for target in targets.mT:
        relevance(W, target)


def _representations(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for count in sizes or ((100, 200, 400) if quick else BENCHES["shared-representation"].sizes):
        samples = _samples(count)
        start = torch.linalg.qr(torch.randn(INPUTS, SHARED, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
        calls: dict[str, Callable[[], Any]] = {
            "ordinate": partial(_fit, samples, start, True),
            "ordinate, conjugate gradients": partial(_fit, samples, start, False),
            "samples in every round": partial(fit_touching_data, samples, start, ROUNDS),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {count} samples a task")
            rows.append(Timing(contender, count, measure_time(call, repeats=1 if quick else 3)))
    return BenchResult(
        rows,
        peer="ordinate",
        size_name="samples a task",
        exponents=fitted_exponents(rows),
        remarks=[f"{TASKS} tasks, {INPUTS} inputs, {SHARED} features, {ROUNDS} rounds; ordinate's time includes the moments"],
    )


def _samples(count: int) -> list[tuple[Tensor, Tensor]]:
    chance = torch.Generator().manual_seed(count)
    B = torch.randn(INPUTS, SHARED, dtype=torch.float64, generator=chance)
    found = []
    for _ in range(TASKS):
        X = torch.randn(count, INPUTS, dtype=torch.float64, generator=chance)
        w = torch.randn(SHARED, dtype=torch.float64, generator=chance)
        found.append((X, X @ (B @ w) + torch.randn(count, dtype=torch.float64, generator=chance)))
    return found


def _fit(samples: Sequence[tuple[Tensor, Tensor]], start: Tensor, direct: bool) -> Tensor:
    moments = TaskMoments(len(samples), INPUTS)
    for task, (X, y) in enumerate(samples):
        moments.add(task, X, y)
    return fit_representation(moments, SHARED, rounds=ROUNDS, tolerance=0.0, ridge=0.0, start=start, direct=direct).B


BENCHES = {
    "task-relevance": Bench("Lassos of many targets on the same heads, against one at a time", _lassos, (40, 80, 160, 320)),
    "shared-representation": Bench(
        "A linear representation of many tasks, against touching the samples in every round", _representations, (100, 400, 1600)
    ),
}
