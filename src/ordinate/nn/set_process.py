r"""The Process block: a summary of a set that grows no wider with the set and does not change with the order of its elements.

An LSTM without inputs asks a set of memories :math:`m_1, \dots, m_n` for :math:`T` steps: from :math:`q^*_0 = 0` and an empty state,

.. math::
    q_t = \operatorname{LSTM}(q^*_{t-1}), \qquad e_{it} = f(m_i, q_t), \qquad a_t = \operatorname{softmax}(e_t), \qquad
    r_t = \sum_i a_{it} m_i, \qquad q^*_t = [q_t, r_t],

with :math:`f` a dot product or the additive score of a pointer. Every sum runs over the elements, so that a permutation of them changes nothing but rounding. It serves as a pooling layer for whatever has no order:
the nodes of a graph, the points of a cloud, the instances of a bag. The output is twice as wide as a memory.

The LSTM keeps its ordinary recurrence beside :math:`q^*`, as implementations do. The state :math:`q_{t-1}` is one half of the input :math:`q^*_{t-1}`, so that both products are one, with the sum of their weights.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 4.2, equations 3 to 7. Parameters are named as in the layer that graph libraries call Set2Set, whose state dict loads here.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError, choose
from ordinate.nn.pointer import PointerHead

__all__ = ["Processed", "RaggedProcessed", "SetProcess"]


class Processed(NamedTuple):
    """What was read of padded sets.

    Attributes:
        summary: (B, 2D), the last query beside the last read-out.
        attention: (B, T, N), every step's weights; zero on padding.
    """

    summary: Float[Tensor, "batch twice"]
    attention: Float[Tensor, "batch steps n"]


class RaggedProcessed(NamedTuple):
    """What was read of sets whose elements lie in one list.

    Attributes:
        summary: (S, 2D), the last query beside the last read-out; of an empty set the read-out is zero.
        attention: (T, M), every step's weights of the elements in their own sets.
    """

    summary: Float[Tensor, "sets twice"]
    attention: Float[Tensor, "steps elements"]


class SetProcess(nn.Module):
    """Attends to a set for a number of steps: memories (B, N, D) to (B, 2D)."""

    def __init__(self, dim: int, steps: int, attention: str = "dot", *, scaled: bool = False) -> None:
        """
        Args:
            dim: the width D of a memory.
            steps: T; with 0 the summary is zeros, whatever the set.
            attention: ``"dot"``, or ``"additive"`` for a pointer's scores with weights of their own.
            scaled: dot products are divided by sqrt(D), which keeps wide ones from saturating; the paper's are not.

        Raises:
            InputError: a width below 1, fewer than no steps, or an unknown attention.
        """
        super().__init__()
        choose("attention", attention, ("dot", "additive"))
        if dim < 1 or steps < 0:
            raise InputError(f"dim must be at least 1 and steps at least 0, not {dim} and {steps}")
        self.dim, self.steps = dim, steps
        self.scale = dim**-0.5 if scaled else 1.0
        self.lstm = nn.LSTM(2 * dim, dim)  # it holds the weights, under the names that they have elsewhere; its kernel is for sequences
        self.head = PointerHead(dim, dim, dim) if attention == "additive" else None

    def forward(self, memory: Float[Tensor, "batch n dim"], mask: Bool[Tensor, "batch n"] | None = None) -> Processed:
        """Summarise padded sets.

        Args:
            memory: (B, N, D).
            mask: (B, N), True = an element; None where all are. A set may be empty: its read-out is zero.

        Raises:
            InputError: a wrong width, or a mask of another shape.
        """
        if memory.ndim != 3 or memory.shape[2] != self.dim:
            raise InputError(f"memories are (batch, n, {self.dim}), not {tuple(memory.shape)}")
        if mask is not None and mask.shape != memory.shape[:2]:
            raise InputError(f"the mask of {tuple(memory.shape[:2])} elements has that shape, not {tuple(mask.shape)}")
        batch, n, _ = memory.shape
        if mask is not None:
            memory = memory.masked_fill(~mask[..., None], 0.0)  # padding may hold anything, and zero times what is not a number is none
        weight, bias = self._gates()
        projected = self.head.project(memory) if self.head is not None else None
        hidden = None if mask is None else ~mask & mask.any(dim=1, keepdim=True)  # where there is nothing at all, no score may be -inf
        summary, cell = memory.new_zeros(batch, 2 * self.dim), memory.new_zeros(batch, self.dim)
        weights = []
        for _ in range(self.steps):
            query, cell = self._ask(F.linear(summary, weight, bias), cell)
            if self.head is not None and projected is not None:
                scores = self.head.attend(query[:, None], projected)[:, 0]
            else:
                scores = self.scale * torch.bmm(memory, query[:, :, None])[..., 0]
            attention = (scores if hidden is None else scores.masked_fill(hidden, float("-inf"))).softmax(dim=1)
            if mask is not None:
                attention = attention * mask
            weights.append(attention)
            summary = torch.cat((query, torch.bmm(attention[:, None], memory)[:, 0]), dim=1)
        return Processed(summary, torch.stack(weights, dim=1) if weights else memory.new_zeros(batch, 0, n))

    def from_index(self, x: Float[Tensor, "elements dim"], index: Int[Tensor, " elements"], num_sets: int | None = None) -> RaggedProcessed:
        """Summarise sets whose elements lie in one list, as graph libraries batch nodes.

        Args:
            x: (M, D), the memories of all sets.
            index: (M,), the set that each belongs to, in any order.
            num_sets: how many sets there are, S; None is the largest index and one. Empty sets at the end are known only through it.

        Raises:
            InputError: a wrong width or length, or an index outside of the sets.
        """
        if x.ndim != 2 or x.shape[1] != self.dim or index.shape != x.shape[:1]:
            raise InputError(
                f"elements are (count, {self.dim}) with one index each, not {tuple(x.shape)} with {tuple(index.shape)} indices"
            )
        low, high = (int(index.min()), int(index.max())) if len(index) else (0, -1)
        sets = high + 1 if num_sets is None else num_sets
        if low < 0 or high >= sets:
            raise InputError(f"the sets are numbered from 0 to {sets - 1}, and an index is {low if low < 0 else high}")
        weight, bias = self._gates()
        projected = self.head.project(x[:, None]) if self.head is not None else None
        summary, cell = x.new_zeros(sets, 2 * self.dim), x.new_zeros(sets, self.dim)
        weights = []
        for _ in range(self.steps):
            query, cell = self._ask(F.linear(summary, weight, bias), cell)
            if self.head is not None and projected is not None:
                scores = self.head.attend(query[index][:, None], projected)[:, 0, 0]
            else:
                scores = self.scale * (x * query[index]).sum(dim=1)
            highest = scores.detach().new_full((sets,), float("-inf")).scatter_reduce(0, index, scores.detach(), "amax")
            raised = (scores - highest[index]).exp()
            attention = raised / raised.new_zeros(sets).index_add(0, index, raised)[index]
            weights.append(attention)
            summary = torch.cat((query, torch.zeros_like(query).index_add(0, index, attention[:, None] * x)), dim=1)
        return RaggedProcessed(summary, torch.stack(weights) if weights else x.new_zeros(0, len(x)))

    def _gates(self) -> tuple[Tensor, Tensor]:
        """Of a step as one linear map of q*: the weights of the state are added to those of its copy in the input."""
        weight_ih, weight_hh, bias_ih, bias_hh = self.lstm.all_weights[0]
        return weight_ih + F.pad(weight_hh, (0, self.dim)), bias_ih + bias_hh

    @staticmethod
    def _ask(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        gate_in, keep, new, out = gates.chunk(4, dim=-1)
        cell = keep.sigmoid() * cell + gate_in.sigmoid() * new.tanh()
        return out.sigmoid() * cell.tanh(), cell
