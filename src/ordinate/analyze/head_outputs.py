r"""A transformer as nodes: what each attention head, and each MLP, adds to the residual stream.

With the values :math:`z_{l,h}` that head h of layer l has mixed, and its rows :math:`W_O^{(h)}` of the output map, the head adds :math:`r_{l,h} = z_{l,h} W_O^{(h)}`: the heads' outputs, and the map's bias, sum to the attention's output.
Nodes are counted row by row over a grid of layers and heads, "L0H0", "L0H1", ...; with MLPs as nodes there is a column more, "L0MLP".

An architecture is recognised by the names of its modules: this library's sequence models with mixers of several heads, GPT-2 and its like in `transformers`, and Llama and its like (Mistral, Qwen, ...), where heads are the query heads.
The heads' values are pooled over positions before they go through the output map, which is linear, so that outputs at single positions are never kept.

Source: O'Neill and Bui (2024), section 3; Elhage et al., A Mathematical Framework for Transformer Circuits (2021), for the sum over heads.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.analyze.capture import Activations, named_module
from ordinate.data.contrasts import Node, Prompts
from ordinate.ground.errors import InputError, choose

__all__ = ["POOLS", "HeadedModel", "Layer", "head_outputs"]

POOLS = ("mean", "last")


@dataclass(frozen=True)
class _Layout:
    """Where a family of models keeps a block's parts, under the block's name; and what comes after the last block."""

    out: str
    mlp: str
    norm: str
    mlp_norm: str
    last_norm: str


_LAYOUTS = (
    _Layout("mixer.heads.out", "feed_forward", "norm1", "norm2", "norm"),
    _Layout("attn.c_proj", "mlp", "ln_1", "ln_2", "ln_f"),
    _Layout("self_attn.o_proj", "mlp", "input_layernorm", "post_attention_layernorm", "norm"),
)


@dataclass(frozen=True)
class Layer:
    """One layer by the names of its modules.

    Attributes:
        out: the map from the heads' values, side by side, to the residual stream.
        mlp, norm, mlp_norm: the MLP, and the norms before the attention and before the MLP.
        weight: (H, d_head, D), a head's part of the output map.
    """

    out: str
    mlp: str
    norm: str
    mlp_norm: str
    weight: Float[Tensor, "heads width dim"]


class HeadedModel:
    """A transformer whose heads can be told apart.

    Attributes:
        model: the module itself.
        layers: from the first to the last.
        last_norm: the name of the norm after the last block.
        heads: of every layer.
        width: of a head's values.
        dim: of the residual stream.
        mlp: whether MLPs are nodes too.
        max_length: the longest prompt, or None where there is no end.
        vocabulary: how many tokens there are, or None where it is not known.
    """

    def __init__(self, model: nn.Module, *, mlp: bool = False) -> None:
        """
        Args:
            model: a causal or masked language model; it runs as it is (call ``eval()`` first).
            mlp: MLPs are nodes too.

        Raises:
            InputError: a model without heads that can be told apart, or with another number of them from layer to layer.
        """
        self.model, self.mlp = model, mlp
        names = [name for name, _ in model.named_modules()]
        found = next(((layout, blocks) for layout in _LAYOUTS if (blocks := _blocks(names, layout.out))), None)
        if found is None:
            raise InputError(
                f"{type(model).__name__} has no attention heads that can be told apart: what is known are sequence models with mixers of several heads, and transformers of the families of GPT-2 and Llama"
            )
        layout, blocks = found
        self.layers = tuple(_layer(model, layout, block) for block in blocks)
        stem = blocks[0].rpartition(".")[0].rpartition(".")[0]  # "transformer.h.0" -> "transformer"
        self.last_norm = f"{stem}.{layout.last_norm}" if stem else layout.last_norm
        named_module(model, self.last_norm)
        shapes = {layer.weight.shape for layer in self.layers}
        if len(shapes) > 1:
            raise InputError(
                f"the layers differ in their heads, {', '.join(str(tuple(shape)) for shape in sorted(shapes))}: a grid needs them alike"
            )
        self.heads, self.width, self.dim = self.layers[0].weight.shape
        config = getattr(model, "config", None)
        own = {name: getattr(model, name, None) for name in ("max_length", "vocabulary")}
        self.max_length: int | None = own["max_length"] or getattr(config, "max_position_embeddings", None)
        self.vocabulary: int | None = own["vocabulary"] or getattr(config, "vocab_size", None)

    @property
    def shape(self) -> tuple[int, int]:
        """Layers, and nodes of each."""
        return len(self.layers), self.heads + self.mlp

    @property
    def nodes(self) -> list[Node]:
        """All nodes, row by row."""
        return [(layer, column) for layer in range(self.shape[0]) for column in range(self.shape[1])]

    @property
    def labels(self) -> list[str]:
        """The nodes' names, row by row: ``"L0H1"``, ``"L0MLP"``."""
        return [f"L{layer}MLP" if column == self.heads else f"L{layer}H{column}" for layer, column in self.nodes]

    def grid(self, nodes: Iterable[Node]) -> Float[Tensor, "layers columns"]:
        """1 at some nodes and 0 at the others.

        Raises:
            InputError: a node that there is not.
        """
        found = torch.zeros(self.shape)
        for layer, column in nodes:
            if not (0 <= layer < self.shape[0] and 0 <= column < self.shape[1]):
                raise InputError(
                    f"there is no head {layer}.{column}: the model has {self.shape[0]} layers of {self.heads} heads, numbered from 0"
                    + (f", and MLPs as .{self.heads}" if self.mlp else "")
                )
            found[layer, column] = 1
        return found

    def places(self) -> list[str]:
        """The names by which :mod:`ordinate.analyze.capture` takes the nodes' activations: of each layer the heads' values and, where MLPs are nodes, the MLP's output."""
        return [name for layer in self.layers for name in ((f"{layer.out}:input", layer.mlp) if self.mlp else (f"{layer.out}:input",))]

    def place(self, node: Node) -> tuple[str, slice]:
        """The name of the activation in which a node's values lie, and which of its last dimension they are."""
        layer, column = self.layers[node[0]], node[1]
        if column == self.heads:
            return layer.mlp, slice(None)
        return f"{layer.out}:input", slice(column * self.width, (column + 1) * self.width)

    def check(self, prompts: Prompts) -> None:
        """Raise `InputError` where prompts are longer than the model, or have tokens that it has not."""
        length = prompts.tokens.shape[1]
        if self.max_length is not None and length > self.max_length:
            raise InputError(f"a prompt has {length} tokens, and the model takes at most {self.max_length}: shorten it")
        low, high = int(prompts.tokens.min()), int(prompts.tokens.max())
        if low < 0 or (self.vocabulary is not None and high >= self.vocabulary):
            raise InputError(f"the model has {self.vocabulary} tokens, numbered from 0, and a prompt has token {low if low < 0 else high}")

    def __call__(self, prompts: Prompts) -> Float[Tensor, "prompts length vocabulary"]:
        """Logits at every position, on the model's device."""
        device = next(self.model.parameters()).device
        tokens, mask = prompts.tokens.to(device), prompts.mask.to(device)
        if hasattr(self.model, "config"):  # of transformers
            found: Any = self.model(input_ids=tokens, attention_mask=mask.long(), use_cache=False)
            return found.logits if hasattr(found, "logits") else found.last_hidden_state
        return self.model(tokens, padding_mask=None if bool(mask.all()) else mask)

    def last_logits(self, prompts: Prompts) -> Float[Tensor, "prompts vocabulary"]:
        """Logits after the last real token of every prompt."""
        logits = self(prompts)
        return logits[torch.arange(len(prompts), device=logits.device), (prompts.lengths - 1).to(logits.device)]


