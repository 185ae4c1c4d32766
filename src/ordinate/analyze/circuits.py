"""Which heads implement a behaviour: from a model and two sets of prompts to a ranking of its heads, in one call.

The outputs of all heads are collected once; a few small autoencoders, which differ in their seed, are trained on ten prompts each, and heads and edges are scored by their codes (see :mod:`ordinate.analyze.circuit_codes`). Beside the
scores stand two trivial controls that see no codes: how large a head's outputs are, and how far their means over the classes lie apart. Where a ranking by codes is no better than the controls, it says nothing.

Source: O'Neill and Bui, Sparse Autoencoders Enable Scalable and Reliable Circuit Identification in Language Models (2024).
"""

import time
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.analyze.circuit_codes import Autoencoding, edge_scores, fit_autoencoders, node_scores, strongest_features, vote
from ordinate.analyze.head_outputs import HeadedModel, head_outputs
from ordinate.data.contrasts import Prompts
from ordinate.ground.errors import InputError
from ordinate.models.sparse_autoencoder import CircuitSAE

__all__ = ["CircuitResult", "circuit_of_outputs", "find_circuit", "match_scale", "mean_differences", "output_norms"]

_MOSTLY_DEAD = 0.5


def output_norms(outputs: Float[Tensor, "examples nodes dim"]) -> Float[Tensor, " nodes"]:
    """The control that sees sizes alone: the root mean square norm of every node's outputs."""
    return outputs.square().sum(dim=2).mean(dim=0).sqrt()


def mean_differences(outputs: Float[Tensor, "examples nodes dim"], positives: int) -> Float[Tensor, " nodes"]:
    """The control that sees means alone: how far apart every node's mean outputs on positives (the first rows) and on negatives are, over the root mean square distance from their class's mean."""
    ours, theirs = outputs[:positives], outputs[positives:]
    within = torch.cat([part - part.mean(dim=0) for part in (ours, theirs)]).square().sum(dim=2).mean(dim=0).sqrt()
    return (ours.mean(dim=0) - theirs.mean(dim=0)).norm(dim=1) / within.clamp(min=torch.finfo(outputs.dtype).tiny)


def match_scale(outputs: Float[Tensor, "examples nodes dim"]) -> Float[Tensor, "examples nodes dim"]:
    """All nodes' outputs brought to the root mean square norm of all together, each node by one factor."""
    norms = output_norms(outputs)
    return outputs * (norms.square().mean().sqrt() / norms.clamp(min=torch.finfo(outputs.dtype).tiny))[:, None]


@dataclass(frozen=True)
class CircuitResult:
    """A ranking of nodes.

    Attributes:
        labels: the nodes' names, row by row.
        each: (autoencoders, layers, columns), the scores by each autoencoder.
        edges: (S, S), the mean over autoencoders.
        each_vote: (autoencoders, layers, columns), how often a node is an end of the strongest edges.
        norms: (layers, columns), the control by size.
        differences: (layers, columns), the control by means.
        codes: (autoencoders, 2N, S), positives first.
        autoencoders: as trained.
        dead: the share of codes on which no feature was active.
        seconds: by part: ``"outputs"``, ``"autoencoders"``, ``"scores"``.
        remarks: what to know before using any of it.
    """

    labels: list[str]
    each: Float[Tensor, "autoencoders layers columns"]
    edges: Float[Tensor, "nodes nodes"]
    each_vote: Float[Tensor, "autoencoders layers columns"]
    norms: Float[Tensor, "layers columns"]
    differences: Float[Tensor, "layers columns"]
    codes: Int[Tensor, "autoencoders examples nodes"]
    autoencoders: tuple[CircuitSAE, ...]
    dead: float
    seconds: dict[str, float]
    remarks: tuple[str, ...]

    @property
    def scores(self) -> Float[Tensor, "layers columns"]:
        """The mean over autoencoders."""
        return self.each.mean(dim=0)

    @property
    def votes(self) -> Float[Tensor, "layers columns"]:
        """The mean over autoencoders."""
        return self.each_vote.mean(dim=0)

    @property
    def spread(self) -> Float[Tensor, "layers columns"]:
        """The standard deviation of the scores over autoencoders; 0 where there is one."""
        return self.each.std(dim=0, correction=min(1, len(self.each) - 1))

    def ranking(self) -> list[tuple[str, float]]:
        """Names and scores, the highest first."""
        flat = self.scores.flatten()
        return [(self.labels[place], float(flat[place])) for place in flat.argsort(descending=True, stable=True).tolist()]

    def strongest_edges(self, most: int = 20) -> list[tuple[str, str, float]]:
        """The pairs of nodes with the most codes of their own, the highest first."""
        here, there = torch.triu_indices(len(self.edges), len(self.edges), offset=1)
        values = self.edges[here, there]
        order = values.argsort(descending=True, stable=True)[:most]
        return [(self.labels[int(here[place])], self.labels[int(there[place])], float(values[place])) for place in order]

    def to_json(self) -> dict[str, Any]:
        """JSON values; a grid is a list of layers."""
        grids = ("scores", "spread", "votes", "norms", "differences")
        return {
            "labels": self.labels,
            **{name: getattr(self, name).tolist() for name in grids},
            "edges": [list(edge) for edge in self.strongest_edges()],
            "dead": self.dead,
            "autoencoders": len(self.autoencoders),
            "seconds": self.seconds,
            "remarks": list(self.remarks),
        }


