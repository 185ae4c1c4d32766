r"""Programs of four instructions over a state of T columns (tokens) and R rows (channels), each of which one decoder layer can execute.

- ``mov``: rows of column s to rows of a column t >= s;
- ``mul``: in every column, rows read as an a x b matrix times rows read as b x c, to other rows;
- ``div``: in every column, rows divided by the magnitude of one row, to other rows;
- ``aff``: in every column, :math:`W_1 h_{i:j} + W_2 h_{i':j'} + b`.

Rows are half-open ranges (i, j); matrices lie row by row. `columns` restricts an instruction to some columns, and the others stay as they are. `Program.run` executes it with plain tensor operations in double precision: what the layers of
`ordinate.models.programs.compiler` are held against.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), section 3.1, appendix C.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["Affine", "Divide", "Instruction", "Move", "Multiply", "Program", "Rows"]

Rows = tuple[int, int]
"""A half-open range of rows."""


def _length(rows: Rows) -> int:
    return rows[1] - rows[0]


@dataclass(frozen=True)
class Instruction(ABC):
    """One step of a program.

    Attributes:
        target: the rows that it writes.
        columns: where.
        heads: how many a layer needs for it.
    """

    heads: ClassVar[int]
    target: Rows
    columns: tuple[int, ...]

    @abstractmethod
    def result(self, state: Float[Tensor, "batch columns rows"]) -> Float[Tensor, "batch some written"]:
        """What it writes into its columns.

        Raises:
            InputError: a divisor that is 0.
        """


@dataclass(frozen=True)
class Move(Instruction):
    """Rows of another column.

    Attributes:
        source: the rows that it reads.
        origins: the column that each of `columns` reads.
    """

    heads: ClassVar[int] = 3
    source: Rows
    origins: tuple[int, ...]

    def result(self, state: Float[Tensor, "batch columns rows"]) -> Float[Tensor, "batch some written"]:
        """The rows that are read."""
        return state[:, list(self.origins), slice(*self.source)]


@dataclass(frozen=True)
class Affine(Instruction):
    """A linear map of two ranges of rows, and a constant.

    Attributes:
        first, second: the ranges.
        W1, W2: (written, read) float64.
        b: (written,) float64.
    """

    heads: ClassVar[int] = 3
    first: Rows
    second: Rows
    W1: Tensor
    W2: Tensor
    b: Tensor

    def result(self, state: Float[Tensor, "batch columns rows"]) -> Float[Tensor, "batch some written"]:
        """W1 h + W2 h' + b."""
        read = state[:, list(self.columns)]
        return read[..., slice(*self.first)] @ self.W1.T + read[..., slice(*self.second)] @ self.W2.T + self.b


@dataclass(frozen=True)
class Multiply(Instruction):
    """A product of matrices.

    Attributes:
        shape: (a, b, c).
        left: rows that are an a x b matrix.
        right: rows that are a b x c matrix.
    """

    heads: ClassVar[int] = 2
    shape: tuple[int, int, int]
    left: Rows
    right: Rows

    def result(self, state: Float[Tensor, "batch columns rows"]) -> Float[Tensor, "batch some written"]:
        """The a x c product, row by row."""
        a, b, c = self.shape
        read = state[:, list(self.columns)]
        left = read[..., slice(*self.left)].unflatten(-1, (a, b))
        return (left @ read[..., slice(*self.right)].unflatten(-1, (b, c))).flatten(-2)


@dataclass(frozen=True)
class Divide(Instruction):
    """A quotient.

    Attributes:
        source: what is divided.
        divisor: the row by whose magnitude.
    """

    heads: ClassVar[int] = 4
    source: Rows
    divisor: int

    def result(self, state: Float[Tensor, "batch columns rows"]) -> Float[Tensor, "batch some written"]:
        """The quotients.

        Raises:
            InputError: a divisor that is 0.
        """
        read = state[:, list(self.columns)]
        by = read[..., self.divisor, None].abs()
        if not bool((by > 0).all()):
            raise InputError(f"row {self.divisor}, which is divided by, is 0 in one of the columns {list(self.columns)}")
        return read[..., slice(*self.source)] / by


