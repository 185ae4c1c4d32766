r"""A program as a transformer: one decoder layer an instruction, its weights written down and not trained.

A layer is the paper's: softmax attention over the columns so far, then an MLP that reads the normalised stream,

.. math:: a = h + \mathrm{Attn}(h), \qquad h' = a + W_2\, \sigma(W_1\, \lambda(a) + b_1), \qquad \lambda = \mathrm{LayerNorm}.

The stream holds the program's R rows, a one-hot code of the column, a balance that keeps its sum at 0, and two pads, +N and -N. Before the columns stands one more whose rows are 0: an attention that is to read nothing attends to it.

*Attention* is made hard by logits of a large size between codes. What is linear is done by it alone: a head that attends from t to the column that t is to read (mov) or to t itself (aff) writes W h - (what stood there), so that the target is
replaced. Another head of every layer attends to itself and puts the pads back to ± N.

*The MLP* multiplies. With :math:`\sigma(z) = \sigma(0) + z/2 + \sigma''(0) z^2/2 + O(z^4)`, which GELU, SiLU and softplus all are,

.. math:: \frac{\sigma(\epsilon(x + y)) + \sigma(-\epsilon(x + y)) - \sigma(\epsilon(x - y)) - \sigma(-\epsilon(x - y))}{4\,\epsilon^2\,\sigma''(0)} = x y + O(\epsilon^2),

a product in four units; and :math:`\sigma(z) - \sigma(-z) = z`, so that what is linear passes exactly. In columns that are not to be written its units are silenced by a negative number.

*Normalisation* is passed through, since the pads dominate it: :math:`N \sqrt{2/H}\, \lambda(v)_k = v_k + O(|v|^2/N^2)` for a stream whose mean is 0. It divides when a head replaces the pads by ± N c: what passes is then :math:`v / |c|`.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), section 3.1 and appendix C, where the product takes three units and linear parts pass by :math:`\sigma(N + x) - N`.
"""

import math
from collections.abc import Callable
from functools import singledispatch

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError, choose
from ordinate.models.programs.program import Affine, Divide, Instruction, Move, Multiply, Program

__all__ = ["CURVATURES", "ConstructedTransformer", "DecoderLayer", "compile_program"]

CURVATURES = {"gelu": math.sqrt(2 / math.pi), "silu": 0.5, "softplus": 0.25}
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "silu": F.silu, "softplus": F.softplus}
_HARD = 2e3  # exp(-2000) is 0 in double precision
_SILENT = 100.0  # an activation at minus this is 0 beside a product's 1 / eps²


class DecoderLayer(nn.Module):
    """Softmax attention of several heads, and an MLP behind a normalisation without scales; weights are buffers, in float64."""

    query: Tensor
    key: Tensor
    value: Tensor
    expand: Tensor
    bias: Tensor
    contract: Tensor

    def __init__(self, query: Tensor, key: Tensor, value: Tensor, expand: Tensor, bias: Tensor, contract: Tensor, activation: str) -> None:
        """
        Args:
            query, key: (heads, codes, H).
            value: (heads, H, H), values and their output map in one.
            expand: (inner, H).
            bias: (inner,).
            contract: (H, inner).
            activation: one of `CURVATURES`.
        """
        super().__init__()
        weights = {"query": query, "key": key, "value": value, "expand": expand, "bias": bias, "contract": contract}
        for name, weight in weights.items():
            self.register_buffer(name, weight)
        self.norm = nn.LayerNorm(value.shape[-1], elementwise_affine=False)
        self.activation = activation

    def forward(self, h: Float[Tensor, "batch columns hidden"]) -> Float[Tensor, "batch columns hidden"]:
        """The stream after the layer."""
        q, k, v = (torch.einsum("btc,hkc->bhtk", h, weight) for weight in (self.query, self.key, self.value))
        h = h + F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0).sum(dim=1)
        return h + F.linear(_ACTIVATIONS[self.activation](F.linear(self.norm(h), self.expand, self.bias)), self.contract)


