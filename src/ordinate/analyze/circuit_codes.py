r"""Circuits by codes: the strongest feature of an autoencoder as a head's code on a prompt, and heads ranked by the codes that occur on positive prompts alone.

With :math:`c_{e,s} = \arg\max_m a_{e,s,m}` the code of head s on prompt e, :math:`P_s` and :math:`Q_s` the sets of codes over positive and over negative prompts, a head's score is

.. math:: u_s = |P_s \setminus Q_s|, \quad\text{or}\quad u_s / |P_s \cup Q_s|,

and an edge's, of heads s and s', the number of pairs :math:`(c_s, c_{s'})` seen on some positive prompt and on no negative one, or that over the pairs seen on positives plus those seen on negatives. Pairs are counted as numbers
:math:`c_s M + c_{s'}`, so that no table of S x S x M x M is ever made. Heads are ranked by edges as they occur among the ends of the strongest ones.

Counts only see which codes there are; two more scores see how often: the share of positive prompts whose code no negative prompt has, and the total variation between the codes' frequencies.

Source: O'Neill and Bui (2024), section 3; the normalised counts and the vote of edges are those of its code.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive, generator
from ordinate.models.sparse_autoencoder import CircuitSAE, sparse_loss
from ordinate.train.ensemble import Ensemble, EnsembleLoss
from ordinate.train.fit import Batch, fit
from ordinate.train.recipe import Recipe

__all__ = [
    "NODE_SCORES",
    "Autoencoding",
    "check_classes",
    "edge_scores",
    "fit_autoencoders",
    "node_scores",
    "softmax_over",
    "strongest_features",
    "vote",
]

NODE_SCORES = ("count", "normalised", "share", "variation")
_AT_ONCE = 2**20


@dataclass(frozen=True)
class Autoencoding:
    """How an autoencoder is trained.

    Attributes:
        features: M.
        examples: prompts, drawn from both classes alike, whose heads' outputs it is trained on.
        steps: of Adam with all of them at once.
        lr: the constant learning rate.
        l1: λ, the weight of sparsity; the official experiments take 0.02, and 0.05 for docstrings.
        decoder_norm: of `CircuitSAE`.
    """

    features: int = 200
    examples: int = 10
    steps: int = 500
    lr: float = 1e-3
    l1: float = 0.02
    decoder_norm: str = "column"


def check_classes(positive: Bool[Tensor, " examples"]) -> None:
    """Raise `InputError` unless there are as many positive examples as negative ones, and some."""
    ours, theirs = int(positive.sum()), int((~positive).sum())
    if not ours or ours != theirs:
        raise InputError(f"there must be as many positive prompts as negative ones, at least one, not {ours} and {theirs}")


def fit_autoencoders(
    outputs: Float[Tensor, "examples nodes dim"], how: Autoencoding, *, count: int = 1, seed: int = 0, device: str = "cpu"
) -> tuple[CircuitSAE, ...]:
    """Train autoencoders, each on the outputs of all nodes on a few examples of its own; all of them at once.

    Args:
        outputs: (E, S, D), as `head_outputs` gives them.
        how: their size and training.
        count: how many.
        seed: of the weights and of the examples that are drawn.
        device: where they are trained; they come back on the CPU.

    Raises:
        InputError: no autoencoder, fewer than 2 examples to train on, more than there are, or outputs that are not finite.
    """
    if count < 1:
        raise InputError(f"at least one autoencoder is needed, not {count}")
    if not 2 <= how.examples <= len(outputs):
        raise InputError(f"an autoencoder is trained on at least 2 and at most all {len(outputs)} examples, not {how.examples}")
    if not bool(torch.isfinite(outputs).all()):
        raise InputError("outputs must be finite numbers, and some are not")
    ensemble = Ensemble.make(
        lambda: CircuitSAE(outputs.shape[-1], how.features, decoder_norm=how.decoder_norm),
        [derive(seed, "autoencoder", number) for number in range(count)],
    )
    rows = [torch.randperm(len(outputs), generator=generator(seed, "examples", number))[: how.examples] for number in range(count)]
    batch = {"outputs": torch.stack([outputs[some].flatten(0, 1) for some in rows])}
    stacked = cast(CircuitSAE, ensemble.stacked)

    def loss(sae: nn.Module, batch: Batch) -> Tensor:
        features, reconstruction = sae(batch["outputs"])
        return sparse_loss(batch["outputs"], features, reconstruction, how.l1)

    def same(step: int, rank: int = 0, world: int = 1) -> Batch:
        return batch

    fit(
        ensemble,
        EnsembleLoss(loss, own=True),
        same,
        Recipe(steps=how.steps, lr=how.lr, schedule="constant"),
        seed=seed,
        device=device,
        callbacks=(lambda _: stacked.normalise_(),),
    )
    ensemble.cpu()
    return tuple(cast(CircuitSAE, ensemble.member(number)) for number in range(count))


@torch.no_grad()
def strongest_features(
    sae: CircuitSAE, outputs: Float[Tensor, "examples nodes dim"], *, dead: str = "first"
) -> tuple[Int[Tensor, "examples nodes"], float]:
    """The code of every node on every example, (E, S) int64, and the share of those on which no feature is active.

    Args:
        sae: the autoencoder.
        outputs: (E, S, D).
        dead: what the code is where no feature is active: ``"first"``, feature 0 as a maximum over ties gives it, or ``"own"``, a code of its own, M.

    Raises:
        InputError: an unknown `dead`, or another width.
    """
    choose("code of the dead", dead, ("first", "own"))
    codes, lifeless = [], 0
    rows = max(1, _AT_ONCE // (outputs.shape[1] * len(sae.threshold)))
    for part in outputs.split(rows):
        strength, code = sae(part)[0].max(dim=-1)
        silent = strength <= 0
        lifeless += int(silent.sum())
        # A maximum over ties may be any of them: the first is meant.
        codes.append(torch.where(silent, len(sae.threshold) if dead == "own" else 0, code))
    return torch.cat(codes), lifeless / outputs.shape[:2].numel()


def node_scores(
    codes: Int[Tensor, "examples nodes"], positive: Bool[Tensor, " examples"], *, score: str = "count"
) -> Float[Tensor, " nodes"]:
    """How much a node's codes tell positive prompts from negative ones; with the labels turned, how much they tell negative from positive.

    Args:
        codes: (E, S), from 0.
        positive: (E,), which examples are positive.
        score: ``"count"`` of codes on positives alone; ``"normalised"`` by all of the node's codes; ``"share"`` of positives with such a code; ``"variation"``, the total variation of the codes' frequencies.

    Raises:
        InputError: an unknown score, or classes that are empty or unequal.
    """
    choose("score", score, NODE_SCORES)
    check_classes(positive)
    count = int(codes.max()) + 1
    # How often each node has each code: (2, S, M).
    seen = torch.stack(
        [
            torch.zeros(codes.shape[1], count).scatter_add(1, part.mT, torch.ones(part.mT.shape))
            for part in (codes[positive], codes[~positive])
        ]
    )
    ours, theirs = seen.double()
    if score == "variation":
        return (ours / ours.sum(dim=1, keepdim=True) - theirs / theirs.sum(dim=1, keepdim=True)).abs().sum(dim=1) / 2
    alone = (ours > 0) & (theirs == 0)
    if score == "share":
        return (ours * alone).sum(dim=1) / ours.sum(dim=1)
    found = alone.sum(dim=1).double()
    return found / ((ours > 0) | (theirs > 0)).sum(dim=1) if score == "normalised" else found


def edge_scores(
    codes: Int[Tensor, "examples nodes"], positive: Bool[Tensor, " examples"], *, normalise: bool = False
) -> Float[Tensor, "nodes nodes"]:
    """How many pairs of codes every pair of nodes has on positives and on no negative: (S, S), symmetric, 0 on the diagonal.

    Args:
        codes: (E, S), from 0.
        positive: (E,), which examples are positive.
        normalise: over the pairs of codes on positives plus those on negatives.

    Raises:
        InputError: classes that are empty or unequal.
    """
    check_classes(positive)
    nodes, count = codes.shape[1], int(codes.max()) + 1
    found = torch.zeros(nodes, nodes, dtype=torch.float64)
    here, there = torch.triu_indices(nodes, nodes, offset=1)
    for first, second in zip(*(part.split(max(1, _AT_ONCE // len(codes))) for part in (here, there)), strict=True):
        place = torch.arange(len(first)) * count**2
        ours, theirs = (torch.unique(part[:, first] * count + part[:, second] + place) for part in (codes[positive], codes[~positive]))
        alone = ours[~torch.isin(ours, theirs, assume_unique=True)]
        unique, *every = (torch.bincount(keys // count**2, minlength=len(first)).double() for keys in (alone, ours, theirs))
        found[first, second] = unique / (every[0] + every[1]) if normalise else unique
    return found + found.mT


def vote(edges: Float[Tensor, "nodes _"], strongest: int | None = None) -> Float[Tensor, " nodes"]:
    """How often every node is an end of the strongest edges.

    Among equal edges, of which there are many, each gets the same part of the votes that are left. (The official code lets an unstable sort decide.)

    Args:
        edges: (S, S).
        strongest: how many ends of ordered pairs vote; None is half of S x S.

    Raises:
        InputError: an edge matrix that is not square, no end at all, or more than there are.
    """
    nodes = len(edges)
    ends = nodes**2 // 2 if strongest is None else strongest
    if edges.shape != (nodes, nodes) or not 1 <= ends <= 2 * nodes**2:
        raise InputError(f"a vote needs a square matrix and between 1 and {2 * nodes**2} ends, not {tuple(edges.shape)} and {ends}")
    edges = edges.double()
    least = edges.flatten().sort(descending=True).values[math.ceil(ends / 2) - 1]
    above, equal = (edges > least).double(), (edges == least).double()
    part = above + equal * (ends / 2 - above.sum()) / equal.sum()
    return part.sum(dim=0) + part.sum(dim=1)


def softmax_over(scores: Float[Tensor, "layers columns"], over: str = "nodes") -> Float[Tensor, "layers columns"]:
    """Scores as probabilities over all ``"nodes"``, which keeps their order, or over the ``"layers"`` of every column, which does not.

    Raises:
        InputError: neither of the two.
    """
    if choose("softmax", over, ("nodes", "layers")) == "layers":
        return scores.softmax(dim=0)
    return scores.flatten().softmax(dim=0).reshape(scores.shape)
