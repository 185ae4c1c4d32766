r"""Digits on tinted grounds: grey images on a ground of two colours, one of which goes with the class, in some environments more than in others and in a new one the other way round.

A grey image g in [0, 1] becomes :math:`\max(g,\, s\, G_c)` in channel c, with a ground G of smooth noise whose strength in the first channel goes with classes of the upper half and in the second with the lower. In environment e a share
:math:`p_e` of the images has the ground of the other half. Where :math:`p_e` is small the ground predicts the half better than a blurred digit does; in a shifted environment with a large :math:`p_e` it misleads.

A shift in the manner of "Colored MNIST" (Arjovsky et al., "Invariant Risk Minimization", 2019), with all classes and a ground instead of a coloured stroke.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["tinted"]

_COARSE = 4


def tinted(
    images: Float[Tensor, "batch 1 height width"],
    labels: Int64[Tensor, " as_many"],
    share: float,
    *,
    classes: int,
    strength: float = 0.6,
    seed: int = 0,
) -> Float[Tensor, "batch 2 height width"]:
    """Images on tinted grounds.

    Args:
        images: (B, 1, H, W) grey, in [0, 1].
        labels: (B,) classes.
        share: of the images whose ground is the other half's, in [0, 1].
        classes: how many there are.
        strength: s, the brightest a ground may be, in [0, 1].
        seed: of the grounds and of which images have the other's.

    Returns:
        (B, 2, H, W), in [0, 1].

    Raises:
        InputError: a share or strength outside [0, 1], or images and labels that differ in number.
    """
    if not 0 <= share <= 1 or not 0 <= strength <= 1:
        raise InputError(f"share and strength lie between 0 and 1, not {share} and {strength}")
    if len(images) != len(labels):
        raise InputError(f"there are {len(images)} images and {len(labels)} labels")
    chance = generator(seed, "tinted")
    upper = (labels * 2 >= classes) ^ (torch.rand(len(labels), generator=chance) < share)
    coarse = torch.rand(len(labels), 1, _COARSE, _COARSE, generator=chance)
    ground = strength * F.interpolate(coarse, size=images.shape[2:], mode="bilinear")
    dark = torch.zeros_like(ground)
    first, second = torch.where(upper[:, None, None, None], ground, dark), torch.where(upper[:, None, None, None], dark, ground)
    return torch.maximum(images, torch.cat([first, second], dim=1))
