r"""A transformer built by hand that computes a representation and learns from it in context: online ridge regression on :math:`\tilde\Phi(x)` by gradient descent, at all tokens in parallel.

The decoder has ReLU attention averaged over the past, and a ReLU MLP, each added to its input:

.. math:: h_t \leftarrow h_t + \sum_m \frac1t \sum_{s \le t} \mathrm{ReLU}(\langle Q_m h_t, K_m h_s\rangle)\, V_m h_s, \qquad h_t \leftarrow h_t + W_2\,\mathrm{ReLU}(W_1 h_t).

Tokens t = 1, 2, ... are x_1, y_1, x_2, y_2, ... A state has the rows

    x (d) · y (1) · features (D) · copied features (D) · weights (D) · read weights (D) · answer (1) · 1, t, t^2, t^3

and the blocks are

- L MLPs that compute :math:`\tilde\Phi` into the features; at y tokens, whose x is 0, they stay 0, since there are no biases;
- one attention of two heads that copies the features of the token before: with integer t, :math:`\mathrm{ReLU}(t(s - t + 2)) - 2\,\mathrm{ReLU}(t(s - t + 1))` is t at s = t - 1 and 0 elsewhere, and the average takes the t off;
- one attention of three heads a step of gradient descent. Two of them are the parts of the residual: :math:`\mathrm{ReLU}(r) - \mathrm{ReLU}(-r) = r = \langle w_t, \Phi_s\rangle - y_s`, which is 0 at x tokens. The third finds the token itself
  and shrinks its weights. At :math:`y_{i-1}`, t = 2 (i - 1), so that the average is that of

  .. math:: \frac{1}{2(i-1)} \sum_{j<i} (\langle w, \tilde\Phi(x_j)\rangle - y_j)^2 + \frac\lambda2 \lVert w\rVert^2;

- one attention that reads, at x_i, the weights of the token before, and one that multiplies: :math:`\mathrm{ReLU}(\pm\langle t w, \tilde\Phi_s\rangle - M t (t - s))` leaves s = t alone for a large M.

Everything is exact but for the steps of gradient descent, whose error falls by :math:`1 - 1/\kappa` each, :math:`\kappa = 1 + B^2/\lambda` where :math:`\lVert\tilde\Phi\rVert \le B`. That is L + steps + 3 blocks of at most three
heads, of width 4D + d + 6.

Source: Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), Theorem 1, which has L + O(kappa log(1/eps)) blocks of at most five heads and width 2D + d + 10: it lets rows be used again, and these are
kept apart so that they can be looked at.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.nn.fixed_representation import FixedRepresentation

__all__ = ["Head", "ReLUBlock", "RidgeTransformer", "StateRows", "ridge_transformer"]


class Head(NamedTuple):
    """Matrices of one head of ReLU attention: Q and K (inner, width), V (width, width)."""

    Q: Tensor
    K: Tensor
    V: Tensor


class ReLUBlock(nn.Module):
    """ReLU attention averaged over the past, then a ReLU MLP: (B, T, width) -> (B, T, width)."""

    def __init__(self, heads: Sequence[Head] = (), mlp: tuple[Tensor, Tensor] | None = None) -> None:
        """
        Args:
            heads: none leaves the attention out.
            mlp: W_1 (inner, width) and W_2 (width, inner); None leaves the MLP out.
        """
        super().__init__()
        self.heads = nn.ModuleList()
        for head in heads:
            self.heads.append(nn.ParameterList([nn.Parameter(matrix) for matrix in head]))
        self.mlp = nn.ParameterList([nn.Parameter(matrix) for matrix in mlp or ()])

    def forward(self, h: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        """Both branches, each added to what it reads."""
        if len(self.heads):
            time = h.shape[1]
            average = torch.ones(time, time, dtype=h.dtype, device=h.device).tril() / torch.arange(1, time + 1, device=h.device)[:, None]
            mixed = torch.zeros_like(h)
            for Q, K, V in cast(Iterable[tuple[Tensor, Tensor, Tensor]], self.heads):
                mixed = mixed + (average * F.relu((h @ Q.mT) @ (h @ K.mT).mT)) @ h @ V.mT
            h = h + mixed
        if len(self.mlp):
            first, second = self.mlp
            h = h + F.relu(h @ first.mT) @ second.mT
        return h


class StateRows(NamedTuple):
    """Where in a state each thing stands."""

    x: slice
    y: slice
    features: slice
    copied: slice
    weights: slice
    read: slice
    answer: slice
    place: slice

    @classmethod
    def of(cls, d: int, D: int) -> "StateRows":
        """The rows one after another."""
        ends, rows = 0, []
        for size in (d, 1, D, D, D, D, 1, 4):
            rows.append(slice(ends, ends + size))
            ends += size
        return cls(*rows)

    @property
    def width(self) -> int:
        """4D + d + 6."""
        return int(self.place.stop)


class RidgeTransformer(nn.Module):
    """What `ridge_transformer` builds.

    Attributes:
        blocks: the blocks, each an ordinary module that can be looked into.
        rows: where in a state each thing stands.
    """

    def __init__(self, blocks: Sequence[ReLUBlock], rows: StateRows) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.rows = rows

    def embed(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch twice_n width"]:
        """States before the first block."""
        rows = self.rows
        if x.shape[-1] != rows.x.stop:
            raise InputError(f"this transformer was built for inputs of width {rows.x.stop}, not {x.shape[-1]}")
        batch, n = y.shape
        h = x.new_zeros(batch, 2 * n, rows.width)
        h[:, 0::2, rows.x] = x
        h[:, 1::2, rows.y] = y[..., None]
        t = torch.arange(1, 2 * n + 1, dtype=x.dtype, device=x.device)
        h[:, :, rows.place] = torch.stack([torch.ones_like(t), t, t**2, t**3], dim=-1)
        return h

    def forward(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        """The prediction of each y_i from x_i and the examples before it; 0 for the first.

        Args:
            x: (B, n, d), in the dtype that it was built in.
            y: (B, n).

        Raises:
            InputError: x has another width.
        """
        h = self.embed(x, y)
        for block in self.blocks:
            h = block(h)
        return h[:, 0::2, self.rows.answer][..., 0]


class _Matrices:
    """Maps between rows of a state, each written as a few blocks."""

    def __init__(self, rows: StateRows, dtype: torch.dtype) -> None:
        self.rows, self.dtype = rows, dtype

    def zeros(self, rows: int) -> Tensor:
        return torch.zeros(rows, self.rows.width, dtype=self.dtype)

    def read(self, source: slice, scale: float = 1.0) -> Tensor:
        """The rows `source` of a state, scaled."""
        size = source.stop - source.start
        matrix = self.zeros(size)
        matrix[:, source] = scale * torch.eye(size, dtype=self.dtype)
        return matrix

    def polynomial(self, *coefficients: float) -> Tensor:
        """c_0 + c_1 t + c_2 t^2 + c_3 t^3, one row."""
        matrix = self.zeros(1)
        matrix[0, self.rows.place] = torch.tensor([*coefficients, *[0.0] * (4 - len(coefficients))], dtype=self.dtype)
        return matrix

    def move(self, source: slice, target: slice, scale: float = 1.0) -> Tensor:
        """From the rows `source` to the rows `target`."""
        matrix = self.zeros(self.rows.width)
        matrix[target, source] = scale * torch.eye(target.stop - target.start, dtype=self.dtype)
        return matrix


def _evaluate(parts: _Matrices, matrix: Tensor, source: slice, rho: float) -> tuple[Tensor, Tensor]:
    """An MLP that writes s(B source) over the features."""
    features, width, D = parts.rows.features, parts.rows.width, len(matrix)
    new, old = matrix @ parts.read(source), parts.read(features)
    back = torch.zeros(width, 4 * D, dtype=parts.dtype)
    identity = torch.eye(D, dtype=parts.dtype)
    back[features] = torch.cat([identity, -rho * identity, -identity, identity], dim=1)
    return torch.cat([new, -new, old, -old]), back


def _from_the_token_before(parts: _Matrices, V: Tensor, power: int) -> list[Head]:
    """Two heads that add t^(power - 1) V h_{t-1} to h_t."""
    key = torch.cat([parts.polynomial(0, 1), parts.polynomial(1)])  # s, 1
    heads = []
    for ahead, sign in ((2, 1.0), (1, -2.0)):  # t^power (s - t + ahead)
        low, high = [0.0] * power + [1.0], [0.0] * power + [float(ahead), -1.0]
        heads.append(Head(torch.cat([parts.polynomial(*low), parts.polynomial(*high)]), key, sign * V))
    return heads


def _descend(parts: _Matrices, rate: float, lam: float) -> list[Head]:
    rows = parts.rows
    residual_key = torch.cat([parts.read(rows.copied), parts.read(rows.y, -1.0)])
    query = torch.cat([parts.read(rows.weights), parts.polynomial(1)])
    step = parts.move(rows.copied, rows.weights, -2 * rate)  # 2 (i - 1) tokens hold i - 1 examples
    itself = Head(
        torch.cat([parts.polynomial(0, 1), parts.polynomial(0, 1, -1)]),  # t (s - t + 1)
        torch.cat([parts.polynomial(0, 1), parts.polynomial(1)]),
        parts.move(rows.weights, rows.weights, -rate * lam),
    )
    return [Head(query, residual_key, step), Head(-query, residual_key, -step), itself]


def _multiply(parts: _Matrices, bound: float) -> list[Head]:
    rows = parts.rows
    away = torch.cat([parts.polynomial(0, bound), parts.polynomial(0, 0, -bound)])  # M t (s - t)
    key = torch.cat([parts.read(rows.features), parts.polynomial(0, 1), parts.polynomial(1)])
    heads = []
    for sign in (1.0, -1.0):
        V = torch.zeros(rows.width, rows.width, dtype=parts.dtype)
        V[rows.answer, rows.place.start] = sign
        heads.append(Head(torch.cat([parts.read(rows.read, sign), away]), key, V))
    return heads


def ridge_transformer(
    phi: FixedRepresentation,
    lam: float,
    steps: int,
    *,
    radius: float = 1.0,
    bound: float = 1e4,
    dtype: torch.dtype = torch.float64,
) -> RidgeTransformer:
    r"""Build the transformer.

    Args:
        phi: a leaky-ReLU representation that is not scaled to unit length.
        lam: :math:`\lambda` of the objective that is averaged over examples: its ridge regression has the penalty (i - 1) lam.
        steps: of gradient descent, at the rate 1 / (radius² + lam).
        radius: B, a bound on the length of :math:`\tilde\Phi(x)`; at most that of x, since the matrices are orthogonal. Beyond it the descent may diverge.
        bound: M, a bound on :math:`|\langle w, \tilde\Phi\rangle|` for all pairs of tokens.
        dtype: of the weights; positions enter by their cubes, so that float32 is not enough for long prompts.

    Raises:
        InputError: a representation that this transformer cannot compute, or a number out of range.
    """
    if phi.normalize or phi.rho is None:
        raise InputError("a ReLU MLP computes leaky-ReLU representations that are not scaled: FixedRepresentation(..., normalize=False)")
    if lam < 0 or steps < 1 or radius <= 0 or bound <= 0:
        raise InputError(f"lam must be 0 or more, steps at least 1, radius and bound positive, not {lam}, {steps}, {radius} and {bound}")
    rows = StateRows.of(phi.d, phi.D)
    parts = _Matrices(rows, dtype)
    rate = 1 / (radius**2 + lam)
    blocks = [
        ReLUBlock(mlp=_evaluate(parts, matrix.to(dtype), rows.features if layer else rows.x, phi.rho))
        for layer, matrix in enumerate(phi.matrices)
    ]
    blocks.append(ReLUBlock(_from_the_token_before(parts, parts.move(rows.features, rows.copied), power=1)))
    blocks += [ReLUBlock(_descend(parts, rate, lam)) for _ in range(steps)]
    blocks.append(ReLUBlock(_from_the_token_before(parts, parts.move(rows.weights, rows.read), power=2)))
    blocks.append(ReLUBlock(_multiply(parts, bound)))
    return RidgeTransformer(blocks, rows)
