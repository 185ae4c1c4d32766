r"""A linear representation shared by tasks, by alternating least squares on their moments.

.. math:: \min_{B, W} \sum_t \lVert X_t B w_t - y_t \rVert^2 + \rho \lVert B w_t \rVert^2, \qquad B \in \mathbb{R}^{d \times K},\; W = [w_1 \dots w_T].

- **Heads** given B: :math:`w_t = (B^\top A_t B)^{-1} B^\top b_t`, with :math:`A_t = X_t^\top X_t + \rho I` and :math:`b_t = X_t^\top y_t`.
- **B** given the heads: :math:`\sum_t A_t B\, w_t w_t^\top = \sum_t b_t w_t^\top`, one system of dK unknowns whose matrix is :math:`\sum_t (w_t w_t^\top) \otimes A_t`; conjugate gradients where that is too large to be written down.
- B is then made orthonormal, :math:`B = QR`, :math:`W \leftarrow R W`, which changes no prediction. The penalty is one of predictions' coefficients and does not change either, so that no step raises the objective.

It starts from the leading left singular vectors of the tasks' own ridge solutions, weighted by :math:`\sqrt{n_t}`. The data are seen once, in their moments.

Source: the joint empirical risk minimisation of Du et al., "Few-shot learning via learning the representation, provably" (ICLR 2021), and Wang et al., "Improved active multi-task representation learning via Lasso" (ICML 2023);
how it is minimised is left open there.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.models.task_moments import TaskMoments

__all__ = ["LinearRepresentation", "fit_representation"]

_MOST_DIRECT = 2_000  # unknowns of B up to which its system is factorised
_CG_STEPS = 200
_CG_PRECISION = 1e-10


@dataclass(frozen=True)
class LinearRepresentation:
    """What was found.

    Attributes:
        B: (d, K), orthonormal columns.
        W: (K, T) heads; zero for a task without samples.
        losses: the objective after every round.
    """

    B: Float64[Tensor, "inputs features"]
    W: Float64[Tensor, "features tasks"]
    losses: list[float]


def fit_representation(
    moments: TaskMoments,
    rank: int,
    *,
    rounds: int = 50,
    tolerance: float = 1e-8,
    ridge: float = 1e-9,
    start: Float64[Tensor, "inputs features"] | None = None,
    direct: bool | None = None,
) -> LinearRepresentation:
    """Alternate until the objective falls by less than `tolerance` of itself in a round.

    Args:
        moments: of the tasks' samples.
        rank: K.
        rounds: the most there may be.
        tolerance: see above.
        ridge: rho in units of the mean square of an input summed over a task's samples, averaged over tasks.
        start: (d, K) to start from in place of the spectral start.
        direct: whether the system of B is factorised; by default where dK is at most 2,000.

    Raises:
        InputError: a rank that is not from 1 to the number of inputs, no samples at all, or a start of another shape.
    """
    if not 1 <= rank <= moments.features:
        raise InputError(f"a representation of {moments.features} inputs has 1 to {moments.features} features, not {rank}")
    if not int(moments.count.sum()):
        raise InputError("a representation is learnt from samples, and there are none")
    if start is not None and start.shape != (moments.features, rank):
        raise InputError(f"the start is ({moments.features}, {rank}), not {tuple(start.shape)}")
    penalty = ridge * float(moments.gram.diagonal(dim1=1, dim2=2).mean())
    gram = moments.gram + penalty * torch.eye(moments.features, dtype=torch.float64)
    B = _spectral(moments, gram, rank) if start is None else torch.linalg.qr(start.double()).Q
    W, loss = _heads(moments, gram, B)
    losses = [loss]
    step = _factorised if (moments.features * rank <= _MOST_DIRECT if direct is None else direct) else _conjugate
    for _ in range(rounds):
        B, _ = torch.linalg.qr(step(gram, moments.cross, B, W))
        W, loss = _heads(moments, gram, B)
        losses.append(loss)
        if losses[-2] - loss <= tolerance * losses[-2]:
            break
    return LinearRepresentation(B, W, losses)


def _spectral(moments: TaskMoments, gram: Tensor, rank: int) -> Tensor:
    seen = moments.count > 0
    count = moments.count[seen].double()
    # a ridge that is of use to tasks with fewer samples than inputs: one sample's worth
    scale = moments.gram[seen].diagonal(dim1=1, dim2=2).mean(dim=1) / count
    ridged = gram[seen] + (scale + 1e-12)[:, None, None] * torch.eye(moments.features, dtype=torch.float64)
    solutions = torch.linalg.solve(ridged, moments.cross[seen][:, :, None])[:, :, 0]
    vectors = torch.linalg.svd((solutions * count.sqrt()[:, None]).mT, full_matrices=True).U
    return vectors[:, :rank]


def _heads(moments: TaskMoments, gram: Tensor, B: Tensor) -> tuple[Tensor, float]:
    small = B.mT @ (gram @ B)
    right = moments.cross @ B
    # a task without samples has nothing but the penalty, which may be zero
    empty = (moments.count == 0).double()[:, None, None] * torch.eye(B.shape[1], dtype=torch.float64)
    W = _solve(small + empty, right[:, :, None])[:, :, 0]
    return W.mT, max(0.0, float(moments.square.sum() - (W * right).sum()))


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    factor, wrong = torch.linalg.cholesky_ex(matrix)
    if bool((wrong == 0).all()):
        return torch.cholesky_solve(right, factor)
    return torch.linalg.lstsq(matrix, right, driver="gelsd").solution  # fewer samples than features, and no ridge: the smallest solution


def _factorised(gram: Tensor, cross: Tensor, B: Tensor, W: Tensor) -> Tensor:
    (d, K), T = B.shape, W.shape[1]
    pairs = (W[:, None] * W[None]).view(K * K, T)
    matrix = (pairs @ gram.view(T, d * d)).view(K, K, d, d).transpose(1, 2).reshape(K * d, K * d)
    right = (W @ cross).reshape(K * d, 1)
    return _solve(matrix, right).view(K, d).mT


def _conjugate(gram: Tensor, cross: Tensor, B: Tensor, W: Tensor) -> Tensor:
    def apply(candidate: Tensor) -> Tensor:
        return torch.einsum("tij,jt->it", gram, candidate @ W) @ W.mT

    right = cross.mT @ W.mT
    scale = (gram.diagonal(dim1=1, dim2=2).mT @ W.square().mT).clamp(min=1e-300)
    residual = right - apply(B)
    enough = _CG_PRECISION * float(right.norm())
    direction = residual / scale
    energy = (residual * direction).sum()
    for _ in range(_CG_STEPS):
        if float(residual.norm()) <= enough:
            break
        ahead = apply(direction)
        step = energy / (direction * ahead).sum()
        B, residual = B + step * direction, residual - step * ahead
        scaled = residual / scale
        energy, before = (residual * scaled).sum(), energy
        direction = scaled + energy / before * direction
    return B
