r"""The direction of a feature in a representation, and what a network does when it is moved along it or robbed of it (Lampinen, Chan and Hermann, 2024: interventions on weakly represented features).

The direction of a feature with two classes is :math:`\delta = \mathbb E[\phi \mid f = 1] - \mathbb E[\phi \mid f = 0]`. Steering adds :math:`\alpha \delta` to inputs of class 0 and subtracts it from those of class 1, and the forward pass
goes on from there; the flip rate of an output is how often its prediction is no longer what it was. A feature that explains little variance has a short :math:`\delta`: what flips its output is then a small step, which is why variance is no measure
of use. Projecting out removes the subspace of the differences of a feature's class means.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor, nn

from ordinate.analyze.capture import replaced
from ordinate.analyze.representations import check_representation, edit_units
from ordinate.ground.errors import InputError

__all__ = ["Steering", "feature_direction", "feature_subspace", "predict_projected", "predict_without", "steer"]

Predict = Callable[[nn.Module], Int64[Tensor, "rows features"]]
"""Runs a model on fixed inputs: the class of every feature."""


def _classes(phi: Tensor, feature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    phi = check_representation(phi)
    if feature.ndim != 1 or len(feature) != len(phi):
        raise InputError(f"a feature is one class an example: {len(phi)} examples, and {tuple(feature.shape)}")
    classes, codes = feature.cpu().unique(return_inverse=True)
    if len(classes) < 2:
        raise InputError("the feature is constant: it has no direction")
    sums = torch.zeros(len(classes), phi.shape[1], dtype=phi.dtype).index_add_(0, codes, phi)
    return phi, classes, sums / torch.bincount(codes)[:, None]


def feature_direction(phi: Float[Tensor, "rows *units"], feature: Shaped[Tensor, "..."]) -> Float64[Tensor, " units"]:
    """δ (d,), from the mean of the lower of two classes to that of the higher.

    Args:
        phi: (n, d).
        feature: (n,) of two values.

    Raises:
        InputError: no representation, a constant feature, or one of more classes.
    """
    _, classes, means = _classes(phi, feature)
    if len(classes) != 2:
        raise InputError(f"a direction is between two classes, and the feature has {len(classes)}: see feature_subspace")
    return means[1] - means[0]


def feature_subspace(phi: Float[Tensor, "rows *units"], feature: Shaped[Tensor, "..."]) -> Float64[Tensor, "units basis"]:
    """An orthonormal basis (d, at most C - 1) of the differences of the means of C classes.

    Raises:
        InputError: no representation, or a constant feature.
    """
    _, _, means = _classes(phi, feature)
    left, sizes, _ = torch.linalg.svd((means[1:] - means[0]).mT, full_matrices=False)
    return left[:, sizes > 1e-10 * sizes[0]]


@dataclass(frozen=True)
class Steering:
    """How outputs follow a direction.

    Attributes:
        alphas: (A,) ascending, in units of the direction.
        flips: (A, F) of every output, the part of examples whose prediction is no longer what it was without steering.
        norm: of the direction.
    """

    alphas: Float64[Tensor, " alphas"]
    flips: Float64[Tensor, "alphas features"]
    norm: float

    def alpha_for(self, output: int, rate: float = 0.5) -> float:
        """The least α at which that part of an output flips, interpolated; infinite where none of those tried is enough."""
        reached = (self.flips[:, output] >= rate).nonzero()
        if not len(reached):
            return math.inf
        place = int(reached[0])
        if place == 0:
            return float(self.alphas[0])
        (low, high), (before, after) = self.alphas[place - 1 : place + 1].tolist(), self.flips[place - 1 : place + 1, output].tolist()
        return low + (high - low) * (rate - before) / (after - before)


@torch.no_grad()
def steer(
    model: nn.Module,
    layer: str,
    predict: Predict,
    feature: Shaped[Tensor, " rows"],
    direction: Float[Tensor, " units"],
    alphas: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0),
    *,
    pool: str = "positions",
) -> Steering:
    """Move every example towards the other class of a feature, and see which outputs flip.

    Args:
        model: in evaluation mode.
        layer: where it is moved, by name.
        predict: runs the model on the examples, all at once, and gives the class of every output.
        feature: (n,) of two values, of those examples.
        direction: (d,), from the lower to the higher value; see `feature_direction`.
        alphas: how far.
        pool: how the layer's activation becomes a representation; see `ordinate.analyze.representations.pooling`.

    Raises:
        InputError: a layer that the model hasn't, a feature that has not two classes, no alphas, or examples that are not run as one batch.
    """
    values = feature.unique()
    if len(values) != 2 or not alphas:
        raise InputError(f"steering is between two classes, by some alphas: there are {len(values)} classes and {len(alphas)} alphas")
    signs = torch.where(feature == values[0], 1.0, -1.0)
    plain = predict(model)
    rates = []
    for alpha in alphas:
        shift = (alpha * signs[:, None] * direction).float()[:, None]

        def move(activation: Tensor, shift: Tensor = shift) -> Tensor:
            if len(activation) != len(shift):
                raise InputError(f"steering runs all {len(shift)} examples in one batch, and {layer!r} was given {len(activation)}")
            return edit_units(activation, pool, lambda units: units + shift.to(units))

        with replaced(model, {layer: move}):
            rates.append((predict(model) != plain).double().mean(dim=0))
    return Steering(torch.tensor(alphas, dtype=torch.float64), torch.stack(rates), float(direction.norm()))


@torch.no_grad()
def predict_projected(
    model: nn.Module,
    layer: str,
    predict: Predict,
    mean: Float[Tensor, " units"],
    basis: Float[Tensor, "units basis"],
    *,
    pool: str = "positions",
) -> Int64[Tensor, "rows features"]:
    """What the model predicts when the layer is projected onto a subspace through the mean.

    Args:
        model, layer, predict, pool: as for `steer`.
        mean: (d,).
        basis: (d, k), orthonormal.

    Raises:
        InputError: a layer that the model hasn't.
    """
    return _changed(model, layer, predict, pool, lambda away: (away @ basis) @ basis.mT, mean)


@torch.no_grad()
def predict_without(
    model: nn.Module,
    layer: str,
    predict: Predict,
    mean: Float[Tensor, " units"],
    basis: Float[Tensor, "units basis"],
    *,
    pool: str = "positions",
) -> Int64[Tensor, "rows features"]:
    """What the model predicts when a subspace is projected out of the layer: everything is put at the mean in it. Arguments as for `predict_projected`.

    Raises:
        InputError: a layer that the model hasn't.
    """
    return _changed(model, layer, predict, pool, lambda away: away - (away @ basis) @ basis.mT, mean)


def _changed(model: nn.Module, layer: str, predict: Predict, pool: str, change: Callable[[Tensor], Tensor], mean: Tensor) -> Tensor:
    def use(activation: Tensor) -> Tensor:
        return edit_units(activation, pool, lambda units: (mean + change(units.cpu().double() - mean)).to(units))

    with replaced(model, {layer: use}):
        return predict(model)
