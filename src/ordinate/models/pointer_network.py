r"""Pointer networks, and the two sequence models that they are measured against.

An LSTM reads the points :math:`P_1, \dots, P_n` and leaves states :math:`e_1, \dots, e_n`; another starts from its last state and answers with a sequence of *slots*: slot 0 is END, with a learned vector as
its memory :math:`e_0`, and slots :math:`1, \dots, n` are the points. Its input at a step is the *coordinates* of the point answered at the step before, or a learned GO vector at the first;
:math:`d_i` is its state. Three decoders read it:

- ``pointer``: :math:`p(C_i = j) = \operatorname{softmax}_j\, v^\top \tanh(W_1 e_j + W_2 d_i)`, over as many slots as there are points;
- ``attention``: the same scores over the points only mix their states into a context :math:`d'_i = \sum_j a_{ij} e_j`; a fixed softmax over :math:`n_\text{max} + 1` slots reads :math:`[d_i, d'_i]`,
  and the context is an input of the next step;
- ``seq2seq``: a fixed softmax over :math:`n_\text{max} + 1` slots reads :math:`d_i`.

A slot beyond a row's own points has no probability in any of them. For known answers the pointer and seq2seq run as two LSTM kernels and one batched read-out; attention feeds its context back, and must loop.

For decoding step by step each has `init`, `log_prob`, `advance` and `reorder`, the protocol of `ordinate.generate.decoding`.

Source: Vinyals, Fortunato, Jaitly, Pointer Networks (NIPS 2015), sections 2.1 (seq2seq), 2.2 (attention), 2.3 (pointer). Whether END was a memory there is not said; here it is one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ordinate.ground.errors import InputError, choose
from ordinate.models.base import Model
from ordinate.nn.pointer import PointerHead

__all__ = [
    "DECODERS",
    "MODELS",
    "AttentionDecoder",
    "IndexDecoder",
    "Memory",
    "PointerDecoder",
    "PointerNetwork",
    "PointerState",
    "SlotDecoder",
]

END = 0
Carried = tuple[Tensor, ...]


class Memory(NamedTuple):
    """What the decoder keeps of the input, one row a sequence.

    Attributes:
        states: (R, m, H), what it may attend to: END's memory and the encoder's n states for a pointer, those n for attention, nothing for seq2seq.
        projected: (R, m, H), what it needs of them at every step.
        mask: (R, n+1), which slots there are.
    """

    states: Tensor
    projected: Tensor
    mask: Tensor


class PointerState(NamedTuple):
    """Where decoding stands, one row a sequence.

    Attributes:
        inputs: (R, n+1, I), what the decoder is fed after each slot; GO in slot 0.
        memory: what the decoder keeps of the input.
        carried: the decoder's own state, rows first.
        logits: (R, n+1), of the symbol to come.
    """

    inputs: Tensor
    memory: Memory
    carried: Carried
    logits: Tensor


class SlotDecoder(nn.Module, ABC):
    """Reads its inputs and the memory, and scores slots.

    Attributes:
        n_max: the most points that it can index, or None where there is no limit.
    """

    n_max: int | None = None

    def __init__(self, input_dim: int, hidden: int, layers: int) -> None:
        """
        Args:
            input_dim: the width of what its LSTM reads.
            hidden: the width H of the memory and of its own states.
            layers: of its LSTM.
        """
        super().__init__()
        self.lstm = nn.LSTM(input_dim, hidden, layers, batch_first=True)

    @abstractmethod
    def recall(self, states: Float[Tensor, "batch n hidden"], mask: Bool[Tensor, "batch slots"]) -> Memory:
        """What it keeps of the encoder's states, computed once a sequence; `mask` says which slots there are."""

    def begin(self, h: Float[Tensor, "batch layers hidden"], c: Float[Tensor, "batch layers hidden"]) -> Carried:
        """Its own state at the start: the encoder's last."""
        return h, c

    @abstractmethod
    def read(
        self, fed: Float[Tensor, "batch steps input_dim"], carried: Carried, memory: Memory
    ) -> tuple[Float[Tensor, "batch steps slots"], Carried]:
        """Logits for the symbol after each input, -inf for slots that there are not, and its own state after the last."""

    def _run(self, fed: Tensor, carried: Carried) -> tuple[Tensor, Tensor, Tensor]:
        start = tuple(each.transpose(0, 1).contiguous() for each in carried[:2])
        states, (h, c) = self.lstm(fed, start)
        return states, h.transpose(0, 1), c.transpose(0, 1)


