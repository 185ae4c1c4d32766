r"""Reversing and sorting as transformers whose weights are written down: a head that counts, an MLP that turns the count into a place, a head that fetches what stands there; all other heads and MLPs are random, and are read by nobody.

A prompt is <begin> x_1 ... x_n <place i> (:mod:`ordinate.data.program_prompts`). In the language RASP,

- *reverse*: ``place_j = length - 1 - j``, where the length is the width of a selector of all numbers;
- *sort*: ``place_j`` is the width of the selector of the numbers below :math:`x_j`;

and the answer is the number whose place is the one that is asked for. The width c of a selector comes about by attention to what is selected and to the marker, all alike: the marker gets the share 1 / (1 + c), by which an MLP of ramps,
:math:`\mathrm{ReLU}(z) - \mathrm{ReLU}(z - 1)`, knows c. The fetching head matches places to the question, and looks at the question itself, which holds no number, where none matches.

There is no normalisation and every value that the program reads is 0, 1 or a share, each in channels of its own, so that the logits are exactly those of the program: softmax of logits that are hundreds apart is exact in single precision. The
random heads and MLPs read everything, and write into channels that only they read.

Source of the programs and of the count by shares: Weiss et al., Thinking Like Transformers (ICML 2021); Lindner et al., Tracr: Compiled Transformers as a Laboratory for Interpretability (NeurIPS 2023).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.data.contrasts import Edge, Node
from ordinate.data.program_prompts import PROGRAMS, ProgramTokens
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive, generator
from ordinate.models.sequence import Sequence
from ordinate.nn.blocks import FeedForward
from ordinate.nn.heads import Heads

__all__ = ["LOUD", "CompiledCircuit", "compiled_circuit"]

LOUD = 20.0
"""The logit of the answer; all others are 0."""
_HARD = 400.0  # exp(-200) is 0 in single precision


@dataclass(frozen=True)
class CompiledCircuit:
    """A model and what of it runs the program.

    Attributes:
        model: in evaluation mode.
        tokens: what its tokens mean.
        roles: the nodes of the circuit by what they do; MLPs stand after the last head.
    """

    model: Sequence
    tokens: ProgramTokens
    roles: dict[str, Node]

    @property
    def truth(self) -> tuple[Node, ...]:
        """The nodes of the circuit."""
        return tuple(self.roles.values())

    @property
    def edges(self) -> tuple[Edge, ...]:
        """From each node of the circuit to the next, and from the last to the output."""
        return tuple(zip(self.truth, (*self.truth[1:], None), strict=True))


class _Stream:
    """Which channels of the stream mean what."""

    def __init__(self, tokens: ProgramTokens, heads: int) -> None:
        sizes = (tokens.vocabulary, tokens.length, 1, tokens.longest, tokens.numbers)
        ends = torch.tensor(sizes).cumsum(0).tolist()
        self.token, self.position, share, self.place, self.answer = (range(end - size, end) for size, end in zip(sizes, ends, strict=True))
        (self.share,) = share
        self.numbers, self.questions = self.token[: tokens.numbers], self.token[tokens.numbers + 2 :]
        # As many channels again, and some, for what nobody reads; heads are wide enough for a selector of numbers.
        self.width = max(math.ceil(2 * ends[-1] / heads), tokens.numbers + 1)
        self.dim = heads * self.width
        self.scratch = range(ends[-1], self.dim)

    def rows(self, *chosen: range | list[int]) -> Float[Tensor, "width dim"]:
        """Rows of which each sums some channels; the others are 0."""
        found = torch.zeros(self.width, self.dim)
        for row, channels in enumerate(chosen):
            found[row, list(channels)] = 1
        return found


def compiled_circuit(
    program: str, seed: int = 0, *, layers: int = 3, heads: int = 4, tokens: ProgramTokens | None = None, noise: float = 1.0
) -> CompiledCircuit:
    """Make one.

    Args:
        program: ``"reverse"`` or ``"sort"``.
        seed: of the places of the circuit, and of the random heads and MLPs.
        layers: at least 2.
        heads: of each layer.
        tokens: the vocabulary; None is the default one.
        noise: what the output weights of the random heads and MLPs are multiplied with; the answers are exact at any.

    Raises:
        InputError: an unknown program, or fewer than 2 layers.
    """
    choose("program", program, PROGRAMS)
    if layers < 2 or heads < 1:
        raise InputError(f"a count must be made before it is used: that takes 2 layers and a head in each, not {layers} and {heads}")
    tokens = tokens or ProgramTokens()
    stream = _Stream(tokens, heads)
    ramps = list(_reversal(tokens, stream) if program == "reverse" else _ranking(tokens, stream))
    with torch.random.fork_rng([]):
        torch.manual_seed(derive(seed, program, "heads"))
        model = Sequence(
            vocabulary=tokens.vocabulary,
            dim=stream.dim,
            depth=layers,
            heads=heads,
            causal=False,
            max_length=tokens.length,
            mlp_ratio=2 * len(ramps) / stream.dim,
            activation="relu",
            tied=False,
        ).eval()
    for name in [name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)]:
        model.set_submodule(name, nn.Identity())
    draws = generator(seed, program, "places")
    first = int(torch.randint(layers - 1, (1,), generator=draws))
    second = int(torch.randint(first + 1, layers, (1,), generator=draws))
    count, fetch = ((layer, int(torch.randint(heads, (1,), generator=draws))) for layer in (first, second))
    with torch.no_grad():
        model.embedding.weight.copy_(torch.eye(stream.dim)[list(stream.token)])
        model.get_parameter("backbone.positions.table").copy_(torch.eye(stream.dim)[list(stream.position)])
        for name, module in model.named_modules():
            if name.endswith(("feed_forward.contract", "heads.out")):
                _hide(cast(nn.Linear, module), stream, noise)
        if program == "reverse":
            read = stream.rows(stream.token), stream.rows([*stream.numbers, tokens.begin])
        else:
            below = [stream.numbers[number + 1 :] for number in range(tokens.numbers)]
            read = stream.rows(*below, stream.token), stream.rows(*([number] for number in stream.numbers), [tokens.begin])
        _write(model, count, query=read[0], key=read[1], value=stream.rows([tokens.begin]), output=stream.rows([stream.share]))
        _write_ramps(cast(FeedForward, model.get_submodule(f"backbone.blocks.{first}.feed_forward")), ramps, stream)
        # A question matches its place twice as well as it does any question.
        asked = stream.rows(*([question] for question in stream.questions))
        asked[tokens.longest, list(stream.token)] = 0.5
        _write(
            model,
            fetch,
            query=asked,
            key=stream.rows(*([place] for place in stream.place), stream.questions),
            value=stream.rows(*([number] for number in stream.numbers)),
            output=stream.rows(*([number] for number in stream.answer)),
        )
        model.head.weight.zero_()
        model.head.weight[: tokens.numbers] = LOUD * torch.eye(stream.dim)[list(stream.answer)]
    return CompiledCircuit(model, tokens, {"count": count, "place": (first, heads), "fetch": fetch})


def _hide(layer: nn.Linear, stream: _Stream, noise: float) -> None:
    """What a layer writes goes where nobody reads."""
    seen = torch.zeros(stream.dim, 1)
    seen[list(stream.scratch)] = noise
    layer.weight.mul_(seen)
    layer.bias.zero_()


def _write(
    model: Sequence,
    place: Node,
    *,
    query: Float[Tensor, "width dim"],
    key: Float[Tensor, "width dim"],
    value: Float[Tensor, "width dim"],
    output: Float[Tensor, "width dim"],
) -> None:
    """Make a head read and write these channels, one a row."""
    module = cast(Heads, model.get_submodule(f"backbone.blocks.{place[0]}.mixer.heads"))
    dim, width = query.shape[1], module.width
    channels = slice(place[1] * width, (place[1] + 1) * width)
    for part, rows in enumerate((_HARD * width**0.5 * query, key, value)):
        module.qkv.weight[part * dim : (part + 1) * dim][channels] = rows
        module.qkv.bias[part * dim : (part + 1) * dim][channels] = 0
    module.out.weight[:, channels] = output.mT


@dataclass(frozen=True)
class _Ramp:
    """1 where the count is at most `count` and one of the channels `where` is 1, or else 0; and by how much it changes which channels."""

    count: int
    where: range
    writes: dict[int, float]


def _reversal(tokens: ProgramTokens, stream: _Stream) -> Iterator[_Ramp]:
    """Where n are counted, number j has place n - 1 - j: a ramp for n less that for n - 1."""
    for count in range(tokens.longest + 1):
        for number in range(tokens.longest):
            writes = {}
            if number < count:
                writes[stream.place[count - 1 - number]] = 1.0
            if number <= count < tokens.longest:
                writes[stream.place[count - number]] = -1.0
            if writes:
                yield _Ramp(count, stream.position[number + 1 : number + 2], writes)


def _ranking(tokens: ProgramTokens, stream: _Stream) -> Iterator[_Ramp]:
    """Where c are counted, a number has place c: a ramp for c less that for c - 1."""
    for count in range(tokens.longest):
        below = {stream.place[count + 1]: -1.0} if count + 1 < tokens.longest else {}
        yield _Ramp(count, stream.numbers, {stream.place[count]: 1.0, **below})


def _write_ramps(layer: FeedForward, ramps: list[_Ramp], stream: _Stream) -> None:
    """Make the MLP of ramps, two units each, that rise within the middle half between the shares of a count and of the next."""
    for weights in (layer.expand.weight, layer.expand.bias, layer.contract.weight, layer.contract.bias):
        weights.zero_()
    for number, ramp in enumerate(ramps):
        high, low = 1 / (1 + ramp.count), 1 / (2 + ramp.count)
        steepness = 2 / (high - low)
        for unit, sign in ((2 * number, 1.0), (2 * number + 1, -1.0)):
            layer.expand.weight[unit, stream.share] = steepness
            # No share exceeds 1: without one of its channels a unit is silent.
            layer.expand.weight[unit, list(ramp.where)] = steepness
            layer.expand.bias[unit] = -steepness * (low + (high - low) / 4 + 1) - (sign < 0)
            for channel, change in ramp.writes.items():
                layer.contract.weight[channel, unit] = sign * change