def find_circuit(
    model: nn.Module | HeadedModel,
    positives: Prompts,
    negatives: Prompts,
    *,
    how: Autoencoding | None = None,
    autoencoders: int = 5,
    pool: str = "mean",
    score: str = "count",
    matched: bool = False,
    dead: str = "first",
    mlp: bool = False,
    seed: int = 0,
    device: str = "cpu",
) -> CircuitResult:
    """Rank the heads of a model by how much their codes tell two sets of prompts apart.

    Args:
        model: a language model (see :mod:`ordinate.analyze.head_outputs`), in evaluation mode.
        positives: N prompts that show the behaviour.
        negatives: N prompts that cannot show it and are alike otherwise, in their lengths too.
        how: the autoencoders' size and training.
        autoencoders: how many; one alone makes rankings that vary by several hundredths of an AUC.
        pool: over positions, ``"mean"`` or ``"last"``.
        score: one of `NODE_SCORES`.
        matched: all nodes' outputs are brought to the same size first: counts grow with size.
        dead: the code where no feature is active; see `strongest_features`.
        mlp: MLPs are nodes too, a column more.
        seed: of the autoencoders.
        device: where they are trained.

    Raises:
        InputError: prompts that do not fit the model or each other, or a model without heads that can be told apart.
    """
    headed = model if isinstance(model, HeadedModel) else HeadedModel(model, mlp=mlp)
    if len(positives) != len(negatives):
        raise InputError(f"there must be as many positive prompts as negative ones, not {len(positives)} and {len(negatives)}")
    remarks = []
    lengths = [float(part.lengths.float().mean()) for part in (positives, negatives)]
    if pool == "mean" and abs(lengths[0] - lengths[1]) > 0.05 * max(lengths):
        remarks.append(
            f"positive prompts have {lengths[0]:.1f} tokens on average and negative ones {lengths[1]:.1f}: a mean over tokens tells lengths apart too"
        )
    start = time.perf_counter()
    outputs = torch.cat([head_outputs(headed, part, pool=pool) for part in (positives, negatives)])
    seconds = time.perf_counter() - start
    result = circuit_of_outputs(
        outputs,
        headed.shape,
        headed.labels,
        how=how,
        autoencoders=autoencoders,
        score=score,
        matched=matched,
        dead=dead,
        seed=seed,
        device=device,
    )
    for remark in remarks:
        warnings.warn(remark, stacklevel=2)
    return CircuitResult(**{**vars(result), "seconds": {"outputs": seconds, **result.seconds}, "remarks": (*remarks, *result.remarks)})


def circuit_of_outputs(
    outputs: Float[Tensor, "examples nodes dim"],
    shape: tuple[int, int],
    labels: list[str],
    *,
    how: Autoencoding | None = None,
    autoencoders: int = 5,
    score: str = "count",
    matched: bool = False,
    dead: str = "first",
    seed: int = 0,
    device: str = "cpu",
) -> CircuitResult:
    """`find_circuit` on outputs that are there already.

    Args:
        outputs: (2N, S, D), the first N on positive prompts.
        shape: layers and columns, S of them in all.
        labels: the nodes' names.
        how, autoencoders, score, matched, dead, seed, device: as for `find_circuit`.

    Raises:
        InputError: an odd number of examples, a grid of another size, or what the parts refuse.
    """
    if len(outputs) % 2 or shape[0] * shape[1] != outputs.shape[1] or len(labels) != outputs.shape[1]:
        raise InputError(
            f"outputs {tuple(outputs.shape)} are not those of two classes of equal size and a grid of {shape} with {len(labels)} names"
        )
    how = how or Autoencoding()
    half = len(outputs) // 2
    positive = torch.arange(len(outputs)) < half
    norms, differences = output_norms(outputs), mean_differences(outputs, half)
    seen = match_scale(outputs) if matched else outputs
    start = time.perf_counter()
    saes = fit_autoencoders(seen, how, count=autoencoders, seed=seed, device=device)
    trained = time.perf_counter()
    coded = [strongest_features(sae, seen, dead=dead) for sae in saes]
    codes = torch.stack([code for code, _ in coded])
    scores = torch.stack([node_scores(code, positive, score=score) for code in codes]).reshape(-1, *shape)
    edges = [edge_scores(code, positive) for code in codes]
    votes = torch.stack([vote(edge) for edge in edges]).reshape(-1, *shape)
    lifeless = sum(share for _, share in coded) / len(coded)
    remarks = []
    if lifeless > _MOSTLY_DEAD:
        remarks.append(f"no feature is active on {100 * lifeless:.0f} % of the outputs: lower l1, or train longer")
    return CircuitResult(
        labels=list(labels),
        each=scores,
        edges=torch.stack(edges).mean(dim=0),
        each_vote=votes,
        norms=norms.reshape(shape),
        differences=differences.reshape(shape),
        codes=codes,
        autoencoders=saes,
        dead=lifeless,
        seconds={"autoencoders": trained - start, "scores": time.perf_counter() - trained},
        remarks=tuple(remarks),
    )
