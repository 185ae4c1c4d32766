r"""A causal transformer that reads vectors: the network of in-context regression.

Tokens (B, T, width) go through a linear map (and learned positions are added), L blocks, and a linear read-out at every token; the prediction of a label is read at the token of its input. Three blocks:

- ``pre`` : :math:`h \leftarrow h + \mathrm{Attn}(\mathrm{LN}_0(h))`, :math:`h \leftarrow h + \mathrm{MLP}(\mathrm{LN}_1(h))`, and a last normalisation: the usual one;
- ``official``: :math:`h \leftarrow \mathrm{LN}_0(h)`, :math:`h \leftarrow h + \mathrm{Attn}(h)`, :math:`h \leftarrow \mathrm{LN}_1(h)`, :math:`h \leftarrow h + \mathrm{MLP}(h)`: the residual stream itself is normalised, as in the paper's code with `norm_first`;
- ``official-post``: :math:`y = \mathrm{Attn}(h)`, :math:`h \leftarrow \mathrm{LN}_0(h) + y`, and the same with the MLP: the paper's code without `norm_first`.

Heads are of width H / heads, or, with ``narrow_heads``, of H / heads² as in that code, which divides twice.

A context can be read once and asked many questions: `read` keeps its keys and values, `ask` appends queries to any of its prefixes, each on its own, at the cost of one token each; `step` appends a token for good.

Sources: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), section 4, and the code that it names; Garg et al., What Can Transformers Learn In-Context? (NeurIPS 2022), for the usual block.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError, choose
from ordinate.models.base import Model
from ordinate.nn.heads import merge_heads, split_heads
from ordinate.nn.official import OfficialCheckpoint, State
from ordinate.nn.positions import AbsolutePositions

__all__ = ["ACTIVATIONS", "MODELS", "NORMS", "OFFICIAL", "Context", "InContextTransformer", "ResidualBlock"]

NORMS = ("pre", "official", "official-post", "none")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "sofu": lambda z: z.softmax(dim=-1) * z,
}
_EPS = 1e-5


class Context(NamedTuple):
    """What has been read: keys and values (B, heads, T, head) of every block, and the number T of tokens."""

    blocks: tuple[tuple[Tensor, Tensor], ...]
    length: int


class _Attention(nn.Module):
    """Causal softmax attention whose heads need not fill the width."""

    def __init__(self, hidden: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, heads * head_width)
        self.key = nn.Linear(hidden, heads * head_width)
        self.value = nn.Linear(hidden, heads * head_width)
        self.out = nn.Linear(heads * head_width, hidden)

    def split(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (split_heads(each(h), self.heads) for each in (self.query, self.key, self.value))
        return q, k, v

    def forward(self, h: Float[Tensor, "batch tokens hidden"]) -> Float[Tensor, "batch tokens hidden"]:
        q, k, v = self.split(h)
        return self.out(merge_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True)))

    def weights(self, h: Float[Tensor, "batch tokens hidden"]) -> Float[Tensor, "batch heads tokens tokens"]:
        """How much each token attends to each."""
        q, k, _ = self.split(h)
        ahead = torch.ones(h.shape[1], h.shape[1], dtype=torch.bool, device=h.device).triu(1)
        return (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(ahead, -torch.inf).softmax(dim=-1)


class ResidualBlock(nn.Module):
    """Attention and an MLP around a residual stream, normalised in one of the ways of `NORMS`."""

    def __init__(self, hidden: int, heads: int, head_width: int, norm: str, activation: str) -> None:
        """
        Args:
            hidden: the width H.
            heads: of the attention.
            head_width: of each.
            norm: one of `NORMS`.
            activation: one of `ACTIVATIONS`.

        Raises:
            InputError: an unknown norm or activation.
        """
        super().__init__()
        self.norm = choose("norm", norm, NORMS)
        self.activation = choose("activation", activation, ACTIVATIONS)
        self.attention = _Attention(hidden, heads, head_width)
        self.expand = nn.Linear(hidden, 4 * hidden)
        self.contract = nn.Linear(4 * hidden, hidden)
        self.norms = nn.ModuleList([nn.Identity() if norm == "none" else nn.LayerNorm(hidden, eps=_EPS) for _ in range(2)])

    def forward(self, h: Float[Tensor, "batch tokens hidden"]) -> Float[Tensor, "batch tokens hidden"]:
        """The stream after the block, (B, T, H)."""
        return self.through(h, self.attention)

    def through(self, h: Tensor, attend: Callable[[Tensor], Tensor]) -> Tensor:
        """The block with `attend` in the attention's place, such as one that reads a cache."""
        return self._add(self._add(h, self.norms[0], attend), self.norms[1], self._mlp)

    def seen(self, h: Tensor) -> Tensor:
        """What the attention is given of the stream h."""
        return h if self.norm == "official-post" else self.norms[0](h)

    def _mlp(self, h: Tensor) -> Tensor:
        return self.contract(ACTIVATIONS[self.activation](self.expand(h)))

    def _add(self, h: Tensor, norm: nn.Module, part: Callable[[Tensor], Tensor]) -> Tensor:
        if self.norm == "official":
            h = norm(h)
            return h + part(h)
        if self.norm == "official-post":
            return norm(h) + part(h)
        return h + part(norm(h))


