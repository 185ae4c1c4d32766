r"""Heads put out of action, and what that costs: ablation, activation patching, and first-order estimates of both.

With :math:`z` a node's values on a prompt, :math:`z'` those that it is given instead and :math:`g \in [0, 1]` its gate, the model runs on :math:`g z + (1 - g) z'`. What is put in place is a mean over prompts, or the values of the
same node on the prompt's negative. With m the metric of a contrast,

- patching scores a node by :math:`|m(\text{all gates } 1) - m(\text{its gate } 0)|`, one run of the model a node;
- attribution patching by the first-order estimate of it, :math:`|\mathrm{mean}\,(z' - z) \cdot \partial m / \partial z|`, one run forward and one back for all nodes;
- HISP, the importance of heads in structured pruning, by :math:`|\mathrm{mean}\; z \cdot \partial m / \partial z|`, divided by its norm over the layer.

Sources: Vig et al. (2020) and Meng et al. (2022) for activation patching; Nanda (2023) and Syed et al. (2023) for attribution patching; Michel et al., Are Sixteen Heads Really Better than One? (NeurIPS 2019) for HISP, as
Conmy et al. (2023) normalise it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.capture import Activations, replaced
from ordinate.analyze.head_outputs import HeadedModel
from ordinate.data.contrasts import Contrast, Prompts
from ordinate.ground.errors import InputError

__all__ = [
    "Values",
    "ablation_costs",
    "activation_patching",
    "attribution_patching",
    "check_aligned",
    "gated",
    "head_importance",
    "mean_values",
    "values_of",
]

Values = Mapping[str, Tensor]


def check_aligned(contrast: Contrast) -> None:
    """Raise `InputError` unless every positive prompt is as long as its negative, token for token."""
    if contrast.positives.mask.shape != contrast.negatives.mask.shape or not torch.equal(contrast.positives.mask, contrast.negatives.mask):
        raise InputError(
            f"{contrast.name}: patching puts values in place position by position, and some prompts differ in length from their negatives"
        )


@torch.no_grad()
def values_of(headed: HeadedModel, prompts: Prompts) -> dict[str, Float[Tensor, "prompts length width"]]:
    """The values of all nodes at every position, by `HeadedModel.places`."""
    headed.check(prompts)
    with Activations(headed.model, headed.places()) as seen:
        headed(prompts)
        return dict(seen)


def mean_values(headed: HeadedModel, prompts: Prompts) -> dict[str, Float[Tensor, " width"]]:
    """The mean of every node's values over the real tokens of all prompts."""
    return {name: values[prompts.mask.to(values.device)].mean(dim=0) for name, values in values_of(headed, prompts).items()}


@contextmanager
def gated(headed: HeadedModel, gates: Float[Tensor, "layers columns"], values: Values) -> Iterator[HeadedModel]:
    """Within the ``with``, the model runs with its nodes' gates.

    Args:
        headed: the model.
        gates: 1 leaves a node as it is, 0 puts `values` in its place; gradients flow into them.
        values: by `HeadedModel.places`, of a shape that spreads over the activation: a vector, or one for every prompt and position.

    Raises:
        InputError: gates of another shape.
    """
    if tuple(gates.shape) != headed.shape:
        raise InputError(f"there must be a gate for every node, {headed.shape}, not {tuple(gates.shape)}")
    by_name: dict[str, Tensor] = {}
    for layer, row in zip(headed.layers, gates, strict=True):
        by_name[f"{layer.out}:input"] = row[: headed.heads].repeat_interleave(headed.width)
        if headed.mlp:
            by_name[layer.mlp] = row[headed.heads]
    changes = {name: _Mixed(gate, values[name]) for name, gate in by_name.items() if gate.requires_grad or not bool((gate == 1).all())}
    with replaced(headed.model, changes):
        yield headed


