r"""Automatic circuit discovery: edges between nodes are taken away, one by one, where the model does not miss them.

The residual stream that a head reads is a sum of what the nodes before it have added. Taking the edge :math:`s \to t` away means that t reads what s adds on the prompt's negative, :math:`r'_s`, in place of what it adds now, :math:`r_s`,
and nobody else does. Destinations are gone through from the output back to the first layer, and for each its sources from the last to the first; an edge is taken away for good if the divergence from the whole model,
:math:`\mathrm{KL}(p_{\text{whole}} \| p)` after the last token or the metric's loss, grows by less than τ. A node is kept at τ if some edge leads from it to something that is kept; its score is the largest τ that keeps it.

All heads of a layer are run on inputs of their own at once: the batch is repeated once for each head, before the layer's norm every copy is given the input of its head, and after it each head's values are gathered from its own copy.
Queries, keys and values of a head share their input; a block must have its norms first (pre-norm).

Source: Conmy et al., Towards Automated Circuit Discovery for Mechanistic Interpretability (NeurIPS 2023).
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ordinate.analyze.capture import replaced
from ordinate.analyze.head_outputs import HeadedModel
from ordinate.analyze.head_patching import Values, check_aligned, values_of
from ordinate.data.contrasts import Contrast, Prompts
from ordinate.ground.errors import InputError, choose

__all__ = ["DIVERGENCES", "TAUS", "EdgeRunner", "edge_pruning", "edge_thresholds", "prune_edges"]

DIVERGENCES = ("kl", "loss")
TAUS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Thresholds to try."""
Change = Callable[[Tensor], Tensor]


class EdgeRunner:
    """Runs a model's positives with some of its edges taken away.

    Attributes:
        before: (S, S + 1) bool, the edges that there are, from node to node and, in the last column, to the output.
    """

    def __init__(self, headed: HeadedModel, contrast: Contrast, *, values: Values | None = None) -> None:
        """
        Args:
            headed: the model.
            contrast: positives that are run.
            values: what the readers of an edge that is taken away are given, by `HeadedModel.places`, such as `mean_values`; None is the values on the negatives.

        Raises:
            InputError: prompts that do not fit the model or, where their values are used, that differ in length from their negatives.
        """
        if values is None:
            check_aligned(contrast)
        headed.check(contrast.positives)
        self.headed, self.contrast = headed, contrast
        patched = {
            name: value.expand(*contrast.positives.tokens.shape, value.shape[-1])
            for name, value in (values_of(headed, contrast.negatives) if values is None else values).items()
        }
        self._patched = [self._added(patched, layer) for layer in range(len(headed.layers))]
        layers, columns = headed.shape
        place = torch.arange(layers * columns)
        layer, is_mlp = place // columns, place % columns == headed.heads
        rank = 2 * layer + is_mlp  # a layer's MLP reads what its heads add
        self.before = torch.cat([rank[:, None] < rank, torch.ones(len(place), 1, dtype=torch.bool)], dim=1)

    def _added(self, values: Values, layer: int) -> Tensor:
        """What the nodes of a layer add to the stream: (columns, N, T, D)."""
        parts = self.headed.layers[layer]
        mixed = values[f"{parts.out}:input"].unflatten(-1, (self.headed.heads, -1))
        added = torch.einsum("nthw,hwd->hntd", mixed, parts.weight)
        return torch.cat([added, values[parts.mlp][None]]) if self.headed.mlp else added

    @torch.no_grad()
    def logits(self, kept: Bool[Tensor, "sources destinations"]) -> Float[Tensor, "prompts vocabulary"]:
        """Logits after the last token of every positive prompt with the edges that are `kept`."""
        heads, columns = self.headed.heads, self.headed.shape[1]
        away = (self.before & ~kept).float()
        changes: dict[str, Change] = {}
        differences: list[Tensor] = []  # r' - r of the nodes so far, (columns, N, T, D) a layer; heads and MLP apart

        def shift(destinations: slice) -> Tensor | float:
            """What is added to the input of every destination: (destinations, N, T, D)."""
            done = sum(len(part) for part in differences)
            gone = away[:done, destinations]
            return torch.einsum("sd,sntw->dntw", gone, torch.cat(differences)) if bool(gone.any()) else 0.0

        def reader(destinations: slice) -> Change:
            def change(stream: Tensor) -> Tensor:
                return (stream.unflatten(0, (heads, -1)) + shift(destinations)).flatten(0, 1)

            return change

        def gather(layer: int) -> Change:
            def change(values: Tensor) -> Tensor:
                by_copy = values.unflatten(0, (heads, -1)).unflatten(-1, (heads, -1))
                own = torch.stack([by_copy[head, :, :, head] for head in range(heads)])
                added = torch.einsum("hntw,hwd->hntd", own, self.headed.layers[layer].weight)
                differences.append(self._patched[layer][:heads] - added)
                together = own.permute(1, 2, 0, 3).flatten(2)
                return together.repeat(heads, 1, 1)

            return change

        def watch(layer: int) -> Change:
            def change(added: Tensor) -> Tensor:
                differences.append(self._patched[layer][heads:] - added.unflatten(0, (heads, -1))[:1])
                return added

            return change

        for layer, parts in enumerate(self.headed.layers):
            start = layer * columns
            changes[f"{parts.norm}:input"] = reader(slice(start, start + heads))
            changes[f"{parts.out}:input"] = gather(layer)
            if self.headed.mlp:
                changes[f"{parts.mlp_norm}:input"] = reader(slice(start + heads, start + heads + 1))
                changes[parts.mlp] = watch(layer)
        changes[f"{self.headed.last_norm}:input"] = reader(slice(len(away), len(away) + 1))
        prompts = self.contrast.positives
        copies = Prompts(prompts.tokens.repeat(heads, 1), prompts.mask.repeat(heads, 1))
        with replaced(self.headed.model, changes):
            return self.headed.last_logits(copies)[: len(prompts)]


