"""The error of random features: estimates of exp(x.y) over many pairs and draws against the truth and the closed form, and the attention rows made of them. Nothing is trained."""

import math
from dataclasses import dataclass

import torch

from ordinate.analyze.random_features import attention_error, prf_relative_variance
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.seeds import generator
from ordinate.nn.feature_maps import RandomFeatures, unit_norm

__all__ = ["TASKS", "Estimate", "KernelEstimate"]


@dataclass(frozen=True)
class Estimate:
    """What an arm estimates.

    Attributes:
        norm: the length of the vectors, R.
        features: m.
        kind: of the random features.
        orthogonal: their projections are orthogonal.
    """

    norm: float
    features: int
    kind: str = "prf"
    orthogonal: bool = False


class KernelEstimate(Task):
    """Relative error of the kernel, and L1 error of attention. An arm's `make()` gives an `Estimate`."""

    name = "kernel-estimate"
    title = "Random features of the exponential kernel"
    metrics = (
        Metric(
            "error",
            higher_is_better=False,
            meaning="root mean square of the relative error of the estimates of exp(x.y), over pairs and draws",
        ),
        Metric("expected", higher_is_better=False, meaning="what the closed form of positive, independent random features says it is"),
        Metric(
            "attention_error", higher_is_better=False, meaning="L1 distance of attention rows over 64 keys from softmax's, between 0 and 2"
        ),
    )

    def __init__(self, *, dim: int = 32, pairs: int = 2000, draws: int = 20) -> None:
        """
        Args:
            dim: of the vectors.
            pairs: of random directions.
            draws: of the projections.
        """
        self.dim, self.pairs, self.draws = dim, pairs, draws

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Estimate with one arm's features; directions and projections are drawn from the seed."""
        estimate: Estimate = arm.make()
        drawn = generator(run.seed, "pairs")
        x, y = (unit_norm(torch.randn(1, self.pairs, self.dim, generator=drawn, dtype=torch.float64)) * estimate.norm for _ in range(2))
        q, k = (torch.randn(1, 1, 64, self.dim, generator=drawn, dtype=torch.float64) for _ in range(2))
        exact = (x * y).sum(-1).exp()
        squares, distances = [], []
        for draw in range(self.draws):
            features = RandomFeatures(
                estimate.kind, self.dim, estimate.features, orthogonal=estimate.orthogonal, generator=generator(run.seed, "draw", draw)
            ).double()
            squares.append((((features(x) * features(y)).sum(-1) / exact - 1) ** 2).mean())
            distances.append(attention_error(q, k, features, norm_scale=estimate.norm).mean())
        metrics = {
            "error": math.sqrt(torch.stack(squares).mean()),
            "expected": math.sqrt(prf_relative_variance(x, y, estimate.features).mean()),
            "attention_error": float(torch.stack(distances).mean()),
        }
        return Outcome(metrics)


TASKS = {KernelEstimate.name: KernelEstimate}