class ConstructedTransformer(nn.Module):
    """Runs a program in layers of a decoder: `ConstructedTransformer(program)(tokens)` is `program.run(tokens)`, but for rounding and the curvature of products."""

    def __init__(self, program: Program, *, N: float = 3e6, eps: float = 3e-6, activation: str = "gelu") -> None:
        """
        Args:
            program: what it runs.
            N: the size of the pads, beside which a state's numbers vanish: they are seen with a relative error of |v|² / 4N², and an absolute one of about 1e-16 N.
            eps: the scale of the factors of a product, whose relative error is about eps² (x² + y²) / 6, and whose rounding 1 / eps magnifies; softplus, which is not 0 at 0, wants some 3e-4.
            activation: of the MLP: ``"gelu"``, ``"silu"`` or ``"softplus"``.

        Raises:
            InputError: no instruction, an unknown activation, or a number that is not positive.
        """
        super().__init__()
        choose("activation with which products can be made", activation, CURVATURES)
        if not program.instructions:
            raise InputError("the program has no instruction")
        if not (0 < N < math.inf and 0 < eps < math.inf):
            raise InputError(f"N and eps must be positive, not {N} and {eps}")
        self.program, self.N = program, N
        frame = _Frame(program, N, eps, activation)
        self.hidden = frame.hidden
        self.layers = nn.ModuleList(frame.layer(instruction) for instruction in program.instructions)

    def forward(self, tokens: Float[Tensor, "batch columns inputs"]) -> Float[Tensor, "batch columns rows"]:
        """The state after the last layer, float64.

        Raises:
            InputError: tokens of another number or width than the program's.
        """
        state = self.program.begin(tokens)
        columns, rows = state.shape[1:]
        h = F.pad(state, (0, self.hidden - rows, 1, 0))
        h[:, :, rows : rows + columns + 1] = torch.eye(columns + 1, dtype=h.dtype, device=h.device)
        h[:, :, -3] = -h.sum(dim=-1)
        h[:, :, -2], h[:, :, -1] = self.N, -self.N
        for layer in self.layers:
            h = layer(h)
        return h[:, 1:, :rows]


def compile_program(program: Program, *, N: float = 3e6, eps: float = 3e-6, activation: str = "gelu") -> ConstructedTransformer:
    """The transformer that runs a program. See `ConstructedTransformer`.

    Raises:
        InputError: as there.
    """
    return ConstructedTransformer(program, N=N, eps=eps, activation=activation)


class _Frame:
    """Where things lie in the stream, and the weights that every layer has."""

    def __init__(self, program: Program, N: float, eps: float, activation: str) -> None:
        self.rows, self.columns, self.N, self.eps, self.activation = program.rows, program.columns, N, eps, activation
        self.hidden = self.rows + self.columns + 1 + 1 + 2
        self.gain = N * math.sqrt(2 / self.hidden)

    def zeros(self, *shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=torch.float64)

    def code(self, column: int) -> int:
        """The channel that is 1 in a column; in the empty one before them, that of -1."""
        return self.rows + 1 + column

    def attend(self, origins: dict[int, int]) -> tuple[Tensor, Tensor]:
        """Query and key maps (codes, H) of a head that attends from each column to its origin, and from all others to the empty column."""
        query, key = self.zeros(self.columns + 1, self.hidden), self.zeros(self.columns + 1, self.hidden)
        for column in range(-1, self.columns):
            query[origins.get(column, -1) + 1, self.code(column)] = _HARD
            key[column + 1, self.code(column)] = 1
        return query, key

    def constant(self) -> Tensor:
        """A functional of the stream that is 1 in every column but the empty one."""
        one = self.zeros(self.hidden)
        one[self.code(0) : self.code(self.columns)] = 1
        return one

    def restore(self) -> tuple[Tensor, Tensor, Tensor]:
        """The head that puts the pads back to ± N; the empty column's are never touched."""
        value = self.zeros(self.hidden, self.hidden)
        value[-2], value[-1] = self.N * self.constant(), -self.N * self.constant()
        value[-2, -2] = value[-1, -1] = -1
        # The empty column, at which heads look that have nothing to read, has pads too: it gives N - N.
        value[-2, self.code(-1)], value[-1, self.code(-1)] = self.N, -self.N
        return (*self.attend({column: column for column in range(self.columns)}), value)

    def seen(self, functional: Tensor) -> Tensor:
        """A functional of the stream as one of the normalised stream."""
        return functional * self.gain

    def erase(self, instruction: Instruction) -> tuple[Tensor, Tensor, Tensor]:
        """A head that takes off what stands in the target."""
        value = self.zeros(self.hidden, self.hidden)
        for row in range(*instruction.target):
            value[row, row] = -1
        return (*self.attend({column: column for column in instruction.columns}), value)

    def silence(self, instruction: Instruction) -> Tensor:
        """A functional that is hugely negative in the columns that are not to be written, and 0 in the others."""
        loud = self.zeros(self.hidden)
        for column in set(range(-1, self.columns)) - set(instruction.columns):
            loud[self.code(column)] = -_SILENT
        return loud

    def layer(self, instruction: Instruction) -> DecoderLayer:
        heads, units = _weights(instruction, self)
        heads = [self.restore(), *heads]
        expand = torch.stack([unit for unit, _ in units]) if units else self.zeros(1, self.hidden)
        contract = torch.stack([written for _, written in units], dim=1) if units else self.zeros(self.hidden, 1)
        query, key, value = (torch.stack(each) for each in zip(*heads, strict=True))
        # Whatever is written is taken off the balance.
        value[:, -3] -= value.sum(dim=1)
        contract[-3] -= contract.sum(dim=0)
        return DecoderLayer(query, key, value, expand, self.zeros(len(expand)), contract, self.activation)


