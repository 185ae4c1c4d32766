r"""Read-Process-Write: sets in, sequences out, blind to the order in which the set is given.

- **Read** turns every element by itself into a memory, :math:`m_i = W_2 \operatorname{relu}(W_1 x_i + b_1) + b_2`.
- **Process** (`ordinate.nn.set_process`) attends to the memories for some steps and leaves a summary :math:`q^*_T`.
- **Write** is an LSTM that starts from the summary, :math:`h_0 = \tanh(W_h q^*_T)` and :math:`c_0 = W_c q^*_T`, and points: its input at a step is the memory of the element answered at the step before, or a learned
  GO vector at the first. Before it points it may take *glimpses*, reads of the memories with weights of their own, :math:`q \leftarrow \tanh(W [q, \sum_i a_i m_i])`; then :math:`p = \operatorname{softmax}_i\, v^\top \tanh(W_1 m_i + W_2 q)`.

With ``encoder="lstm"`` an LSTM reads the elements in the order given, its states are the memories and its last state starts the writer: the pointer network that the paper measures against. Without processing steps the
writer starts the same for every set, and still sees the elements through its scores.

Answers are made of slots as in `ordinate.models.pointer_network`: slot 0 is END, with a learned vector as its memory, and slots :math:`1, \dots, n` are the elements. For known answers the writer runs as one LSTM kernel and
batched attention, and what the glimpses and the pointer need of the memories is projected once.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), sections 4.1 and 4.2. Widths, and how a glimpse joins the state, are not said there.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ordinate.ground.errors import InputError, choose
from ordinate.models.base import Model
from ordinate.nn.pointer import PointerHead
from ordinate.nn.set_process import SetProcess

__all__ = ["ENCODERS", "MODELS", "Glimpse", "OrderedReader", "ReadProcessWrite", "SetReader", "WriterMemory", "WriterState"]

END = 0


class WriterMemory(NamedTuple):
    """What the writer keeps of the input, one row a set.

    Attributes:
        states: (R, n+1, D), END's memory and the elements'.
        projected: what each glimpse needs of them, and last what the pointer needs: each (R, n+1, D).
        mask: (R, n+1), which slots there are.
    """

    states: Tensor
    projected: tuple[Tensor, ...]
    mask: Tensor


class WriterState(NamedTuple):
    """Where decoding stands, one row a set.

    Attributes:
        memory: what the writer keeps of the input.
        h: (R, D), of its LSTM.
        c: (R, D), of its LSTM.
        used: (R, n+1), the elements that were answered.
        logits: (R, n+1), of the symbol to come.
    """

    memory: WriterMemory
    h: Tensor
    c: Tensor
    used: Tensor
    logits: Tensor


class SetReader(nn.Module):
    """Read and Process: elements (B, n, I) to memories (B, n, D) and a start of the writer, whatever the elements' order."""

    def __init__(self, in_dim: int, dim: int, steps: int, attention: str) -> None:
        """
        Args:
            in_dim: the width I of an element.
            dim: the width D of a memory.
            steps: of the Process block.
            attention: of the Process block.
        """
        super().__init__()
        self.read = nn.Sequential(nn.Linear(in_dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.process = SetProcess(dim, steps, attention)
        self.start = nn.Linear(2 * dim, 2 * dim)

    def forward(self, x: Float[Tensor, "batch n in_dim"], lengths: Int[Tensor, " batch"]) -> tuple[Tensor, Tensor, Tensor]:
        """Memories (B, n, D), and the writer's h and c, each (B, D)."""
        mask = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        memory = self.read(x.masked_fill(~mask[..., None], 0.0))
        h, c = self.start(self.process(memory, mask).summary).chunk(2, dim=1)
        return memory, h.tanh(), c


class OrderedReader(nn.Module):
    """An LSTM over the elements in the order given: its states are the memories, its last state starts the writer."""

    def __init__(self, in_dim: int, dim: int, steps: int, attention: str) -> None:
        super().__init__()  # it has no steps, and no attention
        self.lstm = nn.LSTM(in_dim, dim, batch_first=True)

    def forward(self, x: Float[Tensor, "batch n in_dim"], lengths: Int[Tensor, " batch"]) -> tuple[Tensor, Tensor, Tensor]:
        """Memories (B, n, D), and the writer's h and c, each (B, D)."""
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, (h, c) = self.lstm(packed)
        return pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])[0], h[0], c[0]


ENCODERS: dict[str, Callable[[int, int, int, str], nn.Module]] = {"set": SetReader, "lstm": OrderedReader}