def _blocks(names: Iterable[str], out: str) -> list[str]:
    """The blocks that have a part called `out`, in the model's order."""
    return [name.removesuffix(f".{out}") for name in names if name.endswith(f".{out}")]


def _layer(model: nn.Module, layout: _Layout, block: str) -> Layer:
    out, _ = named_module(model, f"{block}.{layout.out}")
    weight = cast(Tensor, out.weight)
    # `transformers` keeps GPT-2's maps as (in, out); torch's own linear layers are (out, in).
    rows = weight if type(out).__name__ == "Conv1D" else weight.mT
    attention, _ = named_module(model, f"{block}.{layout.out.rpartition('.')[0]}")
    heads = getattr(attention, "count", None) or getattr(attention, "num_heads", None) or _configured_heads(model)
    if not heads or rows.shape[0] % heads:
        raise InputError(f"{block}: {rows.shape[0]} values cannot be divided among {heads} heads")
    mlp, norm, mlp_norm = (f"{block}.{part}" for part in (layout.mlp, layout.norm, layout.mlp_norm))
    for name in (mlp, norm, mlp_norm):
        named_module(model, name)
    return Layer(f"{block}.{layout.out}", mlp, norm, mlp_norm, rows.detach().unflatten(0, (heads, -1)))


def _configured_heads(model: nn.Module) -> int | None:
    return getattr(getattr(model, "config", None), "num_attention_heads", None)


@torch.no_grad()
def head_outputs(headed: HeadedModel, prompts: Prompts, *, pool: str = "mean", batch_size: int = 64) -> Float[Tensor, "prompts nodes dim"]:
    """What every node adds to the residual stream, pooled over positions: (N, S, D) on the CPU.

    Args:
        headed: the model.
        prompts: what it reads.
        pool: ``"mean"`` over real tokens, or ``"last"``, at the last of them.
        batch_size: prompts at a time.

    Raises:
        InputError: an unknown pooling, a prompt longer than the model or with tokens that it has not, or outputs that are not finite.
    """
    choose("pooling", pool, POOLS)
    headed.check(prompts)
    found = []
    with Activations(headed.model, headed.places()) as seen:
        for start in range(0, len(prompts), batch_size):
            part = prompts[start : start + batch_size]
            headed(part)
            pooled = {name: _pool(seen[name], part, pool) for name in headed.places()}
            columns = []
            for layer in headed.layers:
                values = pooled[f"{layer.out}:input"].unflatten(1, (headed.heads, -1))
                columns.append(torch.einsum("nhw,hwd->nhd", values, layer.weight.to(values.dtype)))
                if headed.mlp:
                    columns.append(pooled[layer.mlp][:, None])
            found.append(torch.cat(columns, dim=1).float().cpu())
            seen.clear()
    outputs = torch.cat(found)
    if not bool(torch.isfinite(outputs).all()):
        raise InputError("the outputs of some heads are not finite: look at the model's weights, or its precision")
    return outputs


def _pool(activation: Tensor, prompts: Prompts, pool: str) -> Tensor:
    mask = prompts.mask.to(activation.device)
    if pool == "last":
        return activation[torch.arange(len(mask), device=mask.device), mask.sum(dim=1) - 1]
    return activation.masked_fill(~mask[..., None], 0).sum(dim=1) / mask.sum(dim=1, keepdim=True)