Head = tuple[Tensor, Tensor, Tensor]
Unit = tuple[Tensor, Tensor]
"""What a unit of the MLP reads of the normalised stream (H,), and what it writes (H,)."""


@singledispatch
def _weights(instruction: Instruction, frame: _Frame) -> tuple[list[Head], list[Unit]]:
    raise TypeError(f"no layer is known for {type(instruction).__name__}")


@_weights.register
def _(instruction: Move, frame: _Frame) -> tuple[list[Head], list[Unit]]:
    value = frame.zeros(frame.hidden, frame.hidden)
    for read, write in zip(range(*instruction.source), range(*instruction.target), strict=True):
        value[write, read] = 1
    origins = dict(zip(instruction.columns, instruction.origins, strict=True))
    return [frame.erase(instruction), (*frame.attend(origins), value)], []


@_weights.register
def _(instruction: Affine, frame: _Frame) -> tuple[list[Head], list[Unit]]:
    value = frame.zeros(frame.hidden, frame.hidden)
    write = slice(*instruction.target)
    value[write, slice(*instruction.first)] += instruction.W1
    value[write, slice(*instruction.second)] += instruction.W2
    value[write] += instruction.b[:, None] * frame.constant()
    return [frame.erase(instruction), (*frame.attend({column: column for column in instruction.columns}), value)], []


@_weights.register
def _(instruction: Multiply, frame: _Frame) -> tuple[list[Head], list[Unit]]:
    a, b, c = instruction.shape
    (left, _), (right, _), (write, _) = instruction.left, instruction.right, instruction.target
    loud = frame.seen(frame.silence(instruction))
    scale = 1 / (4 * frame.eps**2 * CURVATURES[frame.activation])
    units: list[Unit] = []
    for row in range(a):
        for column in range(c):
            written = frame.zeros(frame.hidden)
            written[write + row * c + column] = scale
            for inner in range(b):
                for sign in (1, -1):
                    read = frame.zeros(frame.hidden)
                    read[left + row * b + inner] += frame.eps
                    read[right + inner * c + column] += sign * frame.eps
                    units += [(frame.seen(read) + loud, sign * written), (frame.seen(-read) + loud, sign * written)]
    return [frame.erase(instruction)], units


@_weights.register
def _(instruction: Divide, frame: _Frame) -> tuple[list[Head], list[Unit]]:
    value = frame.zeros(frame.hidden, frame.hidden)
    # On top of the pads put back: ± N becomes ± N c.
    value[-2], value[-1] = -frame.N * frame.constant(), frame.N * frame.constant()
    value[-2, instruction.divisor] += frame.N
    value[-1, instruction.divisor] -= frame.N
    ahead = frame.zeros(frame.hidden, frame.hidden)
    units: list[Unit] = []
    for read, write in zip(range(*instruction.source), range(*instruction.target), strict=True):
        functional, written = frame.zeros(frame.hidden), frame.zeros(frame.hidden)
        functional[read], written[write] = 1, 1
        units += [(frame.seen(functional), written), (frame.seen(-functional), -written)]
        ahead[write, read] = -1
    chosen = {column: column for column in instruction.columns}
    others = {column: column for column in range(frame.columns) if column not in chosen}
    # In the other columns the pads are ± N, and the MLP will write what it reads: a head takes it off beforehand.
    return [frame.erase(instruction), (*frame.attend(chosen), value), (*frame.attend(others), ahead)], units
