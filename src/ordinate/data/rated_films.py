r"""Films of one kind as source tasks: how much a person likes them, from what is known of the person.

Ratings R (people x films) are completed by a factorisation :math:`R \approx m + b_u + c_i + p_u^\top q_i`, scaled to [0, 1], and factorised again without negative numbers, :math:`R \approx A Z` with d factors. A row of A is a
person, the input; the films' columns of Z are put into clusters, whose centres :math:`\theta_t` are the tasks' coefficients, each scaled to length 1. The target's coefficients are :math:`0.9\,\theta_0 + 0.1\,\theta_1` and it is no
source itself; all the clusters are. Inputs are scaled to a mean square of 1 a factor.

The recipe is of a later work on the same problem; how the matrix is completed, and the order of the clusters (the largest first), are ours.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF
from torch import Tensor

from ordinate.data.interactions import Interactions, open_interactions
from ordinate.data.linear_sources import LinearSources
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["complete_ratings", "rated_films"]

_PENALTY = 5.0
_ROUNDS = 8


def complete_ratings(interactions: Interactions, *, factors: int = 10, seed: int = 0) -> Float64[Tensor, "people films"]:
    """All ratings, seen or not, by a factorisation with biases that is fitted to those seen, alternating ridge regressions.

    Args:
        interactions: with ratings.
        factors: of the factorisation.
        seed: of its start.
    """
    shape = (len(interactions.users), len(interactions.items))
    seen, ratings = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    seen[interactions.user, interactions.item] = 1.0
    ratings[interactions.user, interactions.item] = interactions.rating
    mean = float(ratings.sum() / seen.sum())
    left = (ratings - mean) * seen
    people = left.sum(dim=1) / (seen.sum(dim=1) + _PENALTY)
    left = left - people[:, None] * seen
    films = left.sum(dim=0) / (seen.sum(dim=0) + _PENALTY)
    left = left - films * seen
    q = 0.1 * torch.randn(shape[1], factors, dtype=torch.float64, generator=generator(seed, "ratings"))
    for _ in range(_ROUNDS):
        p = _ridge(seen, left, q)
        q = _ridge(seen.mT, left.mT, p)
    return mean + people[:, None] + films + p @ q.mT


def _ridge(seen: Tensor, left: Tensor, factors: Tensor) -> Tensor:
    """One regression a row of `left`, over what is seen of it: (rows, factors)."""
    width = factors.shape[1]
    pairs = (factors[:, :, None] * factors[:, None]).flatten(1)
    matrix = (seen @ pairs).view(-1, width, width) + _PENALTY * torch.eye(width, dtype=torch.float64)
    return torch.linalg.solve(matrix, (left @ factors)[:, :, None])[:, :, 0]


def rated_films(
    name_or_path: str | Path = "ml-100k",
    *,
    folder: Path | None = None,
    sources: int = 29,
    factors: int = 10,
    rank: int = 2,
    noise: float = 0.01,
    seed: int = 0,
) -> LinearSources:
    """Clusters of films as source tasks, and a mixture of two of them as the target.

    Args:
        name_or_path: interactions with ratings; see `ordinate.data.interactions.open_interactions`.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.
        sources: clusters.
        factors: d, of the factorisation without negative numbers.
        rank: K that learners share.
        noise: sigma.
        seed: of the factorisations and the clusters.

    Raises:
        InputError: no such data, no ratings in them, or too few films for the clusters.
        MissingError: a named dataset is not at hand.
    """
    interactions = open_interactions(name_or_path, folder=folder)
    if float(interactions.rating.min()) == float(interactions.rating.max()):
        raise InputError(f"{interactions.name} has no ratings that differ: there is nothing to learn from them")
    if sources < 2 or len(interactions.items) < sources or not 1 <= rank <= min(factors, sources):
        raise InputError(
            f"{len(interactions.items)} films make 2 or more clusters, at most one a film, with 1 to {factors} features, not {sources} with {rank}"
        )
    ratings = complete_ratings(interactions, factors=factors, seed=seed)
    low, high = float(interactions.rating.min()), float(interactions.rating.max())
    scaled = ((ratings - low) / (high - low)).clamp(0, 1).numpy()
    model = NMF(factors, init="nndsvda", max_iter=400, tol=1e-4, random_state=seed)
    people = torch.from_numpy(np.asarray(model.fit_transform(scaled)))
    clusters = KMeans(sources, n_init=4, random_state=seed).fit(model.components_.T)
    order = np.argsort(-np.bincount(clusters.labels_, minlength=sources), kind="stable")
    centres = torch.from_numpy(np.array(clusters.cluster_centers_[order], dtype=np.float64))
    centres = centres / centres.norm(dim=1, keepdim=True).clamp(min=1e-12)
    people = people / people.square().mean(dim=0).sqrt().clamp(min=1e-12)
    return LinearSources(f"films of {interactions.name}", centres, 0.9 * centres[0] + 0.1 * centres[1], rank, noise, people)
