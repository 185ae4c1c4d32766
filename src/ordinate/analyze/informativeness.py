r"""How much matching what is observed says about what is not: a meter of :math:`\kappa`.

A model class is :math:`\kappa^{-1}`-informative at :math:`\varphi^\star` if for every :math:`\varphi` there is a transformation T that a head undoes (a rotation, a permutation) with

.. math:: \mathrm{TV}\bigl(p_{T \varphi}(x, z), p_{\varphi^\star}(x, z)\bigr) \le \kappa\, \mathrm{TV}\bigl(p_\varphi(x, s), p_{\varphi^\star}(x, s)\bigr),

and weakly so with the Hellinger distance on the right. The larger :math:`\kappa`, the more unlabelled data it takes. Here :math:`\varphi` is put at several distances from the model in random directions, and in those in which
what is observed changes least where these are known; it is aligned, and the largest ratio of distances is reported. That is a lower bound of :math:`\kappa`: it is the worst that was met.

Source: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024), assumptions 3.2 and 3.6; the meter is ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from ordinate.analyze.latent_distances import DISTANCES, family_of
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator

__all__ = ["KappaReport", "informativeness"]


@dataclass(frozen=True)
class KappaReport:
    """What was met.

    Attributes:
        kappa: the largest ratio; infinity where something hidden changed and nothing observed did.
        direction: of the parameters, of length 1, in which it was met, in their shape.
        radius: how far along it.
        by_radius: radius -> the largest ratio at it.
        mean: the mean ratio over random directions, at all radii; infinity as above.
        distance: ``"tv"`` or ``"hellinger"``: of the joint distributions.
        weak: whether what is observed was measured by the Hellinger distance where the joint was not.
    """

    kappa: float
    direction: Float64[Tensor, "..."]
    radius: float
    by_radius: dict[float, float]
    mean: float
    distance: str
    weak: bool


def informativeness(
    model: Any,
    *,
    radii: Sequence[float] = (0.05, 0.2, 0.8),
    draws: int = 50,
    distance: str = "hellinger",
    weak: bool = False,
    samples: int = 20_000,
    seed: int = 0,
) -> KappaReport:
    """Measure kappa around a fitted model.

    Args:
        model: a `FactorModel`, a `GaussianMixturePretrainer`, a linear `ContrastivePairs` or a `HiddenCoordinate`.
        radii: distances of the parameters from the model's.
        draws: random directions.
        distance: ``"tv"``, as in the assumption, from samples; or ``"hellinger"``, which has closed forms.
        weak: with ``"tv"``, measure what is observed by the Hellinger distance.
        samples: of the model, where there is no closed form.
        seed: of directions and samples.

    Raises:
        InputError: no such kind of model, no directions or radii, or `weak` with another distance.
    """
    choose("distance", distance, DISTANCES)
    if not radii or min(radii) <= 0 or draws < 1 or samples < 1:
        raise InputError(f"radii must be positive, and draws and samples at least 1, not {list(radii)}, {draws} and {samples}")
    if weak and distance != "tv":
        raise InputError("the weak condition compares a total variation with a Hellinger distance: give distance='tv'")
    chance = generator(seed, "informativeness")
    family = family_of(model, samples, chance)
    at = family.parameters
    random = [torch.randn(at.shape, generator=chance, dtype=torch.float64) for _ in range(draws)]
    directions = [each / each.norm() for each in [*random, *family.weakest()]]
    found: list[tuple[float, int, float]] = []
    for radius in radii:
        for number, direction in enumerate(directions):
            other = family.make(at + radius * direction)
            joint = family.joint(other.align_to(model), distance)
            observed = family.observed(other, "hellinger" if weak else distance)
            found.append((_ratio(joint, observed), number, radius))
    kappa, number, radius = max(found)
    randomly = [ratio for ratio, which, _ in found if which < draws]
    by_radius = {each: max(ratio for ratio, _, at_radius in found if at_radius == each) for each in radii}
    return KappaReport(kappa, directions[number], radius, by_radius, sum(randomly) / len(randomly), distance, weak)


def _ratio(joint: float, observed: float) -> float:
    if observed > 0:
        return joint / observed
    return math.inf if joint > 0 else 0.0
