r"""How relevant source tasks are to a target: a combination of their heads that gives the target's, :math:`W \nu = w`, with the smallest norm.

- With the 1-norm it is a linear program (basis pursuit; :math:`\nu = a - b` with a, b >= 0), and a vertex of it has at most K tasks, K the number of features. With costs :math:`c_t` a sample it is
  :math:`\sum_t \sqrt{c_t} |\nu_t|` that is smallest.
- With the 2-norm it is :math:`W^+ w`, and every task takes part.
- With heads that are known only roughly, the Lasso :math:`\tfrac12 \lVert W\nu - w \rVert^2 + \lambda \lVert \nu \rVert_1`, which goes to the linear program as lambda falls.

An invertible change of basis, (A W, A w), changes neither of the first two, but does change the Lasso: give it heads on orthonormal features. The heads of the sources and of the target must come from the same representation. Heads
of a larger norm look cheaper. Where T = K, nu is unique and both norms give the same.

Source: Wang et al., "Improved active multi-task representation learning via Lasso" (ICML 2023), sections 2 and 3; the 2-norm is of Chen et al., "Active multi-task representation learning" (ICML 2022).
"""

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.optimize import linprog
from torch import Tensor

from ordinate.analyze.lasso import lasso
from ordinate.ground.errors import InputError

__all__ = ["check_costs", "outside", "relevance", "relevance_lasso"]

_RANK = 1e-10  # singular values below this part of the largest are none
_OUTSIDE = 1e-8


def relevance(
    W: Float[Tensor, "features tasks"],
    w: Float[Tensor, " features"],
    norm: int = 1,
    *,
    costs: Float[Tensor, " tasks"] | None = None,
    project: bool = False,
) -> Float64[Tensor, " tasks"]:
    """The combination nu (T,) of smallest norm with W nu = w.

    Args:
        W: (K, T) heads of the sources.
        w: (K,) head of the target.
        norm: 1 or 2.
        costs: (T,) positive, of a sample of each source, for norm 1.
        project: where w is no combination of the sources' heads, take the part of it that is.

    Raises:
        InputError: more features than tasks, heads that are not finite or of other shapes, costs that are not positive or with norm 2, sources that are all zero, or a target that is no combination without `project`.
    """
    rows, right = _reduced(W, w)
    weights = _weights(costs, W.shape[1])
    if norm not in (1, 2) or (norm == 2 and costs is not None):
        raise InputError("the norm is 1, or 2 without costs")
    missed = outside(W, w)
    if missed > _OUTSIDE and not project:
        raise InputError(
            f"the target's head is no combination of the sources': {missed:.2%} of its length lies outside; ask for project=True to plan for the rest"
        )
    if norm == 2:
        return rows.mT @ right
    scale = float(right.norm())
    if scale == 0:
        return torch.zeros(W.shape[1], dtype=torch.float64)
    return scale * _smallest(rows, right / scale, weights)


def relevance_lasso(
    W: Float[Tensor, "features tasks"],
    w: Float[Tensor, "features *targets"],
    penalty: float,
    *,
    costs: Float[Tensor, " tasks"] | None = None,
) -> Float64[Tensor, "tasks *targets"]:
    r"""The Lasso's combination: (T,) for one target (K,), (T, M) for many (K, M) at once.

    Args:
        W: (K, T) heads of the sources, on orthonormal features.
        w: (K,) or (K, M) heads of targets.
        penalty: lambda, positive, in the units of :math:`W^\top w`.
        costs: (T,) positive; the penalty of a task is lambda times the root of its cost.

    Raises:
        InputError: see `relevance` and `ordinate.analyze.lasso.lasso`.
    """
    _check_heads(W, w)
    found = lasso(W, w.reshape(len(w), -1), penalty, weights=None if costs is None else _weights(costs, W.shape[1]))
    return found.view(W.shape[1], *w.shape[1:])


def outside(W: Float[Tensor, "features tasks"], w: Float[Tensor, " features"]) -> float:
    """The part of the length of w that no combination of the columns of W has: 0 where W nu = w can be solved."""
    _check_heads(W, w)
    left, values, _ = torch.linalg.svd(W.double(), full_matrices=False)
    left = left[:, values > _RANK * values.max()]
    length = float(w.double().norm())
    return float((w.double() - left @ (left.mT @ w.double())).norm()) / length if length else 0.0


def _reduced(W: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """The same constraints with orthonormal rows (r, T) and their right side (r,), r the rank: no basis of the heads is left in them."""
    _check_heads(W, w)
    left, values, right = torch.linalg.svd(W.double(), full_matrices=False)
    kept = values > _RANK * values.max()
    if not bool(kept.any()):
        raise InputError("the sources' heads are all zero: they say nothing of the target")
    return right[kept], (left[:, kept].mT @ w.double()) / values[kept]


def _smallest(rows: Tensor, right: Tensor, weights: Tensor) -> Tensor:
    matrix, objective = rows.numpy(), weights.numpy()
    found = linprog(
        np.concatenate([objective, objective]),
        A_eq=np.concatenate([matrix, -matrix], axis=1),
        b_eq=right.numpy(),
        bounds=(0, None),
        method="highs-ds",
    )
    if found.status != 0:
        raise InputError(f"the linear program of the relevance was not solved: {found.message}")
    nu = torch.from_numpy(found.x[: rows.shape[1]] - found.x[rows.shape[1] :])
    # the solver stops within a tolerance of its own: the basis it found is solved anew
    basis = torch.nonzero(nu.abs() > 1e-9 * nu.abs().max())[:, 0]
    exact = torch.linalg.lstsq(rows[:, basis], right[:, None], driver="gelsd").solution[:, 0]
    return torch.zeros_like(nu).index_copy(0, basis, exact)


def _weights(costs: Tensor | None, tasks: int) -> Tensor:
    if costs is None:
        return torch.ones(tasks, dtype=torch.float64)
    check_costs(costs, tasks)
    return costs.double().sqrt()


def check_costs(costs: Tensor, tasks: int) -> None:
    """Raise `InputError` unless there is one positive, finite cost a task."""
    if costs.shape != (tasks,) or not bool((costs.isfinite() & (costs > 0)).all()):
        raise InputError(f"costs are {tasks} positive numbers, one a task")


def _check_heads(W: Tensor, w: Tensor) -> None:
    if W.ndim != 2 or w.ndim < 1 or len(w) != len(W):
        raise InputError(f"heads are (K, T), and a target's (K,), not {tuple(W.shape)} and {tuple(w.shape)}")
    if W.shape[0] > W.shape[1]:
        raise InputError(
            f"{W.shape[1]} tasks cannot share a representation of {W.shape[0]} features: there must be as many tasks, or fewer features"
        )
    if not (bool(W.isfinite().all()) and bool(w.isfinite().all())):
        raise InputError("heads must be finite: there is a NaN or an infinity among them")
