r"""Few-shot classification: N-way k-shot episodes on frozen features.

An episode draws N classes, k rows of each to learn from (the support) and q others to be judged by (the queries); the score is the mean accuracy over many episodes, with its 95 % interval :math:`1.96\, \sigma / \sqrt E`.
Heads that are trained are trained for all episodes at once: their weights are stacked along a first dimension, and no episode sees another.

- ``"linear"`` (BASELINE): a linear head; ``"cosine"`` (BASELINE++): a cosine head, see `ordinate.nn.cosine_head`. Both by 100 epochs of SGD in batches of four, rate 0.01, momentum and dampening 0.9, decay 0.001;
- ``"mean"``: the nearest class mean, by cosine;
- any estimator with `fit` and `predict` (`ordinate.analyze.probes`), made anew for every episode.

Sources: Chen et al., "A Closer Look at Few-shot Classification", 2019, section 3 and its released recipe; Zhang and Bottou, 2023, for the same heads on concatenated features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator
from ordinate.nn.cosine_head import cosine_logits, cosine_scale

__all__ = ["HEADS", "EpisodeAccuracy", "Episodes", "draw_episodes", "episode_accuracy"]

HEADS = ("linear", "cosine", "mean")
_EPOCHS, _BATCH, _LR, _MOMENTUM, _DECAY = 100, 4, 0.01, 0.9, 1e-3
_NUMBERS_AT_ONCE = 1 << 24  # of support features, so that memory stays bounded


@dataclass(frozen=True)
class Episodes:
    """Which rows every episode reads.

    Attributes:
        support: (E, N, k) rows to learn from; class n of an episode is its n-th row of this table.
        query: (E, N, q) rows to be judged by.
        classes: (E, N) the labels of the classes.
    """

    support: Int64[Tensor, "episodes ways shots"]
    query: Int64[Tensor, "episodes ways queries"]
    classes: Int64[Tensor, "episodes ways"]


@dataclass(frozen=True)
class EpisodeAccuracy:
    """The accuracy of every episode (E,), float64, with their mean and half the width of its 95 % interval (0 for one episode)."""

    each: Float[Tensor, " episodes"]

    @property
    def mean(self) -> float:
        """Over the episodes."""
        return float(self.each.mean())

    @property
    def half_width(self) -> float:
        """1.96 standard errors."""
        return float(1.96 * self.each.std() / len(self.each) ** 0.5) if len(self.each) > 1 else 0.0


def draw_episodes(labels: Int64[Tensor, " rows"], ways: int, shots: int, queries: int, episodes: int, seed: int = 0) -> Episodes:
    """Draw episodes; the same for the same labels and seed.

    Args:
        labels: (N,) of all rows.
        ways: classes of an episode.
        shots: rows of each to learn from.
        queries: rows of each to be judged by.
        episodes: how many.
        seed: of the draws.

    Raises:
        InputError: a number below 1 (ways: 2), fewer classes than ways, or a class with fewer rows than an episode takes.
    """
    if ways < 2 or min(shots, queries, episodes) < 1:
        raise InputError(f"an episode has two or more ways, and one or more shots and queries, not {ways}, {shots} and {queries}")
    classes = labels.unique()
    if len(classes) < ways:
        raise InputError(f"{ways}-way episodes need {ways} classes, and there are {len(classes)}")
    rows = [(labels == label).nonzero()[:, 0] for label in classes]
    short = min(range(len(rows)), key=lambda place: len(rows[place]))
    if len(rows[short]) < shots + queries:
        raise InputError(f"an episode takes {shots} + {queries} rows of a class, and class {int(classes[short])} has {len(rows[short])}")
    chance = generator(seed, "episodes")
    chosen = torch.stack([torch.randperm(len(classes), generator=chance)[:ways] for _ in range(episodes)])
    drawn = torch.stack(
        [
            torch.stack([rows[place][torch.randperm(len(rows[place]), generator=chance)[: shots + queries]] for place in each])
            for each in chosen.tolist()
        ]
    )
    return Episodes(drawn[:, :, :shots], drawn[:, :, shots:], classes[chosen])


def episode_accuracy(
    features: Float[Tensor, "rows dim"],
    labels: Int64[Tensor, " as_many"],
    head: str | Callable[[], Any] = "cosine",
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    episodes: int = 200,
    scale: float | None = None,
    seed: int = 0,
) -> EpisodeAccuracy:
    """The accuracy of a head over episodes on frozen features.

    Args:
        features: (N, d).
        labels: (N,).
        head: a name out of `HEADS`, or a function that makes an estimator.
        ways, shots, queries, episodes, seed: see :func:`draw_episodes`.
        scale: of the cosine head; None is the one for so many ways.

    Raises:
        InputError: features and labels of different lengths, an unknown head, or episodes that cannot be drawn.
    """
    if len(features) != len(labels):
        raise InputError(f"there are {len(features)} rows of features and {len(labels)} labels")
    if isinstance(head, str):
        choose("few-shot head", head, HEADS)
    drawn = draw_episodes(labels, ways, shots, queries, episodes, seed)
    truth = torch.arange(ways).repeat_interleave(queries)
    at_once = max(1, _NUMBERS_AT_ONCE // (features.shape[1] * ways * max(shots, queries)))
    found = []
    for part in torch.arange(episodes).split(at_once):
        support, query = features[drawn.support[part]].flatten(1, 2), features[drawn.query[part]].flatten(1, 2)
        known = torch.arange(ways).repeat_interleave(shots)
        if head == "mean":
            predicted = _nearest_mean(support, query, ways)
        elif isinstance(head, str):
            predicted = _trained(support, query, known, ways, head, scale, seed)
        else:
            predicted = torch.stack([torch.as_tensor(head().fit(s, known).predict(q)) for s, q in zip(support, query, strict=True)])
        found.append((predicted == truth).double().mean(dim=1))
    return EpisodeAccuracy(torch.cat(found))


def _nearest_mean(support: Tensor, query: Tensor, ways: int) -> Tensor:
    means = F.normalize(support, dim=2).unflatten(1, (ways, -1)).mean(dim=2)
    return (F.normalize(query, dim=2) @ F.normalize(means, dim=2).mT).argmax(dim=2)


def _trained(support: Tensor, query: Tensor, known: Tensor, ways: int, head: str, scale: float | None, seed: int) -> Tensor:
    """Heads of all episodes, begun alike and trained at once: (E, N q) predictions."""
    episodes, dim = len(support), support.shape[2]
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        first = nn.Linear(dim, ways)
    weight = nn.Parameter(first.weight.detach().expand(episodes, -1, -1).clone())
    other = first.bias.detach()[None] if head == "linear" else first.weight.detach().norm(dim=1, keepdim=True)
    second = nn.Parameter(other.expand(episodes, *other.shape).clone())
    factor = cosine_scale(ways) if scale is None else scale

    def logits(x: Tensor) -> Tensor:
        return x @ weight.mT + second if head == "linear" else cosine_logits(x, weight, second, factor)

    optimizer = torch.optim.SGD([weight, second], lr=_LR, momentum=_MOMENTUM, dampening=_MOMENTUM, weight_decay=_DECAY)
    chance = generator(seed, "few-shot batches")
    for _ in range(_EPOCHS):
        for rows in torch.randperm(len(known), generator=chance).split(_BATCH):
            targets = known[rows].expand(episodes, -1).flatten()
            optimizer.zero_grad()
            (
                F.cross_entropy(logits(support[:, rows]).flatten(0, 1), targets) * episodes
            ).backward()  # a mean in an episode, a sum over them
            optimizer.step()
    with torch.no_grad():
        return logits(query).argmax(dim=2)
