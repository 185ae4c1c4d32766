r"""Two learning algorithms as programs: stochastic gradient descent, and ridge regression by Sherman and Morrison's update. Columns are the tokens x_1, y_1, ..., x_n, y_n of a prompt (``label-first``).

Both carry what they have learnt from column to column and predict at every :math:`x_i` from the pairs before it.

- `sgd_program`, O(d) rows and six layers an example: in the column of :math:`y_i`, :math:`w \leftarrow w - 2a\,\bigl(x_i (w \cdot x_i - y_i) + \lambda w\bigr)`, starting from 0;
- `ridge_program`, O(d²) rows and thirteen layers an example: :math:`A^{-1} \leftarrow A^{-1} - u v / (1 + v x_i)` with :math:`u = A^{-1} x_i`, :math:`v = x_i^\top A^{-1}`; :math:`b \leftarrow b + x_i y_i`; :math:`w = A^{-1} b`, starting from
  :math:`A^{-1} = I / \lambda`.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), theorems 1 and 2 and appendices C and D. (The listing there takes lambda w off where the update adds it; this is the update.)
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.models.programs.program import Program, Rows

__all__ = ["Learner", "ridge_program", "sgd_program"]


class Learner:
    """A program that learns from a prompt.

    Attributes:
        program: what it does.
        prediction: the row in which it leaves its prediction, in the columns of inputs.
        weights: the rows in which it leaves its weights there.
    """

    def __init__(self, program: Program, prediction: int, weights: Rows) -> None:
        self.program, self.prediction, self.weights = program, prediction, weights

    def predict(
        self, tokens: Float[Tensor, "batch columns width"], run: Callable[[Tensor], Tensor] | None = None
    ) -> Float[Tensor, "batch n"]:
        """Its predictions of the labels of a prompt, each from the pairs before it.

        Args:
            tokens: (B, 2n, d + 1), label-first; the last label is not read.
            run: what runs the program: a `ConstructedTransformer`; None runs it by tensor operations.

        Raises:
            InputError: tokens of another number or width.
        """
        return (run or self.program.run)(tokens)[:, ::2, self.prediction]

    def learnt(
        self, tokens: Float[Tensor, "batch columns width"], run: Callable[[Tensor], Tensor] | None = None
    ) -> Float[Tensor, "batch n d"]:
        """Its weights before each pair. See `predict`.

        Raises:
            InputError: tokens of another number or width.
        """
        return (run or self.program.run)(tokens)[:, ::2, slice(*self.weights)]


def _check(d: int, n: int, penalty: float, least: float) -> None:
    if min(d, n) < 1:
        raise InputError(f"a prompt has d and n of at least 1, not {d} and {n}")
    if not (math.isfinite(penalty) and penalty >= least):
        raise InputError(f"the penalty must be {'positive' if least else '0 or more'}, not {penalty}")


def _layout(*sizes: int) -> list[Rows]:
    """Ranges of rows one after another."""
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return [(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def sgd_program(d: int, n: int, rate: float, penalty: float = 0.0) -> Learner:
    """One pass of stochastic gradient descent.

    Args:
        d: numbers of an input.
        n: pairs.
        rate: a.
        penalty: lambda.

    Raises:
        InputError: a number out of range.
    """
    _check(d, n, penalty, 0.0)
    if not (math.isfinite(rate) and rate > 0):
        raise InputError(f"the rate must be positive, not {rate}")
    y, x, w, p, r, g = _layout(1, d, d, 1, 1, d)
    program = Program(2 * n, g[1], d + 1)
    eye, one = torch.eye(d, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    for i in range(n):
        here, label = 2 * i, 2 * i + 1
        last = i == n - 1
        if not last:
            program.mov(here, label, (x[0], w[1]), (x[0], w[1]))
        program.mul(1, d, 1, w, x, p, columns=(here,) if last else (here, label))
        if not last:
            program.aff(p, y, r, one, -one, columns=(label,))
            program.mul(d, 1, 1, x, r, g, columns=(label,))
            program.aff(w, g, w, (1 - 2 * rate * penalty) * eye, -2 * rate * eye, columns=(label,))
            program.mov(label, label + 1, w, w)
    return Learner(program, p[0], w)


def ridge_program(d: int, n: int, penalty: float) -> Learner:
    """Ridge regression, one rank-one update an example.

    Args:
        d: numbers of an input.
        n: pairs.
        penalty: lambda, positive.

    Raises:
        InputError: a number out of range.
    """
    _check(d, n, penalty, math.ulp(0.0))
    y, x, A, b, w, u, v, s, den, uv, q, g, p = _layout(1, d, d * d, d, d, d, d, 1, 1, d * d, d * d, d, 1)
    program, one = Program(2 * n, p[1], d + 1), torch.ones(1, 1)
    square, line = torch.eye(d * d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    program.aff(A, A, A, 0 * square, 0 * square, line.flatten() / penalty, columns=(0,))
    for i in range(n):
        here, label = 2 * i, 2 * i + 1
        program.mul(1, d, 1, w, x, p, columns=(here,))
        if i == n - 1:
            break
        at = (label,)
        program.mov(here, label, (x[0], b[1]), (x[0], b[1]))
        program.mul(d, d, 1, A, x, u, columns=at)
        program.mul(1, d, d, x, A, v, columns=at)
        program.mul(1, d, 1, v, x, s, columns=at)
        program.aff(s, s, den, one, 0 * one, torch.ones(1), columns=at)
        program.mul(d, 1, d, u, v, uv, columns=at)
        program.div(uv, den[0], q, columns=at)
        program.aff(A, q, A, square, -square, columns=at)
        program.mul(d, 1, 1, x, y, g, columns=at)
        program.aff(b, g, b, line, line, columns=at)
        program.mul(d, d, 1, A, b, w, columns=at)
        program.mov(label, label + 1, (A[0], w[1]), (A[0], w[1]))
    return Learner(program, p[0], w)