def prune_edges(runner: EdgeRunner, tau: float, *, divergence: str = "kl") -> Bool[Tensor, "sources destinations"]:
    """The edges that are kept at τ: (S, S + 1) bool.

    Args:
        runner: of the model and the contrast.
        tau: by how much one edge may add to the divergence.
        divergence: ``"kl"`` from the whole model, or ``"loss"``, minus the metric of the contrast.

    Raises:
        InputError: an unknown divergence.
    """
    choose("divergence", divergence, DIVERGENCES)
    kept = runner.before.clone()
    whole = runner.logits(kept).log_softmax(dim=1)

    def distance(edges: Tensor) -> float:
        logits = runner.logits(edges)
        if divergence == "loss":
            return -float(runner.contrast.preference(logits).mean())
        return float(F.kl_div(logits.log_softmax(dim=1), whole, reduction="batchmean", log_target=True))

    now = distance(kept)
    for destination in reversed(range(kept.shape[1])):
        if destination < len(kept) and not bool(kept[destination].any()):
            kept[:, destination] = False  # nothing that is kept reads it
            continue
        for source in reversed(runner.before[:, destination].nonzero().flatten().tolist()):
            tried = kept.clone()
            tried[source, destination] = False
            then = distance(tried)
            if then - now < tau:
                kept, now = tried, then
    return kept


def edge_thresholds(
    headed: HeadedModel, contrast: Contrast, *, taus: Sequence[float] = TAUS, divergence: str = "kl"
) -> Float[Tensor, "sources destinations"]:
    """Every edge's score, (S, S + 1): the largest τ at which it is kept, 0 where none keeps it.

    Args:
        headed: the model.
        contrast: positives with their negatives.
        taus: thresholds to try.
        divergence: see `prune_edges`.

    Raises:
        InputError: no threshold, or what `EdgeRunner` and `prune_edges` refuse.
    """
    if not taus or min(taus) <= 0:
        raise InputError(f"thresholds must be positive and there must be one, not {list(taus)}")
    runner = EdgeRunner(headed, contrast)
    scores = torch.zeros(runner.before.shape)
    for tau in sorted(taus):
        scores = torch.where(prune_edges(runner, tau, divergence=divergence), tau, scores)
    return scores


def edge_pruning(
    headed: HeadedModel, contrast: Contrast, *, taus: Sequence[float] = TAUS, divergence: str = "kl"
) -> Float[Tensor, "layers columns"]:
    """Every node's score: the largest τ at which it is kept, 0 where none keeps it. See `edge_thresholds`.

    Raises:
        InputError: as there.
    """
    return edge_thresholds(headed, contrast, taus=taus, divergence=divergence).amax(dim=1).reshape(headed.shape)
