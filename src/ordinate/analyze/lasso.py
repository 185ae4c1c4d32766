r"""The Lasso of many targets at once on the same columns, in float64, to a stated precision.

.. math:: \min_{\nu} \tfrac12 \lVert W \nu - w \rVert^2 + \lambda \sum_t a_t |\nu_t|

for every column w of the targets. Accelerated proximal gradient steps with restarts (Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm", 2009; O'Donoghue and Candes, "Adaptive restart for accelerated gradient
schemes", 2015) run on all targets together; every few steps the solution on each target's present support and signs is tried in closed form, which is exact once they are the right ones, and targets that are done leave. Those that
are left after some steps (small penalties, heads that are nearly parallel) are solved by an interior point method on the dual, with one small system a target and step.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["lasso", "lasso_residual"]

_BLOCK = 40  # proximal steps between two tries in closed form
_BLOCKS = 4
_NEWTON = 100
_CENTRED = 1e-11
_MOST = 1 << 22  # numbers of a batch of systems


def lasso(
    W: Float[Tensor, "features tasks"],
    targets: Float[Tensor, "features targets"],
    penalty: float | Float[Tensor, " targets"],
    *,
    weights: Float[Tensor, " tasks"] | None = None,
    tolerance: float = 1e-8,
) -> Float64[Tensor, "tasks targets"]:
    r"""The minimisers.

    Args:
        W: (K, T) columns.
        targets: (K, M).
        penalty: lambda > 0, one for all targets or one each, in the units of :math:`W^\top w`.
        weights: (T,) positive a; ones by default.
        tolerance: the largest violation of the optimality conditions, as a part of the largest entry of :math:`|W^\top w|`.

    Raises:
        InputError: numbers that are not finite, shapes that do not fit, penalties or weights that are not positive, or a tolerance that float64 does not reach.
    """
    if W.ndim != 2 or targets.ndim != 2 or W.shape[0] != targets.shape[0]:
        raise InputError(f"heads (K, T) and targets (K, M) must have as many features, not {tuple(W.shape)} and {tuple(targets.shape)}")
    W, targets = W.double(), targets.double()
    penalties = torch.as_tensor(penalty, dtype=torch.float64).expand(targets.shape[1])
    scale = torch.ones(W.shape[1], dtype=torch.float64) if weights is None else weights.double()
    if not all(bool(each.isfinite().all()) for each in (W, targets, penalties, scale)):
        raise InputError("heads, targets, penalties and weights must be finite")
    if bool((penalties <= 0).any()) or scale.shape != (W.shape[1],) or bool((scale <= 0).any()):
        raise InputError("penalties and weights are positive, the weights one a task")
    # columns divided by their weights make all weights one
    return _solve(W / scale, targets, penalties, tolerance) / scale[:, None]


def lasso_residual(
    W: Float[Tensor, "features tasks"],
    targets: Float[Tensor, "features targets"],
    nu: Float[Tensor, "tasks targets"],
    penalty: float | Float[Tensor, " targets"],
) -> Float64[Tensor, " targets"]:
    r"""How far each column of `nu` is from the optimality conditions :math:`W^\top (w - W\nu) \in \lambda\, \partial \lVert \nu \rVert_1`: the largest entry by which they are missed, (M,)."""
    return _missed(W.double(), targets.double(), nu.double(), torch.as_tensor(penalty, dtype=torch.float64).expand(targets.shape[1]))


def _missed(W: Tensor, targets: Tensor, nu: Tensor, penalties: Tensor) -> Tensor:
    slope = W.mT @ (targets - W @ nu)
    missed = torch.where(nu != 0, (slope - penalties * nu.sign()).abs(), (slope.abs() - penalties).clamp(min=0))
    return missed.amax(dim=0)


def _solve(W: Tensor, targets: Tensor, penalties: Tensor, tolerance: float) -> Tensor:
    largest = (W.mT @ targets).abs().amax(dim=0)
    enough = tolerance * largest
    found = torch.zeros(W.shape[1], targets.shape[1], dtype=torch.float64)
    left = torch.nonzero(largest > penalties)[:, 0]
    rate = 1 / float(torch.linalg.matrix_norm(W, 2)) ** 2 if len(left) else 0.0
    now = found[:, left]
    for _ in range(_BLOCKS):
        if not len(left):
            return found
        now = _descend(W, targets[:, left], now, penalties[left], rate)
        best, missed = _polished(W, targets[:, left], now, penalties[left])
        done = missed <= enough[left]
        found[:, left[done]] = best[:, done]
        left, now = left[~done], now[:, ~done]
    for some in left.split(max(1, _MOST // W.numel())):
        interior = _interior(W, targets[:, some], penalties[some])
        found[:, some], missed = _polished(W, targets[:, some], interior, penalties[some])
        if not bool((missed <= enough[some]).all()):
            raise InputError(
                f"a Lasso was solved to {float((missed / largest[some]).max()):.1g} and not to {tolerance:g}: ask for a larger tolerance or penalty"
            )
    return found


def _polished(W: Tensor, targets: Tensor, nu: Tensor, penalties: Tensor) -> tuple[Tensor, Tensor]:
    """The better of `nu` and the solution on its support, and by how much it misses the conditions."""
    tried = _on_support(W, targets, nu, penalties)
    missed, missed_then = (_missed(W, targets, each, penalties) for each in (nu, tried))
    return torch.where(missed_then < missed, tried, nu), torch.minimum(missed, missed_then)


def _descend(W: Tensor, targets: Tensor, nu: Tensor, penalties: Tensor, rate: float) -> Tensor:
    momentum, ahead = torch.ones(targets.shape[1], dtype=torch.float64), nu
    for _ in range(_BLOCK):
        moved = ahead - rate * (W.mT @ (W @ ahead - targets))
        after = moved.sign() * (moved.abs() - rate * penalties).clamp(min=0)
        # where the step goes back on itself its momentum starts anew
        back = ((ahead - after) * (after - nu)).sum(dim=0) > 0
        momentum = torch.where(back, torch.ones_like(momentum), momentum)
        faster = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        ahead = after + ((momentum - 1) / faster) * (after - nu)
        nu, momentum = after, faster
    return nu


def _on_support(W: Tensor, targets: Tensor, nu: Tensor, penalties: Tensor) -> Tensor:
    """The stationary point with the support and signs of `nu`, where it has them too and is unique; `nu` elsewhere."""
    K = len(targets)
    size, order = (nu != 0).sum(dim=0), nu.abs().argsort(dim=0, descending=True, stable=True)[:K]
    inside = torch.arange(len(order))[:, None] < size
    columns = (W[:, order] * inside).permute(2, 0, 1)  # (M, K, at most K), beyond the support zero
    signs = nu.gather(0, order).sign()
    gram = columns.mT @ columns + torch.diag_embed((~inside).double().mT)
    right = (columns.mT @ targets.mT[:, :, None])[:, :, 0] - penalties[:, None] * signs.mT
    factor, wrong = torch.linalg.cholesky_ex(gram)
    solved = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0].mT
    usable = (wrong == 0) & (size <= K) & ((solved.sign() == signs) | ~inside).all(dim=0) & solved.isfinite().all(dim=0)
    tried = torch.zeros_like(nu).scatter(0, order, torch.where(inside, solved, 0.0))
    return torch.where(usable, tried, nu)


def _interior(W: Tensor, targets: Tensor, penalties: Tensor) -> Tensor:
    """Newton steps along the central path of the dual, max u w - u²/2 over |W^T u| <= lambda, whose multipliers a, b of the two sides give nu = a - b. Each solves one system of K unknowns a target."""
    bound, aim = penalties[:, None], targets.mT
    u = torch.zeros_like(aim)
    above = below = bound.expand(-1, W.shape[1])
    a = b = (aim.norm(dim=1) * W.norm(dim=0).max())[:, None] / above
    for _ in range(_NEWTON):
        duality = a * above + b * below
        done = duality.amax(dim=1, keepdim=True) <= _CENTRED * bound * (a - b).abs().amax(dim=1, keepdim=True)
        if bool(done.all()):
            break
        centre = 0.05 * duality.mean(dim=1, keepdim=True)
        hessian = torch.eye(W.shape[0], dtype=torch.float64) + (W * (a / above + b / below)[:, None]) @ W.mT
        pull = centre / above - centre / below
        step = torch.linalg.solve(hessian, (aim - u - pull @ W.mT)[:, :, None])[:, :, 0]
        slope = step @ W
        da, db = centre / above - a + a / above * slope, centre / below - b - b / below * slope
        length = torch.minimum(_to_border((above, -slope), (below, slope)), _to_border((a, da), (b, db)))
        length = torch.where(done, 0.0, length)  # what has arrived stays, or its numbers would run out of float64
        u, a, b = u + length * step, a + length * da, b + length * db
        above, below = above - length * slope, below + length * slope
    nu = a - b
    # a source is out where its multiplier is smaller beside the others than its slack is beside lambda
    out = torch.maximum(a, b) / nu.abs().amax(dim=1, keepdim=True) < torch.minimum(above, below) / bound
    return torch.where(out, 0.0, nu).mT


def _to_border(*pairs: tuple[Tensor, Tensor]) -> Tensor:
    """The step (M, 1), at most 1, that stays a hundredth short of where the first number that moves down gets to 0."""
    lengths = [torch.where(move < 0, -here / move, torch.inf).amin(dim=1, keepdim=True) for here, move in pairs]
    return (0.99 * torch.minimum(*lengths)).clamp(max=1)
