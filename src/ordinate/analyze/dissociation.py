"""Features that a network computes, apart from how much of its variance they take: what happens to its outputs when a layer is steered along a feature, robbed of it, or cut down to its principal components; and what a classifier on that layer follows.

Everything is measured on one network and one set of examples, with the features known: see :mod:`ordinate.analyze.feature_directions`, :mod:`ordinate.analyze.pca_decodability` and :mod:`ordinate.analyze.reliance`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from ordinate.analyze.capture import collect
from ordinate.analyze.feature_directions import Predict, Steering, feature_direction, feature_subspace, predict_without, steer
from ordinate.analyze.pca_decodability import PcaDecodability, by_head, pca_decodability
from ordinate.analyze.reliance import reliance
from ordinate.analyze.representations import pooling
from ordinate.ground.errors import InputError

__all__ = ["ALPHAS", "Dissociation", "dissociate"]

ALPHAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Dissociation:
    """What was found of F features of two classes.

    Attributes:
        steering: a feature -> how all outputs follow its direction.
        without: (F, F) accuracy of output j when feature i is projected out.
        accuracy: (F,) of the outputs as they are.
        pca: accuracy of the outputs by number of principal components.
        reliance: (F, F) how often a classifier of what features i and j agreed on follows i where they differ; 1/2 on the diagonal.
    """

    steering: tuple[Steering, ...]
    without: Float64[Tensor, "features outputs"]
    accuracy: Float64[Tensor, " features"]
    pca: PcaDecodability
    reliance: Float64[Tensor, "features features"]

    def flip_norm(self, feature: int, rate: float = 0.5) -> float:
        """The length of the least step along a feature's own direction that flips that part of its own output; infinite where none tried did."""
        steering = self.steering[feature]
        return steering.alpha_for(feature, rate) * steering.norm

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        count = len(self.steering)
        norms = [self.flip_norm(number) for number in range(count)]
        return {
            "alphas": self.steering[0].alphas.tolist(),
            "flips": [each.flips.tolist() for each in self.steering],
            "direction_norm": [each.norm for each in self.steering],
            "flip_norm": [norm if math.isfinite(norm) else None for norm in norms],
            "without": self.without.tolist(),
            "accuracy": self.accuracy.tolist(),
            "pca": {"components": list(self.pca.components), "accuracy": self.pca.accuracy.tolist(), "smallest": self.pca.smallest()},
            "reliance": self.reliance.tolist(),
        }


@torch.no_grad()
def dissociate(
    model: nn.Module,
    layer: str,
    x: Float[Tensor, "rows ..."] | Int64[Tensor, "rows ..."],
    features: Int64[Tensor, "examples features"],
    predict: Predict,
    *,
    pool: str = "positions",
    alphas: Sequence[float] = ALPHAS,
    components: Sequence[int] | None = None,
) -> Dissociation:
    """Intervene on one layer.

    Args:
        model: in evaluation mode.
        layer: by name.
        x: (n, ...), what the model takes; the directions, subspaces and components are those of the first half, the outputs are watched on the second.
        features: (n, F) of two classes each.
        predict: `predict(model)` -> (n - n // 2, F), the class of every output on the *second* half.
        pool: how the layer's activation becomes a representation.
        alphas: how far to steer.
        components: numbers of principal components to keep; all by default.

    Raises:
        InputError: a layer that the model hasn't, features that have not two classes, or fewer than 8 examples.
    """
    if len(x) != len(features) or len(x) < 8:
        raise InputError(f"interventions need at least 8 examples with features: there are {len(x)} and {len(features)}")
    half = len(x) // 2
    phi = collect(model, [layer], [x[:half]], reduce=pooling(pool))[layer]
    phi_test = collect(model, [layer], [x[half:]], reduce=pooling(pool))[layer]
    first, second = features[:half], features[half:]
    count = features.shape[1]
    accuracy = (predict(model) == second).double().mean(dim=0)
    mean = phi.double().mean(dim=0)
    steering, without = [], []
    for number in range(count):
        direction = feature_direction(phi, first[:, number])
        steering.append(steer(model, layer, predict, second[:, number], direction, alphas, pool=pool))
        basis = feature_subspace(phi, first[:, number])
        without.append((predict_without(model, layer, predict, mean, basis, pool=pool) == second).double().mean(dim=0))
    kept = pca_decodability(phi, second, by_head(model, layer, predict, pool=pool), components=components)
    follows = torch.full((count, count), 0.5, dtype=torch.float64)
    for i in range(count):
        for j in range(i):
            follows[i, j] = reliance(phi_test, second[:, i], second[:, j])
            follows[j, i] = 1 - follows[i, j]
    return Dissociation(tuple(steering), torch.stack(without), accuracy, kept, follows)