class Glimpse(nn.Module):
    """A read of the memories that joins the query: (B, T, D) to (B, T, D)."""

    def __init__(self, dim: int) -> None:
        """
        Args:
            dim: the width D of queries and memories.
        """
        super().__init__()
        self.head = PointerHead(dim, dim, dim)
        self.join = nn.Linear(2 * dim, dim)

    def forward(self, query: Tensor, states: Tensor, projected: Tensor, mask: Tensor) -> Tensor:
        """The query after the glimpse, from the memories (B, m, D) and what `head.project` gave of them; `mask` (B, m) says which there are."""
        weights = self.head.attend(query, projected, mask).softmax(dim=-1)
        # At the start of training every read-out is the mean memory, whatever was asked: alone, it would leave nothing to tell the steps apart by.
        return torch.tanh(self.join(torch.cat((query, weights @ states), dim=-1)))


class ReadProcessWrite(Model):
    """Sets of n vectors (B, n, I) to sequences of slots."""

    def __init__(
        self,
        in_dim: int = 2,
        dim: int = 128,
        steps: int = 5,
        glimpses: int = 1,
        encoder: str = "set",
        attention: str = "dot",
        mask_used: bool = False,
        n_max: int | None = None,
    ) -> None:
        """
        Args:
            in_dim: the width I of an element.
            dim: the width D of memories and of the LSTMs.
            steps: of the Process block (the paper: 0, 1, 5, 10).
            glimpses: before each symbol (the paper: 0, 1).
            encoder: ``"set"``, or ``"lstm"`` for a reader that sees the order of the elements.
            attention: of the Process block, ``"dot"`` or ``"additive"``.
            mask_used: an element can be answered once, and END comes when none is left: answers are orders of all elements. The paper leaves it off.
            n_max: taken for what indexes with a fixed alphabet; a pointer has no limit and needs none.

        Raises:
            InputError: an unknown encoder or attention, a width below 1, or fewer than no steps or glimpses.
        """
        super().__init__()
        reader = ENCODERS[choose("encoder", encoder, ENCODERS)]
        if min(in_dim, dim) < 1 or glimpses < 0:
            raise InputError(f"in_dim and dim must be at least 1 and glimpses at least 0, not {in_dim}, {dim} and {glimpses}")
        self.in_dim, self.mask_used = in_dim, mask_used
        self.reader = reader(in_dim, dim, steps, attention)
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
        self.glimpses = nn.ModuleList(Glimpse(dim) for _ in range(glimpses))
        self.head = PointerHead(dim, dim, dim)
        self.end, self.go = nn.Parameter(torch.empty(dim)), nn.Parameter(torch.empty(dim))
        for vector in (self.end, self.go):
            nn.init.uniform_(vector, -(dim**-0.5), dim**-0.5)  # as torch starts the LSTM

    def forward(
        self,
        points: Float[Tensor, "batch n in_dim"],
        target: Int[Tensor, "batch steps"],
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch steps slots"]]:
        """Log-probabilities of given answers.

        Args:
            points: (B, n, I), the elements; rows of fewer are padded at the end, and the padding changes nothing.
            target: (B, T) slots, each row ended by an END (0); what follows it does not count.
            lengths: (B,), how many elements each row has; None where all have n.

        Returns:
            log_prob: (B,), of each answer, END included, in nats.
            logits: (B, T, n+1), of every symbol given those before it.

        Raises:
            InputError: elements of a wrong width, none in a row, or not finite; a slot that the row does not have; an answer without END; with `mask_used`, one that is not a permutation of its elements.
        """
        memory, h, c = self._encode(points, lengths)
        if len(target) != len(points):
            raise InputError(f"there are {len(points)} sets and {len(target)} answers")
        counts = memory.mask.sum(dim=1, keepdim=True)
        if not bool(((target >= 0) & (target < counts)).all()):
            raise InputError("an answer names a slot that its row does not have: 0 is END, the elements are 1 to n")
        ended = (target == END).cummax(dim=1).values if target.shape[1] else target.bool()
        if not target.shape[1] or not bool(ended[:, -1].all()):
            raise InputError("an answer has no END (0): without it, nothing says where it stops")
        before = torch.cat((torch.zeros_like(target[:, :1]), target[:, :-1].masked_fill(ended[:, :-1], END)), dim=1)
        named = nn.functional.one_hot(target.masked_fill(ended, END), memory.mask.shape[1])
        if self.mask_used and not bool((named[..., 1:].sum(dim=1) == memory.mask[:, 1:]).all()):
            raise InputError("an answer is not a permutation of its elements: each of them once, and then END")
        fed = _rows(torch.cat((self.go.expand(len(points), 1, -1), memory.states[:, 1:]), dim=1), before)
        states, _ = self.lstm(fed, (h[None], c[None]))
        logits = self._point(states, memory)
        if self.mask_used:
            logits = logits.masked_fill(~self._left(memory.mask[:, None], (named.cumsum(dim=1) - named).bool()), float("-inf"))
        chosen = logits.log_softmax(dim=-1).gather(2, target[..., None])[..., 0]
        running = torch.cat((torch.ones_like(ended[:, :1]), ~ended[:, :-1]), dim=1)
        return chosen.masked_fill(~running, 0.0).sum(dim=1), logits

    def sequence_log_prob(self, inputs: Mapping[str, Tensor], symbols: Int[Tensor, "batch steps"]) -> Float[Tensor, " batch"]:
        """The log-probabilities of answers without their END, which is added: what the search over orders asks for.

        Args:
            inputs: as in `init`.
            symbols: (B, T) slots, 1 to n; -1 is padding, at the end.

        Raises:
            InputError: as in `forward`.
        """
        ended = nn.functional.pad(symbols.clamp(min=END), (0, 1), value=END)
        log_prob: Tensor = self(inputs["points"], ended, inputs.get("lengths"))[0]
        return log_prob

    def init(self, inputs: Mapping[str, Tensor]) -> WriterState:
        """The state before the first symbol.

        Args:
            inputs: `points` (B, n, I) and, where rows have fewer elements, `lengths` (B,).

        Raises:
            InputError: as in `forward`.
        """
        memory, h, c = self._encode(inputs["points"], inputs.get("lengths"))
        return self._step(memory, h, c, torch.zeros_like(memory.mask), self.go.expand(len(h), -1))

    def log_prob(self, state: WriterState) -> Float[Tensor, "rows slots"]:
        """The log-probabilities of the symbol to come."""
        return state.logits.log_softmax(dim=-1)

    def advance(self, state: WriterState, symbols: Int[Tensor, " rows"]) -> WriterState:
        """The state after `symbols`."""
        used = state.used.scatter(1, symbols[:, None], True)
        states = torch.cat((self.go.expand(len(symbols), 1, -1), state.memory.states[:, 1:]), dim=1)
        return self._step(state.memory, state.h, state.c, used, _rows(states, symbols[:, None])[:, 0])

    def reorder(self, state: WriterState, rows: Int[Tensor, " kept"]) -> WriterState:
        """The state of these rows, in this order; a row may be taken several times."""
        kept = state.memory
        memory = WriterMemory(kept.states[rows], tuple(each[rows] for each in kept.projected), kept.mask[rows])
        return WriterState(memory, state.h[rows], state.c[rows], state.used[rows], state.logits[rows])

    def _step(self, memory: WriterMemory, h: Tensor, c: Tensor, used: Tensor, fed: Tensor) -> WriterState:
        states, (h_next, c_next) = self.lstm(fed[:, None], (h[None], c[None]))
        logits = self._point(states, memory)[:, 0]
        if self.mask_used:
            logits = logits.masked_fill(~self._left(memory.mask, used), float("-inf"))
        return WriterState(memory, h_next[0], c_next[0], used, logits)

    def _point(self, states: Tensor, memory: WriterMemory) -> Tensor:
        for glimpse, projected in zip(self.glimpses, memory.projected, strict=False):
            states = glimpse(states, memory.states, projected, memory.mask)
        return self.head.attend(states, memory.projected[-1], memory.mask)

    @staticmethod
    def _left(mask: Bool[Tensor, "*rows slots"], used: Bool[Tensor, "*taken slots"]) -> Tensor:
        elements = mask[..., 1:] & ~used[..., 1:]
        return torch.cat((~elements.any(dim=-1, keepdim=True), elements), dim=-1)

    def _encode(self, points: Tensor, lengths: Tensor | None) -> tuple[WriterMemory, Tensor, Tensor]:
        if points.ndim != 3 or points.shape[2] != self.in_dim or not points.shape[0] or not points.shape[1]:
            raise InputError(f"sets are (batch, n, {self.in_dim}) with at least one element in each row, not {tuple(points.shape)}")
        batch, n, _ = points.shape
        if lengths is None:
            lengths = torch.full((batch,), n, device=points.device)
        elif lengths.shape != (batch,) or not 1 <= int(lengths.min()) <= int(lengths.max()) <= n:
            raise InputError(f"lengths are ({batch},) numbers from 1 to {n}: an empty set has no answer")
        mask = torch.arange(n + 1, device=points.device) <= lengths[:, None]
        if not bool((torch.isfinite(points).all(dim=2) | ~mask[:, 1:]).all()):
            raise InputError("an element is NaN or infinite")
        memory, h, c = self.reader(points, lengths)
        states = torch.cat((self.end.expand(batch, 1, -1), memory), dim=1)
        heads = [*(cast(Glimpse, glimpse).head for glimpse in self.glimpses), self.head]
        return WriterMemory(states, tuple(head.project(states) for head in heads), mask), h, c


def _rows(table: Float[Tensor, "batch slots width"], slots: Int[Tensor, "batch steps"]) -> Float[Tensor, "batch steps width"]:
    return table.gather(1, slots[..., None].expand(-1, -1, table.shape[2]))


MODELS = {"read-process-write": partial(ReadProcessWrite)}