class PointerDecoder(SlotDecoder):
    """The pointer: attention over the memory is the distribution."""

    def __init__(self, input_dim: int, hidden: int, layers: int, n_max: int | None = None) -> None:
        super().__init__(input_dim, hidden, layers)  # n_max is not kept: there is no limit
        self.head = PointerHead(hidden, hidden, hidden)
        self.end = nn.Parameter(torch.empty(hidden))
        nn.init.uniform_(self.end, -(hidden**-0.5), hidden**-0.5)  # as torch starts the LSTM

    def recall(self, states: Float[Tensor, "batch n hidden"], mask: Bool[Tensor, "batch slots"]) -> Memory:
        """END's memory, the encoder's states, and W_1 of them."""
        states = torch.cat((self.end.expand(len(states), 1, -1), states), dim=1)
        return Memory(states, self.head.project(states), mask)

    def read(
        self, fed: Float[Tensor, "batch steps input_dim"], carried: Carried, memory: Memory
    ) -> tuple[Float[Tensor, "batch steps slots"], Carried]:
        """One LSTM kernel over all steps, and one batched attention."""
        states, h, c = self._run(fed, carried)
        return self.head.attend(states, memory.projected, memory.mask), (h, c)


class FixedDecoder(SlotDecoder):
    """One whose output alphabet is fixed when it is built."""

    def __init__(self, input_dim: int, hidden: int, layers: int, width: int, n_max: int | None) -> None:
        if n_max is None:
            raise InputError("a fixed softmax needs n_max, the most points that it is to index")
        super().__init__(input_dim, hidden, layers)
        self.n_max = n_max
        self.output = nn.Linear(width, n_max + 1)

    def _score(self, features: Tensor, memory: Memory) -> Tensor:
        return self.output(features)[..., : memory.mask.shape[1]].masked_fill(~memory.mask[:, None], float("-inf"))


class IndexDecoder(FixedDecoder):
    """The plain sequence-to-sequence decoder: a fixed softmax over indices."""

    def __init__(self, input_dim: int, hidden: int, layers: int, n_max: int | None = None) -> None:
        super().__init__(input_dim, hidden, layers, hidden, n_max)

    def recall(self, states: Float[Tensor, "batch n hidden"], mask: Bool[Tensor, "batch slots"]) -> Memory:
        """Nothing but the slots: the input reaches it through the encoder's last state alone."""
        return Memory(states[:, :0], states[:, :0], mask)

    def read(
        self, fed: Float[Tensor, "batch steps input_dim"], carried: Carried, memory: Memory
    ) -> tuple[Float[Tensor, "batch steps slots"], Carried]:
        """One LSTM kernel over all steps, and one product."""
        states, h, c = self._run(fed, carried)
        return self._score(states, memory), (h, c)


class AttentionDecoder(FixedDecoder):
    """Content-based input attention: the scores mix the points' states into a context; a fixed softmax reads it, and the next step is fed it."""

    def __init__(self, input_dim: int, hidden: int, layers: int, n_max: int | None = None) -> None:
        super().__init__(input_dim + hidden, hidden, layers, 2 * hidden, n_max)
        self.head = PointerHead(hidden, hidden, hidden)

    def recall(self, states: Float[Tensor, "batch n hidden"], mask: Bool[Tensor, "batch slots"]) -> Memory:
        """The encoder's states, and W_1 of them."""
        return Memory(states, self.head.project(states), mask)

    def begin(self, h: Float[Tensor, "batch layers hidden"], c: Float[Tensor, "batch layers hidden"]) -> Carried:
        """The encoder's last, and an empty context."""
        return h, c, torch.zeros_like(h[:, 0])

    def read(
        self, fed: Float[Tensor, "batch steps input_dim"], carried: Carried, memory: Memory
    ) -> tuple[Float[Tensor, "batch steps slots"], Carried]:
        """Step by step, since every context is an input of the next step."""
        h, c, context = carried
        features = []
        for step in fed.unbind(dim=1):
            states, h, c = self._run(torch.cat((step, context), dim=-1)[:, None], (h, c))
            weights = self.head.attend(states, memory.projected, memory.mask[:, 1:]).softmax(dim=-1)
            context = (weights @ memory.states)[:, 0]
            features.append(torch.cat((states[:, 0], context), dim=-1))
        return self._score(torch.stack(features, dim=1), memory), (h, c, context)


