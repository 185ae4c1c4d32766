r"""Which features survive when only the largest principal components of a representation are kept (Lampinen, Chan and Hermann, 2024: features of little variance vanish first, though the network uses them).

For k = 1, 2, ... a representation is projected onto its first k principal components, through the mean, and every feature is decoded from what is left: by the network itself, which goes on from the projected layer, or by a linear probe that is
fitted anew for each k. What counts is the smallest k at which a feature is decoded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from ordinate.analyze.feature_directions import Predict, predict_projected
from ordinate.analyze.probes import RidgeProbe
from ordinate.analyze.representations import check_representation
from ordinate.ground.errors import InputError

__all__ = ["PcaDecodability", "by_head", "by_probe", "pca_decodability"]

Decode = Callable[[Float64[Tensor, " units"], Float64[Tensor, "units k"]], Int64[Tensor, "rows features"]]
"""From the mean and the basis of a subspace to the class of every feature and example."""


@dataclass(frozen=True)
class PcaDecodability:
    """Accuracy by number of components.

    Attributes:
        components: the k that were tried, ascending.
        accuracy: (K, F).
    """

    components: tuple[int, ...]
    accuracy: Float64[Tensor, "components features"]

    def smallest(self, above: float = 0.95) -> list[int | None]:
        """For every feature the smallest k that was tried with a higher accuracy; None where none has it."""
        found = []
        for column in self.accuracy.mT:
            reached = (column > above).nonzero()
            found.append(self.components[int(reached[0])] if len(reached) else None)
        return found


def by_head(model: nn.Module, layer: str, predict: Predict, *, pool: str = "positions") -> Decode:
    """Decode by the network itself; arguments as for :func:`ordinate.analyze.feature_directions.steer`."""
    return partial(predict_projected, model, layer, predict, pool=pool)


def by_probe(
    phi_fit: Float[Tensor, "rows units"],
    f_fit: Int64[Tensor, "rows features"],
    phi_test: Float[Tensor, "tested units"],
) -> Decode:
    """Decode by a linear probe a feature, fitted on projected examples and applied to others, projected likewise."""

    def decode(mean: Tensor, basis: Tensor) -> Tensor:
        fit, test = ((phi.cpu().double() - mean) @ basis for phi in (phi_fit, phi_test))
        return torch.stack([torch.from_numpy(RidgeProbe().fit(fit, column).predict(test)) for column in f_fit.mT], dim=1)

    return decode


def pca_decodability(
    phi: Float[Tensor, "rows *units"],
    features: Int64[Tensor, "tested features"],
    decode: Decode,
    *,
    components: Sequence[int] | None = None,
) -> PcaDecodability:
    """Decode every feature from more and more principal components.

    Args:
        phi: (n, d), whose components these are.
        features: (m, F), of the examples that `decode` speaks of.
        decode: `by_head(...)` or `by_probe(...)`.
        components: the k to try; 1 to min(n, d) by default.

    Raises:
        InputError: no representation, a number of components that there is not, or predictions that are not those of the features.
    """
    phi = check_representation(phi)
    mean = phi.mean(dim=0)
    most = min(phi.shape)
    tried = tuple(components) if components is not None else tuple(range(1, most + 1))
    if not tried or list(tried) != sorted(set(tried)) or not 1 <= tried[0] <= tried[-1] <= most:
        raise InputError(f"there are 1 to {most} components, tried in ascending order, not {list(tried)}")
    axes = torch.linalg.svd(phi - mean, full_matrices=False).Vh.mT
    rates = []
    for k in tried:
        found = decode(mean, axes[:, :k])
        if found.shape != features.shape:
            raise InputError(f"decoded are {tuple(found.shape)}, and the features are {tuple(features.shape)}")
        rates.append((found.cpu() == features.cpu()).double().mean(dim=0))
    return PcaDecodability(tried, torch.stack(rates))