class _Mixed:
    """An activation a becomes g a + (1 - g) v."""

    def __init__(self, gate: Tensor, value: Tensor) -> None:
        self.gate, self.value = gate, value

    def __call__(self, activation: Tensor) -> Tensor:
        gate = self.gate.to(activation)
        return gate * activation + (1 - gate) * self.value.to(activation)


@torch.no_grad()
def ablation_costs(headed: HeadedModel, contrast: Contrast, values: Values, *, accuracy: bool = False) -> Float[Tensor, "layers columns"]:
    """By how much the metric on the positives falls when each node alone has `values` in its place.

    Args:
        headed: the model.
        contrast: whose metric it is.
        values: what takes the node's place.
        accuracy: the share of right answers instead of the preference in nats.
    """
    headed.check(contrast.positives)
    whole = _metric(headed, contrast, accuracy)
    costs = torch.zeros(headed.shape)
    for node in headed.nodes:
        with gated(headed, 1 - headed.grid([node]), values):
            costs[node] = whole - _metric(headed, contrast, accuracy)
    return costs


def activation_patching(headed: HeadedModel, contrast: Contrast) -> Float[Tensor, "layers columns"]:
    """How much each node's values on the negatives change the metric on the positives: one run of the model a node.

    Raises:
        InputError: prompts that differ in length from their negatives, or do not fit the model.
    """
    check_aligned(contrast)
    return ablation_costs(headed, contrast, values_of(headed, contrast.negatives)).abs()


def attribution_patching(headed: HeadedModel, contrast: Contrast) -> Float[Tensor, "layers columns"]:
    """The first-order estimate of `activation_patching`.

    Raises:
        InputError: prompts that differ in length from their negatives, or do not fit the model.
    """
    check_aligned(contrast)
    values, gradients = _gradients(headed, contrast)
    patched = values_of(headed, contrast.negatives)
    return _by_node(headed, {name: (patched[name] - values[name]) * gradients[name] for name in values})


def head_importance(headed: HeadedModel, contrast: Contrast) -> Float[Tensor, "layers columns"]:
    """HISP: the gradient of the metric by each node's gate, over its norm in the layer.

    Raises:
        InputError: prompts that do not fit the model.
    """
    values, gradients = _gradients(headed, contrast)
    found = _by_node(headed, {name: values[name] * gradients[name] for name in values})
    return found / found.norm(dim=1, keepdim=True).clamp(min=torch.finfo(found.dtype).tiny)


def _metric(headed: HeadedModel, contrast: Contrast, accuracy: bool = False) -> float:
    logits = headed.last_logits(contrast.positives)
    return contrast.accuracy(logits) if accuracy else float(contrast.preference(logits).mean())


def _gradients(headed: HeadedModel, contrast: Contrast) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The nodes' values on the positives, and the gradients of the summed metric by them."""
    headed.check(contrast.positives)
    values: dict[str, Tensor] = {}
    added: dict[str, Tensor] = {}

    def watch(name: str) -> "_Watched":
        return _Watched(name, values, added)

    with torch.enable_grad(), replaced(headed.model, {name: watch(name) for name in headed.places()}):
        metric = contrast.preference(headed.last_logits(contrast.positives)).sum()
    # By an addition of zero, so that a model whose weights are frozen has gradients too, through later nodes as well.
    return values, dict(zip(added, torch.autograd.grad(metric, list(added.values())), strict=True))


class _Watched:
    def __init__(self, name: str, values: dict[str, Tensor], added: dict[str, Tensor]) -> None:
        self.name, self.values, self.added = name, values, added

    def __call__(self, activation: Tensor) -> Tensor:
        self.values[self.name] = activation.detach()
        self.added[self.name] = torch.zeros_like(activation, requires_grad=True)
        return activation + self.added[self.name]


def _by_node(headed: HeadedModel, products: Values) -> Tensor:
    """|mean over prompts of the sum over positions and values| of each node."""
    found = torch.zeros(headed.shape)
    for node in headed.nodes:
        name, part = headed.place(node)
        found[node] = float(products[name][..., part].sum(dim=(1, 2)).mean().abs())
    return found