DECODERS: dict[str, Callable[[int, int, int, int | None], SlotDecoder]] = {
    "pointer": PointerDecoder,
    "attention": AttentionDecoder,
    "seq2seq": IndexDecoder,
}


class PointerNetwork(Model):
    """An LSTM encoder and a decoder over slots: (B, n, D) points to a sequence of slots."""

    def __init__(
        self,
        in_dim: int = 2,
        hidden: int = 256,
        layers: int = 1,
        embed: int | None = None,
        head: str = "pointer",
        n_max: int | None = None,
        spread: float | None = None,
    ) -> None:
        """
        Args:
            in_dim: the width D of a point.
            hidden: the width H of both LSTMs (the paper: 256 and 512).
            layers: of both LSTMs (the paper: 1).
            embed: the width of a linear embedding of the points, or None to read the coordinates as they are.
            head: ``"pointer"``, ``"attention"`` or ``"seq2seq"``.
            n_max: the most points that attention and seq2seq are to index; the pointer has no limit and needs none.
            spread: all weights start uniform in [-spread, spread] (the paper: 0.08); None is torch's own start, with which small networks train faster.

        Raises:
            InputError: an unknown head, a width below 1, or a fixed head without `n_max`.
        """
        super().__init__()
        decoder = DECODERS[choose("head", head, DECODERS)]
        if min(in_dim, hidden, layers, embed or 1, n_max or 1) < 1:
            raise InputError("in_dim, hidden, layers, embed and n_max must be at least 1")
        width = embed or in_dim
        self.in_dim = in_dim
        self.embed = nn.Linear(in_dim, embed) if embed else nn.Identity()
        self.encoder = nn.LSTM(width, hidden, layers, batch_first=True)
        self.go = nn.Parameter(torch.empty(width))
        self.decoder = decoder(width, hidden, layers, n_max)
        bound = hidden**-0.5 if spread is None else spread
        for parameter in [self.go] if spread is None else self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(
        self,
        points: Float[Tensor, "batch n in_dim"],
        target: Int[Tensor, "batch steps"],
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch steps slots"]]:
        """Log-probabilities of given answers.

        Args:
            points: (B, n, D); rows of fewer points are padded at the end, and the padding changes nothing.
            target: (B, T) slots, each row ended by an END (0); what follows it does not count.
            lengths: (B,), how many points each row has; None where all have n.

        Returns:
            log_prob: (B,), of each answer, END included, in nats.
            logits: (B, T, n+1), of every symbol given those before it.

        Raises:
            InputError: points of a wrong width, none in a row, not finite, or more than a fixed head can index; a slot that the row does not have; an answer without END.
        """
        inputs, memory, carried = self._encode(points, lengths)
        if len(target) != len(points):
            raise InputError(f"there are {len(points)} sets of points and {len(target)} answers")
        if not bool(((target >= 0) & (target < memory.mask.sum(dim=1, keepdim=True))).all()):
            raise InputError("an answer names a slot that its row does not have: 0 is END, the points are 1 to n")
        if not bool((target == END).any(dim=1).all()):
            raise InputError("an answer has no END (0): without it, nothing says where it stops")
        before = torch.cat((torch.zeros_like(target[:, :1]), target[:, :-1]), dim=1)
        logits, _ = self.decoder.read(_rows(inputs, before), carried, memory)
        chosen = logits.log_softmax(dim=-1).gather(2, target[..., None])[..., 0]
        counts = torch.cat((torch.ones_like(target[:, :1]), target[:, :-1]), dim=1).ne(END).cumprod(dim=1).bool()
        return chosen.masked_fill(~counts, 0.0).sum(dim=1), logits

    def init(self, inputs: Mapping[str, Tensor]) -> PointerState:
        """The state before the first symbol.

        Args:
            inputs: `points` (B, n, D) and, where rows have fewer points, `lengths` (B,).

        Raises:
            InputError: as in `forward`.
        """
        fed, memory, carried = self._encode(inputs["points"], inputs.get("lengths"))
        logits, carried = self.decoder.read(fed[:, :1], carried, memory)
        return PointerState(fed, memory, carried, logits[:, 0])

    def log_prob(self, state: PointerState) -> Float[Tensor, "rows slots"]:
        """The log-probabilities of the symbol to come."""
        return state.logits.log_softmax(dim=-1)

    def advance(self, state: PointerState, symbols: Int[Tensor, " rows"]) -> PointerState:
        """The state after `symbols`."""
        logits, carried = self.decoder.read(_rows(state.inputs, symbols[:, None]), state.carried, state.memory)
        return state._replace(carried=carried, logits=logits[:, 0])

    def reorder(self, state: PointerState, rows: Int[Tensor, " kept"]) -> PointerState:
        """The state of these rows, in this order; a row may be taken several times."""
        inputs, logits = state.inputs[rows], state.logits[rows]
        return PointerState(inputs, Memory(*(each[rows] for each in state.memory)), tuple(each[rows] for each in state.carried), logits)

    def _encode(self, points: Tensor, lengths: Tensor | None) -> tuple[Tensor, Memory, Carried]:
        batch, n = self._check(points, lengths)
        embedded = self.embed(points)
        if lengths is None or bool((lengths == n).all()):
            states, (h, c) = self.encoder(embedded)
            mask = torch.ones(batch, n + 1, dtype=torch.bool, device=points.device)
        else:
            packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
            states, (h, c) = self.encoder(packed)
            states = pad_packed_sequence(states, batch_first=True, total_length=n)[0]
            mask = torch.arange(n + 1, device=points.device) <= lengths[:, None]
        inputs = torch.cat((self.go.expand(batch, 1, -1), embedded), dim=1)
        return inputs, self.decoder.recall(states, mask), self.decoder.begin(h.transpose(0, 1), c.transpose(0, 1))

    def _check(self, points: Tensor, lengths: Tensor | None) -> tuple[int, int]:
        if points.ndim != 3 or points.shape[2] != self.in_dim or not points.shape[0] or not points.shape[1]:
            raise InputError(f"points are (batch, n, {self.in_dim}) with at least one in each row, not {tuple(points.shape)}")
        batch, n, _ = points.shape
        finite = torch.isfinite(points).all(dim=2)
        if lengths is not None:
            if lengths.shape != (batch,) or not 1 <= int(lengths.min()) <= int(lengths.max()) <= n:
                raise InputError(f"lengths are ({batch},) numbers from 1 to {n}: a row without points has no answer")
            finite |= torch.arange(n, device=points.device) >= lengths[:, None]
        if not bool(finite.all()):
            raise InputError("a coordinate is NaN or infinite")
        if self.decoder.n_max is not None and n > self.decoder.n_max:
            raise InputError(
                f"this head indexes at most {self.decoder.n_max} points and was given {n}: a fixed softmax cannot grow, which is what head='pointer' is for"
            )
        return batch, n


def _rows(table: Float[Tensor, "batch slots width"], slots: Int[Tensor, "batch steps"]) -> Float[Tensor, "batch steps width"]:
    return table.gather(1, slots[..., None].expand(-1, -1, table.shape[2]))


MODELS = {
    "pointer": partial(PointerNetwork),
    "seq2seq-attention": partial(PointerNetwork, head="attention", n_max=50),
    "seq2seq": partial(PointerNetwork, head="seq2seq", n_max=50),
}
