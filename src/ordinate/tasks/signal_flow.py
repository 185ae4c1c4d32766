r"""Signals in real networks at initialisation, held against the recursions.

Measured are the mean squares, cosines and gradients of :func:`ordinate.analyze.signals.propagate`; predicted are the kernel with its correction and its spread from one network to the next to first order in 1/n
(:meth:`ordinate.analyze.flow.RGFlow.at_width`), and the cosine at infinite width.
"""

from functools import partial
from typing import Literal

import torch

from ordinate.analyze.flow import rg_flow
from ordinate.analyze.kernels import kernel_flow
from ordinate.analyze.signals import Propagation, propagate
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task

__all__ = ["TASKS", "SignalFlow"]

_SIGMAS = 1.959964  # a Gaussian's 95 %


class SignalFlow(Task):
    """An arm's `make()` gives a `Propagation`.

    Args:
        depth: L of the networks.
        width: n.
        draws: networks a run, at least 2.
        cosine: of the two inputs.
        deep: layers that the recursion is followed to; by default as many as the networks have.
    """

    name = "signal-flow"
    metrics = (
        Metric("inside", "%", meaning="mean squares, over layers and draws, inside the predicted 95 % band of one network"),
        Metric(
            "kernel error",
            "%",
            higher_is_better=False,
            meaning="largest error over the layers of the mean over draws, beyond what sampling explains",
        ),
        Metric("spread ratio", "x", meaning="variance over draws over its prediction, mean over the second half of the layers"),
        Metric(
            "cosine error",
            higher_is_better=False,
            meaning="largest distance over the layers of the mean cosine from the recursion, beyond what sampling explains",
        ),
        Metric("deep kernel", meaning="the recursion's kernel at the deepest layer that it is followed to"),
        Metric("deep cosine", meaning="the recursion's cosine there"),
        Metric("gradient", "decades", meaning="log10 of the gradient's norm by the first layer's preactivations over the last's"),
    )

    def __init__(self, depth: int, width: int, draws: int, cosine: float = 0.2, deep: int | None = None) -> None:
        self.depth, self.width, self.draws, self.cosine, self.deep = depth, width, draws, cosine, deep or depth
        self.title = f"Signals in {depth} layers of {width} neurons against the recursions"

    def arm(self, name: str) -> Arm:
        """Networks in words, as :meth:`ordinate.analyze.signals.Propagation.read` takes them: ``"gelu"``, ``"gelu, He"``, ``"gelu, x 0.8"``."""
        recipe = name.partition(",")[2].strip()
        role: Literal["method", "baseline", "ablation"] = "ablation" if recipe.startswith("x ") else "baseline"
        return Arm(name, partial(Propagation.read, name, self.width), role="method" if recipe in ("", "critical") else role)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Draw, send, compare."""
        what: Propagation = arm.make()
        flow = rg_flow(what.activation, self.depth, what.C_b, what.C_W, first=what.first)
        cross = (what.first - what.C_b) * self.cosine + what.C_b
        pair = torch.tensor([[what.first, cross], [cross, what.first]], dtype=torch.float64)
        far = kernel_flow(what.activation, pair, self.deep, what.C_b, what.C_W)
        cosines = far.cosine[: self.depth, 0, 1]
        found = propagate(what, self.depth, self.width, self.draws, self.cosine, run.seed)
        mean, spread = flow.at_width(self.width)
        outside = (found.squares - mean).abs() > _SIGMAS * spread
        off = (found.squares.mean(dim=0) - mean).abs() - 3 * spread / self.draws**0.5
        measured = found.cosines.mean(dim=0)
        turned = (measured - cosines).abs() - 3 * found.cosines.std(dim=0) / self.draws**0.5
        ratios = (found.squares.var(dim=0) / spread.square())[self.depth // 2 :]
        layers = range(1, self.depth + 1)
        return Outcome(
            {
                "inside": 100 * float((~outside).double().mean()),
                "kernel error": 100 * float((off / mean).clamp(min=0).max()),
                "spread ratio": float(ratios.mean()),
                "cosine error": float(turned.clamp(min=0).max()),
                "deep kernel": float(far.kernel[-1, 0, 0]),
                "deep cosine": float(far.cosine[-1, 0, 1]),
                "gradient": float(found.decades.mean()),
            },
            curves={
                "kernel, measured": list(zip(layers, found.squares.mean(dim=0).tolist(), strict=True)),
                "kernel, predicted": list(zip(layers, mean.tolist(), strict=True)),
                "cosine, measured": list(zip(layers, measured.tolist(), strict=True)),
                "cosine, predicted": list(zip(layers, cosines.tolist(), strict=True)),
            },
            parameters=3 * self.width + (self.depth - 1) * (self.width + 1) * self.width,
        )


TASKS = {SignalFlow.name: SignalFlow}
