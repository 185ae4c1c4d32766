r"""Two models whose features are drawn instead of trained: class y's lie on the unit sphere around its prototype :math:`w_y` with mean :math:`\rho\, w_y`, independently for the two models, as

.. math:: f = \rho\, w_y + \sqrt{1 - \rho^2}\, u, \qquad u \perp w_y \text{ uniform of unit length}.

Then :math:`\mathbb E\cos = \rho_{new}\rho_{old}` within a class and :math:`-\rho_{new}\rho_{old}/(K-1)` between classes, so that both inequalities of compatibility hold in expectation exactly when :math:`\rho_{new} \ge \rho_{old}`.
What is measured is how far the means over drawn pairs are from these, and whether the report finds the direction.

The derivation is ours; it makes the point of theorem 1 of Biondi et al., "Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model Replacements", 2024.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float64, Int64
from torch import Tensor

from ordinate.analyze.compatibility import compatibility_report
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.nn.simplex import simplex_prototypes

__all__ = ["TASKS", "Cap", "SimulatedCaps", "draw_cap"]


@dataclass(frozen=True)
class Cap:
    """How concentrated the features of the two models are, each in (0, 1]."""

    new: float
    old: float

    def __post_init__(self) -> None:
        if not (0 < self.new <= 1 and 0 < self.old <= 1):
            raise InputError(f"the length of a mean of unit features lies in (0, 1], not {self.new} and {self.old}")


def draw_cap(
    prototypes: Float64[Tensor, "classes features"], labels: Int64[Tensor, " rows"], rho: float, draw: torch.Generator
) -> Float64[Tensor, "rows features"]:
    """Unit features (N, K - 1) around the prototypes of their labels (N,)."""
    centre = prototypes[labels]
    u = torch.randn(centre.shape, dtype=centre.dtype, generator=draw)
    u = F.normalize(u - (u * centre).sum(dim=1, keepdim=True) * centre, dim=1)
    return rho * centre + (1 - rho**2) ** 0.5 * u


class SimulatedCaps(Task):
    """The two inequalities on drawn features. An arm's `make` takes nothing and gives a `Cap`."""

    name = "simulated-caps"
    title = "Compatibility of drawn features"
    metrics = (
        Metric("same error", higher_is_better=False, meaning="distance of the mean cosine within classes from its expectation"),
        Metric("different error", higher_is_better=False, meaning="the same between classes"),
        Metric("compatible", meaning="1 where both inequalities hold between the means, else 0"),
        Metric("same pairs", meaning="the fraction of pairs of one class that satisfy their inequality"),
        Metric("different pairs", meaning="the fraction of pairs of two classes that do"),
    )

    def __init__(self, classes: int, rows: int, pairs: int = 20) -> None:
        """
        Args:
            classes: K.
            rows: drawn features of each class, for the means.
            pairs: of these, how many of each class are compared pair by pair.
        """
        self.classes = classes
        self.rows = rows
        self.pairs = pairs

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Draw both models' features, and compare the report with the expectation."""
        cap: Cap = arm.make()
        prototypes = simplex_prototypes(self.classes, torch.float64)
        labels = torch.arange(self.classes).repeat(self.rows)
        new, old, gallery = (
            draw_cap(prototypes, labels, rho, generator(run.seed, "cap", model))
            for model, rho in (("new", cap.new), ("old", cap.old), ("gallery", cap.old))
        )
        sums = [torch.zeros_like(prototypes).index_add_(0, labels, each) / self.rows for each in (new, old, gallery)]
        new_means, old_means = sums[0] @ sums[2].t(), sums[1] @ sums[2].t()
        other = ~torch.eye(self.classes, dtype=torch.bool)
        expected = ((new_means, cap.new * cap.old), (old_means, cap.old**2))
        same = max(abs(float(means.diagonal().mean()) - within) for means, within in expected)
        different = max(abs(float(means[other].mean()) + within / (self.classes - 1)) for means, within in expected)
        few = slice(0, self.classes * self.pairs)
        report = compatibility_report(new[few], old[few], gallery[few], labels[few], labels[few])
        holds = bool(new_means.diagonal().mean() >= old_means.diagonal().mean()) and bool(
            new_means[other].mean() <= old_means[other].mean()
        )
        return Outcome(
            {
                "same error": same,
                "different error": different,
                "compatible": float(holds),
                "same pairs": report.same_pairs,
                "different pairs": report.different_pairs,
            }
        )


TASKS = {SimulatedCaps.name: SimulatedCaps}
