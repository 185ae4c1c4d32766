r"""Ensembles of finite networks, held against the recursions of first order in 1/n.

`FiniteWidth` measures all quantities at the last layer of shallow networks; what is expensive to follow (tangent kernels, and their differentials above all) is measured on fewer networks.
`FluctuationGrowth` measures how the four-point vertex grows with depth: with :math:`R^\ell = \mathbb E[z_i^2 z_j^2] / \mathbb E[z_i^2]^2` the rate is :math:`n\,[(R^L / R^m)^{1/(L-m)} - 1]`, which for scale-invariant activations without
residual connections is :math:`\nu` at every width, since there :math:`R^{\ell+1} = R^\ell (1 + \nu/n)` exactly. To first order in 1/n it is the growth of :math:`V/K^2` a layer.
"""

from dataclasses import dataclass

import torch

from ordinate.analyze.criticality import find_criticality
from ordinate.analyze.flow import rg_flow
from ordinate.analyze.layerwise import measure_moments
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.seeds import generator
from ordinate.nn.activations import Activation

__all__ = ["TASKS", "FiniteWidth", "FluctuationGrowth", "RandomNets"]


@dataclass(frozen=True)
class RandomNets:
    """Networks to draw: the activation, the variances, K^1, and the weight of residual connections."""

    activation: Activation
    C_b: float
    C_W: float
    first: float = 1.0
    residual: float = 0.0

    @classmethod
    def critical(cls, name: str, residual: float = 0.0) -> "RandomNets":
        """Of an activation at its critical point, with residual connections of a weight γ in [0, 1) or without."""
        report = find_criticality(name).with_residual(residual)
        return cls(Activation.of(name), report.C_b, report.C_W, report.K_star or 1.0, residual)


class FiniteWidth(Task):
    """An arm's `make()` gives `RandomNets` without residual connections. Every metric is measured over predicted.

    Args:
        width: n of all layers.
        depth: L.
        nets: how many networks: for z alone, with the tangent kernel, with its differential.
    """

    name = "finite-width"
    metrics = (
        Metric("K", "x", meaning="variance of preactivations, the correction in 1/n included"),
        Metric("V", "x", meaning="four-point vertex: what the squares of two neurons have in common"),
        Metric("Theta", "x", meaning="neural tangent kernel"),
        Metric("A", "x", meaning="covariance of two neurons' tangent kernels"),
        Metric("B", "x", meaning="mean square of the tangent kernel between two neurons"),
        Metric("D", "x", meaning="covariance of a neuron's tangent kernel with another's square"),
        Metric("F", "x", meaning="mean of the tangent kernel between two neurons times both"),
        Metric("P", "x", meaning="mean of the tangent kernel's differential (ijj) times i"),
        Metric("Q", "x", meaning="mean of the tangent kernel's differential (iij) times j"),
    )

    def __init__(self, width: int, depth: int, nets: tuple[int, int, int]) -> None:
        self.width, self.depth, self.nets = width, depth, nets
        self.title = f"{depth} layers of {width} neurons against the recursions in 1/width"

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Draw and compare at the last layer."""
        what: RandomNets = arm.make()
        x = torch.full((1, self.width), ((what.first - what.C_b) / what.C_W) ** 0.5, device=run.setting.device)
        widths = [self.width] * self.depth
        plain, tangent, turned = (
            measure_moments(what.activation, x, widths, what.C_b, what.C_W, nets, generator(run.seed, "nets", order), order=order)
            for order, nets in enumerate(self.nets)
        )
        flow = rg_flow(what.activation, self.depth, what.C_b, what.C_W, first=what.first)
        measured = {
            "K": plain.K,
            "V": plain.V,
            **{name: getattr(tangent, name) for name in ("Theta", "A", "B", "D", "F")},
            "P": turned.P,
            "Q": turned.Q,
        }
        predicted = {name: getattr(flow, name) for name in measured}
        predicted["K"] = flow.K + flow.G1 / self.width
        layers = range(1, self.depth + 1)
        return Outcome(
            {name: float(measured[name][-1] / predicted[name][-1]) for name in measured},
            curves={f"{name}, measured": list(zip(layers, measured[name].tolist(), strict=True)) for name in measured},
            notes={"predicted": {name: values.tolist() for name, values in predicted.items()}, "networks": list(self.nets)},
        )


class FluctuationGrowth(Task):
    """An arm's `make()` gives `RandomNets`.

    Args:
        widths: the widths to measure at; the mean of their rates is what counts.
        depth: L.
        start: m, the layer from which growth is measured.
        nets: networks at the widest of the widths; narrower ones get more, for the same number of weights.
    """

    name = "fluctuation-growth"
    metrics = (
        Metric("rate", meaning="growth of V/K² a layer, in networks"),
        Metric("recursion", meaning="the same rate over the same layers by the recursion, to first order in 1/width"),
        Metric("asymptote", meaning="growth of V/K² a layer by the recursion at layer 1000"),
    )

    def __init__(self, widths: tuple[int, ...], depth: int, nets: int, start: int = 1) -> None:
        self.widths, self.depth, self.nets, self.start = widths, depth, nets, start
        self.title = f"Growth of fluctuations over layers {start} to {depth} at widths {', '.join(map(str, widths))}"

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Draw at every width, and compare."""
        what: RandomNets = arm.make()
        flow = rg_flow(what.activation, 1000, what.C_b, what.C_W, first=what.first, residual=what.residual)
        rates = {}
        for width in self.widths:
            x = torch.full((1, width), ((what.first - what.C_b) / what.C_W) ** 0.5, device=run.setting.device)
            found = measure_moments(
                what.activation,
                x,
                [width] * self.depth,
                what.C_b,
                what.C_W,
                self.nets * max(self.widths) ** 2 // width**2,
                generator(run.seed, "growth", width),
                residual=what.residual,
                order=0,
                at_once=max(1, 2**20 // width**2),
            )
            growth = 1 + found.V / (width * found.K.square())
            rates[width] = float(width * ((growth[-1] / growth[self.start - 1]) ** (1 / (self.depth - self.start)) - 1))
        ratio = flow.V / flow.K.square()
        return Outcome(
            {
                "rate": sum(rates.values()) / len(rates),
                "recursion": float(ratio[self.depth - 1] - ratio[self.start - 1]) / (self.depth - self.start),
                "asymptote": float(ratio[-1] - ratio[-2]),
            },
            curves={"rate by width": list(rates.items())},
        )


TASKS = {FiniteWidth.name: FiniteWidth, FluctuationGrowth.name: FluctuationGrowth}
