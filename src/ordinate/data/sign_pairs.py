r"""Pairs with a random sign, out of positive pairs.

Contrastive learning as a latent-variable model draws both inputs of a pair independently and then a sign s that says whether they agree. In practice one has positive pairs (two views, two neighbours) and makes negatives
by shuffling: that draws the sign first and the pair given the sign. With as many negatives as positives both describe one distribution of (x, x', s) up to the shape of the odds, and the logistic loss on inner products
fits either: what is learnt is then :math:`\log p(x, x') - \log p(x) p(x')`, the log odds of a positive pair.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["sign_pairs"]


def sign_pairs(
    first: Float[Tensor, "pairs *shape"], second: Float[Tensor, "partners *other"], *, negatives: int = 1, seed: int = 0
) -> tuple[Float[Tensor, "all *shape"], Float[Tensor, "all *shape"], Float[Tensor, " all"]]:
    """Positive pairs, and pairs of the same inputs that do not belong together.

    Args:
        first, second: the two halves of positive pairs, (m, ...).
        negatives: negative pairs a positive one. A negative partner is drawn by a random rotation of the rows, so that it is never the own one.
        seed: of the rotations.

    Returns:
        x, x', (m (1 + negatives), ...), and s, 1 for the first m and 0 for the others, in the dtype of x.

    Raises:
        InputError: halves of different shapes, fewer than two pairs, or more negatives than there are other partners.
    """
    if first.shape != second.shape:
        raise InputError(f"the halves of pairs have one shape, not {tuple(first.shape)} and {tuple(second.shape)}")
    if len(first) < 2 or not 1 <= negatives < len(first):
        raise InputError(f"{len(first)} pairs give 1 to {len(first) - 1} negatives each, not {negatives}")
    chance = generator(seed, "negatives")
    order = torch.randperm(len(first), generator=chance)
    back = torch.empty_like(order).scatter_(0, order, torch.arange(len(first)))
    turns = 1 + torch.randperm(len(first) - 1, generator=chance)[:negatives]
    partners = [second[order[(back + int(turn)) % len(first)]] for turn in turns]
    signs = torch.zeros(len(first) * (1 + negatives), dtype=first.dtype)
    signs[: len(first)] = 1
    return first.repeat(1 + negatives, *[1] * (first.ndim - 1)), torch.cat([second, *partners]), signs