class InContextTransformer(Model):
    """Vectors (B, T, width) in, numbers (B, T, outputs) out, causally."""

    def __init__(
        self,
        token_width: int = 9,
        hidden: int = 512,
        layers: int = 16,
        heads: int = 4,
        max_length: int = 82,
        outputs: int = 1,
        norm: str = "pre",
        narrow_heads: bool = False,
        final_norm: bool = True,
        activation: str = "gelu",
    ) -> None:
        """
        Args:
            token_width: of a token.
            hidden: the width H of the residual stream.
            layers: the number L of blocks.
            heads: of the attention.
            max_length: the most tokens of a sequence, queries included.
            outputs: numbers that are read out at every token.
            norm: ``"pre"``, ``"official"``, ``"official-post"`` or ``"none"``.
            narrow_heads: heads of width H / heads², not H / heads.
            final_norm: the stream is normalised before it is read out.
            activation: of the MLP: ``"gelu"`` (its tanh approximation), ``"relu"``, ``"tanh"``, ``"softplus"`` or ``"sofu"`` (softmax(x) x).

        Raises:
            InputError: a number below 1, an unknown norm or activation, or heads that do not divide the width.
        """
        super().__init__()
        if min(token_width, hidden, layers, heads, max_length, outputs) < 1:
            raise InputError("token_width, hidden, layers, heads, max_length and outputs must be at least 1")
        shares = heads**2 if narrow_heads else heads
        if hidden % shares:
            raise InputError(
                f"hidden={hidden} cannot be divided among {heads} {'narrow ' if narrow_heads else ''}heads: it must be a multiple of {shares}"
            )
        self.token_width, self.max_length, self.outputs = token_width, max_length, outputs
        self.read_in = nn.Linear(token_width, hidden)
        self.positions = AbsolutePositions(max_length, hidden)
        self.stream = nn.Identity()
        self.blocks = nn.ModuleList(ResidualBlock(hidden, heads, hidden // shares, norm, activation) for _ in range(layers))
        self.final = nn.LayerNorm(hidden, eps=_EPS) if final_norm and norm != "none" else nn.Identity()
        self.read_out = nn.Linear(hidden, outputs)
        if norm != "pre":
            self._scale_uniformly()

    @torch.no_grad()
    def _scale_uniformly(self) -> None:
        """The paper's code starts every weight uniform in ± 1 / sqrt(fan in), where the fan in of a bias is its own length, and that of the positions their number."""
        for layer in (module for module in self.modules() if isinstance(module, nn.Linear)):
            for values, fan in ((layer.weight, layer.in_features), (layer.bias, layer.out_features)):
                values.uniform_(-(fan**-0.5), fan**-0.5)
        self.positions.table.uniform_(-(self.max_length**-0.5), self.max_length**-0.5)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens outputs"]:
        """What is read out at every token, from the tokens up to it.

        Raises:
            InputError: tokens of another width, none, or more than `max_length`.
        """
        return self.upper(self.lower(tokens))

    def lower(self, tokens: Float[Tensor, "batch tokens width"], blocks: int = 0) -> Float[Tensor, "batch tokens hidden"]:
        """The stream after the first `blocks` blocks; 0 is the embedding.

        Raises:
            InputError: as `forward`, or there are not so many blocks.
        """
        h = self._embed(tokens, 0)
        for block in self._some(0, blocks):
            h = block(h)
        return h

    def upper(self, h: Float[Tensor, "batch tokens hidden"], start: int = 0) -> Float[Tensor, "batch tokens outputs"]:
        """What the blocks from `start` on make of the stream h, read out.

        Raises:
            InputError: there are not so many blocks.
        """
        for block in self._some(start, len(self.blocks)):
            h = block(h)
        return self.read_out(self.final(h))

    def predict(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch n"]:
        """The first output at tokens 0, 2, 4, ...: the predictions of the labels of an interleaved prompt.

        Raises:
            InputError: as `forward`.
        """
        return self(tokens)[:, ::2, 0]

    @torch.no_grad()
    def hidden_states(self, tokens: Float[Tensor, "batch tokens width"]) -> list[Float[Tensor, "batch tokens hidden"]]:
        """The stream after the embedding and after every block, L + 1 of them.

        Raises:
            InputError: as `forward`.
        """
        states = [self._embed(tokens, 0)]
        for block in self.blocks:
            states.append(block(states[-1]))
        return states

    def read(self, tokens: Float[Tensor, "batch tokens width"]) -> tuple[Float[Tensor, "batch tokens outputs"], Context]:
        """`forward`, and what `ask` and `step` need of the tokens.

        Raises:
            InputError: as `forward`.
        """
        h, kept = self._embed(tokens, 0), []
        for block in self._some(0, len(self.blocks)):
            _, k, v = block.attention.split(block.seen(h))
            kept.append((k, v))
            h = block(h)
        return self.read_out(self.final(h)), Context(tuple(kept), tokens.shape[1])

    def step(self, token: Float[Tensor, "batch width"], context: Context) -> tuple[Float[Tensor, "batch outputs"], Context]:
        """Append one token: what is read out at it, and the context that has grown by it. The old one stays as it was.

        Raises:
            InputError: as `forward`.
        """
        h, kept = self._embed(token[:, None], context.length), []
        for block, (keys, values) in zip(self._some(0, len(self.blocks)), context.blocks, strict=True):
            attention = block.attention
            _, k, v = attention.split(block.seen(h))
            k, v = torch.cat((keys, k), dim=2), torch.cat((values, v), dim=2)
            kept.append((k, v))
            h = block.through(h, partial(_look_back, attention, k, v))
        return self.read_out(self.final(h))[:, 0], Context(tuple(kept), context.length + 1)

    def ask(
        self, context: Context, queries: Float[Tensor, "batch prefixes queries width"], lengths: Sequence[int]
    ) -> Float[Tensor, "batch prefixes queries outputs"]:
        """Append each of many queries, on its own, to a prefix of the context.

        Args:
            context: what has been read, T tokens.
            queries: (B, P, Q, width), Q tokens for each of P prefixes.
            lengths: how many tokens each prefix has, P numbers from 0 to T.

        Returns:
            (B, P, Q, outputs), what is read out at each query.

        Raises:
            InputError: queries of another width, lengths that are not the context's, or a prefix that leaves a query no position.
        """
        if len(lengths) != queries.shape[1] or any(not 0 <= length <= context.length for length in lengths):
            raise InputError(
                f"the context has {context.length} tokens, and queries are for {queries.shape[1]} of its prefixes, not for {list(lengths)}"
            )
        self._check(queries.flatten(1, 2), 0 if not lengths else max(lengths), 1)
        ends = torch.tensor(lengths, device=queries.device)
        seen = torch.arange(context.length, device=queries.device) < ends[:, None]
        h = self.stream(self.read_in(queries) + self.positions.table[ends][:, None]).flatten(1, 2)
        for block, (keys, values) in zip(self._some(0, len(self.blocks)), context.blocks, strict=True):
            h = block.through(h, partial(_look_aside, block.attention, keys, values, seen))
        return self.read_out(self.final(h)).unflatten(1, queries.shape[1:3])

    def _some(self, start: int, stop: int) -> list[ResidualBlock]:
        if not 0 <= start <= stop <= len(self.blocks):
            raise InputError(f"there are {len(self.blocks)} blocks, and not one from {start} to {stop}")
        return list(self.blocks[start:stop])  # type: ignore[arg-type]

    def _embed(self, tokens: Tensor, offset: int) -> Tensor:
        self._check(tokens, offset, tokens.shape[1] if tokens.ndim == 3 else 0)
        return self.stream(self.read_in(tokens) + self.positions(tokens.shape[1], offset=offset))

    def _check(self, tokens: Tensor, offset: int, count: int) -> None:
        if tokens.ndim != 3 or tokens.shape[2] != self.token_width or not tokens.shape[1]:
            raise InputError(
                f"this network reads tokens (batch, tokens, {self.token_width}), at least one of them, not {tuple(tokens.shape)}"
            )
        if offset + count > self.max_length:
            raise InputError(
                f"this network has {self.max_length} positions, and the prompt has {offset + count} tokens: shorten it, or train with a larger max_length"
            )


def _look_back(attention: _Attention, k: Tensor, v: Tensor, h: Tensor) -> Tensor:
    """Attention of one token over the keys so far, its own among them."""
    q = split_heads(attention.query(h), attention.heads)
    return attention.out(merge_heads(F.scaled_dot_product_attention(q, k, v)))


def _look_aside(attention: _Attention, keys: Tensor, values: Tensor, seen: Tensor, h: Tensor) -> Tensor:
    """Attention of queries (B, P Q, H), each over its prefix, `seen` (P, T), and over itself alone."""
    q, k, v = attention.split(h)
    scale = 1 / math.sqrt(q.shape[-1])
    hidden = ~seen.repeat_interleave(h.shape[1] // len(seen), dim=0)
    past = (q @ keys.mT * scale).masked_fill(hidden, -torch.inf)
    own = (q * k).sum(dim=-1, keepdim=True) * scale
    weights = torch.cat((past, own), dim=-1).softmax(dim=-1)
    return attention.out(merge_heads(weights[..., :-1] @ values + weights[..., -1:] * v))


def _build(state: State, **config: Any) -> InContextTransformer:
    width, hidden = state["Transformer_0.Dense_0.kernel"].shape
    blocks = {int(found[1]) for key in state if (found := re.match(r"Transformer_0\.Encoder1DBlock_(\d+)\.", key))}
    heads = state["Transformer_0.Encoder1DBlock_0.SelfAttention_0.query.kernel"].shape[1]
    plain = "Transformer_0.Encoder1DBlock_0.LayerNorm_0.scale" not in state
    return InContextTransformer(
        token_width=width,
        hidden=hidden,
        layers=len(blocks),
        heads=heads,
        max_length=state["Transformer_0.PositionEmbeddings_0.pos_embedding"].shape[1],
        outputs=state["Dense_0.kernel"].shape[1],
        norm="none" if plain else "official" if config.get("norm_first", True) else "official-post",
        narrow_heads=True,
        final_norm="Transformer_0.LayerNorm_0.scale" in state,
        activation=config.get("activation", "gelu"),
    )


def _translate(state: State, module: nn.Module) -> dict[str, Tensor]:
    """Flax kernels are (in, out), and those of the attention have their heads apart."""
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        name = re.sub(r"^Transformer_0\.Encoder1DBlock_(\d+)\.", r"blocks.\1.", key)
        name = name.replace("SelfAttention_0.", "attention.").replace("MLP_0.Dense_0.", "expand.").replace("MLP_0.Dense_1.", "contract.")
        name = re.sub(r"(blocks\.\d+)\.LayerNorm_(\d)\.", r"\1.norms.\2.", name)
        name = (
            name.replace("Transformer_0.LayerNorm_0.", "final.")
            .replace("Transformer_0.Dense_0.", "read_in.")
            .replace("Dense_0.", "read_out.")
        )
        if name == "Transformer_0.PositionEmbeddings_0.pos_embedding":
            ours["positions.table"] = value[0]
        elif name.endswith(".attention.out.kernel"):
            ours[name.replace("kernel", "weight")] = value.flatten(0, 1).T
        elif name.endswith(".kernel"):
            ours[name.replace("kernel", "weight")] = value.flatten(1).T
        elif name.endswith(".scale"):
            ours[name.replace("scale", "weight")] = value
        elif ".attention." in name and name.endswith(".bias"):
            ours[name] = value.flatten()
        else:
            ours[name] = value
    return {name: value.contiguous() for name, value in ours.items()}


MODELS = {
    "in-context-transformer": partial(InContextTransformer, hidden=64, layers=4, heads=4),  # what learns small problems in minutes
    "in-context-transformer-official": partial(
        InContextTransformer, hidden=512, layers=16, heads=4, norm="official", narrow_heads=True, final_norm=False
    ),
}
OFFICIAL = {"in-context-transformer": OfficialCheckpoint(_build, _translate)}