class Program:
    """Instructions in order, on a state of `columns` tokens and `rows` channels. Each method appends one and returns the program."""

    def __init__(self, columns: int, rows: int, inputs: int) -> None:
        """
        Args:
            columns: T, the tokens of a state.
            rows: R, the channels.
            inputs: the first so many rows hold a token when the program starts; the others are 0.

        Raises:
            InputError: a number below 1, or more inputs than rows.
        """
        if min(columns, rows, inputs) < 1 or inputs > rows:
            raise InputError(
                f"a program has at least one column and one row, and no more inputs than rows, not {columns}, {rows} and {inputs}"
            )
        self.columns, self.rows, self.inputs = columns, rows, inputs
        self.instructions: list[Instruction] = []

    def mov(self, source: int, target: int, read: Rows, write: Rows) -> "Program":
        """Copy rows of one column into rows of the same or a later one.

        Raises:
            InputError: a column or row that there is not, ranges of different lengths, or a column of the future.
        """
        return self.shift({target: source}, read, write)

    def shift(self, origins: dict[int, int], read: Rows, write: Rows) -> "Program":
        """Copy rows into several columns at once, each from a column of its own: ``{t: t - 1 for t in range(1, T)}`` is the previous token.

        Raises:
            InputError: as `mov`.
        """
        self._check_same(read, write)
        for target, source in origins.items():
            self._check_columns((target, source))
            if source > target:
                raise InputError(f"column {target} cannot read column {source}, which lies in its future")
        return self._append(Move(write, tuple(origins), read, tuple(origins.values())))

    def aff(
        self,
        first: Rows,
        second: Rows,
        write: Rows,
        W1: Tensor,
        W2: Tensor,
        b: Tensor | None = None,
        *,
        columns: Sequence[int] | None = None,
    ) -> "Program":
        """W1 times the first rows, plus W2 times the second, plus b. What is written may be what is read.

        Args:
            first, second: rows that are read.
            write: rows that are written.
            W1, W2: (written, read).
            b: (written,), or None for 0.
            columns: where; None is everywhere.

        Raises:
            InputError: a column or row that there is not, or matrices that do not fit.
        """
        self._check_rows(first, second, write)
        wanted = [(_length(write), _length(first)), (_length(write), _length(second)), (_length(write),)]
        b = torch.zeros(_length(write)) if b is None else b
        if [tuple(each.shape) for each in (W1, W2, b)] != wanted:
            raise InputError(
                f"aff writes {_length(write)} rows from {_length(first)} and {_length(second)}: W1, W2 and b must have the shapes {wanted}"
            )
        return self._append(Affine(write, self._where(columns), first, second, W1.double(), W2.double(), b.double()))

    def mul(self, a: int, b: int, c: int, left: Rows, right: Rows, write: Rows, *, columns: Sequence[int] | None = None) -> "Program":
        """The a x b matrix in the left rows times the b x c matrix in the right ones.

        Raises:
            InputError: a column or row that there is not, ranges that do not have these sizes, or a result that overlaps what is read.
        """
        self._check_rows(left, right, write)
        if (_length(left), _length(right), _length(write)) != (a * b, b * c, a * c):
            raise InputError(
                f"mul of {a} x {b} by {b} x {c} reads {a * b} and {b * c} rows and writes {a * c}, not {_length(left)}, {_length(right)} and {_length(write)}"
            )
        self._check_apart(write, left, right)
        return self._append(Multiply(write, self._where(columns), (a, b, c), left, right))

    def div(self, read: Rows, divisor: int, write: Rows, *, columns: Sequence[int] | None = None) -> "Program":
        """Rows divided by the magnitude of the row `divisor`.

        Raises:
            InputError: a column or row that there is not, ranges of different lengths, a result that overlaps what is read, or a divisor that nothing has written, which can be 0.
        """
        self._check_same(read, write)
        self._check_rows((divisor, divisor + 1))
        self._check_apart(write, read, (divisor, divisor + 1))
        where = self._where(columns)
        written = {column for each in self.instructions if each.target[0] <= divisor < each.target[1] for column in each.columns}
        if not set(where) <= written:
            raise InputError(f"row {divisor} can be 0 where it is divided by: in column {min(set(where) - written)} nothing has written it")
        return self._append(Divide(write, where, read, divisor))

    def count(self) -> dict[str, int]:
        """How many `layers` (one an instruction), `rows`, `columns`, and `heads` (of the layer that has most) it takes."""
        heads = max((each.heads for each in self.instructions), default=0)
        return {"layers": len(self.instructions), "rows": self.rows, "columns": self.columns, "heads": heads}

    def begin(self, tokens: Float[Tensor, "batch columns inputs"]) -> Float[Tensor, "batch columns rows"]:
        """The state before the first instruction, float64.

        Raises:
            InputError: tokens of another number or width.
        """
        if tokens.ndim != 3 or tuple(tokens.shape[1:]) != (self.columns, self.inputs):
            raise InputError(f"this program runs on tokens (batch, {self.columns}, {self.inputs}), not {tuple(tokens.shape)}")
        return torch.nn.functional.pad(tokens.double(), (0, self.rows - self.inputs))

    def run(self, tokens: Float[Tensor, "batch columns inputs"]) -> Float[Tensor, "batch columns rows"]:
        """The state after the last instruction, by plain tensor operations in float64.

        Raises:
            InputError: tokens of another number or width, or a divisor that is 0.
        """
        state = self.begin(tokens)
        for each in self.instructions:
            result = each.result(state)
            state = state.clone()
            state[:, list(each.columns), slice(*each.target)] = result
        return state

    def _append(self, instruction: Instruction) -> "Program":
        self.instructions.append(instruction)
        return self

    def _where(self, columns: Sequence[int] | None) -> tuple[int, ...]:
        if columns is None:
            return tuple(range(self.columns))
        self._check_columns(columns)
        return tuple(sorted(set(columns)))

    def _check_columns(self, columns: Sequence[int]) -> None:
        if not columns or not all(0 <= column < self.columns for column in columns):
            raise InputError(f"there are columns 0 to {self.columns - 1}, not {list(columns)}")

    def _check_rows(self, *ranges: Rows) -> None:
        for start, stop in ranges:
            if not 0 <= start < stop <= self.rows:
                raise InputError(f"there are rows 0 to {self.rows}, and a range of them is not empty: not ({start}, {stop})")

    def _check_same(self, read: Rows, write: Rows) -> None:
        self._check_rows(read, write)
        if _length(read) != _length(write):
            raise InputError(f"{_length(read)} rows cannot be written into {_length(write)}")

    def _check_apart(self, write: Rows, *reads: Rows) -> None:
        for start, stop in reads:
            if start < write[1] and write[0] < stop:
                raise InputError(f"rows {write} are written while ({start}, {stop}) are read: they overlap, so choose others")
