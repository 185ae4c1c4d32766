r"""How alike two representations of the same n examples are, :math:`X` (n, d) and :math:`Y` (n, e): by distances, by kernels, by regression, by neighbours.

- *Representational similarity analysis*, RSA (Kriegeskorte et al., "Representational similarity analysis", 2008): a representation's dissimilarity matrix (RDM) holds the distance of every two examples, by 1 minus Pearson's correlation or by
  Euclid; two representations are compared by Spearman's correlation of the entries above the diagonal, ties at their mean rank.
- *Linear CKA* (Kornblith et al., "Similarity of Neural Network Representations Revisited", 2019): :math:`\lVert Y^\top X\rVert_F^2 / (\lVert X^\top X\rVert_F\, \lVert Y^\top Y\rVert_F)`, columns centred; and its
  debiased form, in which the three are unbiased estimates of HSIC (Song et al., "Feature Selection via Dependence Maximization", 2012), so that unrelated representations of many units have 0 and not more.
- *Regression similarity*: the part of Y's variance that a linear map of X explains. It has two directions, which differ where one representation holds more than the other.
- *Mutual k nearest neighbours* and *CKNNA* (Huh et al., "The Platonic Representation Hypothesis", 2024, appendix A): the mean part of an example's k neighbours that are its neighbours in both, and the alignment of kernels
  :math:`\sum_{ij} \alpha_{ij}\,(\langle x_i, x_j\rangle - \mathbb E_l\langle x_i, x_l\rangle)(\langle y_i, y_j\rangle - \mathbb E_l\langle y_i, y_l\rangle)` over pairs with :math:`\alpha_{ij} = 1`: j is a neighbour of i in both;
  divided by the root of the product of X's and Y's own.

Everything is computed in float64, `block` rows at a time, with the same result for every `block`: it bounds the memory beyond copies in float64 and what is returned to about `block` x n (or d x e) numbers.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ordinate.analyze.representations import check_representation
from ordinate.ground.errors import InputError, choose

__all__ = ["METRICS", "cknna", "linear_cka", "mutual_neighbours", "rdm", "regression_similarity", "rsa", "spearman"]

METRICS = ("correlation", "cosine", "euclidean")
BLOCK = 2048

_TIE = 1e-12  # distances nearer to each other than this part of the largest are equal: rounding has no rank
_RANK = 1e-10  # directions with less than this part of the largest variance are none


def _pair(x: Tensor, y: Tensor, least: int) -> tuple[Tensor, Tensor]:
    x, y = check_representation(x, name="the first representation", least=least), check_representation(y, name="the second", least=least)
    if len(x) != len(y):
        raise InputError(f"representations are compared on the same examples: there are {len(x)} and {len(y)}")
    return x, y


def _blocks(rows: int, block: int) -> Iterator[slice]:
    if block < 1:
        raise InputError(f"a block has at least one row, not {block}")
    return (slice(start, min(start + block, rows)) for start in range(0, rows, block))


def rdm(
    phi: Float[Tensor, "rows *units"], metric: str = "correlation", *, condensed: bool = False, block: int = BLOCK
) -> Float64[Tensor, "..."]:
    """The dissimilarity of every two examples.

    Args:
        phi: (n, d).
        metric: ``"correlation"`` (1 minus Pearson's over units), ``"cosine"`` (1 minus it) or ``"euclidean"``.
        condensed: only the n (n - 1) / 2 entries above the diagonal, row by row, as `scipy.spatial.distance.pdist` orders them.
        block: rows at a time.

    Returns:
        (n, n), symmetric with a diagonal of 0; or condensed.

    Raises:
        InputError: no representation, an unknown metric, or an example without direction (all units equal for correlation, all 0 for cosine).
    """
    x = check_representation(phi)
    if choose("metric", metric, METRICS) == "euclidean":
        x = x - x.mean(dim=0)  # distances stay, and squares lose less
        squares = x.square().sum(dim=1)
    else:
        size = x.norm(dim=1)
        x = x - x.mean(dim=1, keepdim=True) if metric == "correlation" else x
        lengths = x.norm(dim=1)
        flat = lengths <= _TIE * size
        if bool(flat.any()):
            row = int(flat.nonzero()[0])
            raise InputError(
                f"{int(flat.sum())} examples (the first is row {row}) have no direction: {metric} needs units that differ; use euclidean"
            )
        x = x / lengths[:, None]
    n = len(x)
    found = x.new_empty(n * (n - 1) // 2 if condensed else n * n)
    place = 0
    for rows in _blocks(n, block):
        products = x[rows] @ x.mT
        if metric == "euclidean":
            part = (squares[rows, None] + squares - 2 * products).clamp_(min=0).sqrt_()
        else:
            part = (1 - products).clamp_(min=0)
        here = torch.arange(rows.start, rows.stop)
        if condensed:
            part = part[here[:, None] < torch.arange(n)]
        else:
            part[here - rows.start, here] = 0
        found[place : place + part.numel()] = part.flatten()
        place += part.numel()
    if condensed:
        return found
    square = found.view(n, n)
    return (square + square.mT) / 2  # a product's two halves may round differently


def spearman(a: Float[Tensor, " values"], b: Float[Tensor, " values"]) -> float:
    """Spearman's correlation of two lists of numbers: Pearson's of their ranks, ties at their mean rank.

    Raises:
        InputError: fewer than two numbers, one that is not finite, or all of a list equal.
    """
    if len(a) < 2:
        raise InputError(f"a correlation needs at least two numbers, not {len(a)}")
    ranks = []
    for values in (a, b):
        if not bool(torch.isfinite(values).all()):
            raise InputError("ranks need finite numbers")
        rank = _ranks(values)
        rank = rank - rank.mean()
        size = rank.norm()
        if size == 0:
            raise InputError("a correlation needs numbers that differ: all of one list are equal")
        ranks.append(rank / size)
    return float(ranks[0] @ ranks[1])


def _ranks(values: Tensor) -> Tensor:
    ordered, order = values.double().sort()
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[1:] = ordered.diff() > _TIE * ordered.abs().max()
    group = new.cumsum(0) - 1
    counts = torch.bincount(group)
    mean = counts.cumsum(0) - (counts - 1) / 2
    ranks = torch.empty_like(ordered)
    ranks[order] = mean.double()[group]
    return ranks


def _entries(matrix: Tensor) -> Tensor:
    if matrix.ndim == 1:
        return matrix
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"an RDM is square, or condensed to one dimension, not {tuple(matrix.shape)}")
    above = torch.ones(matrix.shape, dtype=torch.bool).triu(1)
    return matrix[above]


def rsa(rdm_a: Float[Tensor, "..."], rdm_b: Float[Tensor, "..."]) -> float:
    """Spearman's correlation of two RDMs over every two different examples, in [-1, 1].

    Args:
        rdm_a, rdm_b: (n, n) or condensed, of the same examples in the same order; see `rdm`.

    Raises:
        InputError: matrices of other shapes, of different examples, not finite, or with all distances equal.
    """
    a, b = _entries(rdm_a), _entries(rdm_b)
    if len(a) != len(b):
        raise InputError(f"RDMs are compared over the same examples: they have {len(a)} and {len(b)} pairs")
    return spearman(a, b)


def _cross(x: Tensor, y: Tensor, block: int) -> Tensor:
    total = x.new_zeros(x.shape[1], y.shape[1])
    for rows in _blocks(len(x), block):
        total.addmm_(x[rows].mT, y[rows])
    return total


def _alignment(x: Tensor, y: Tensor, block: int) -> float:
    """The squared Frobenius norm of X'Y, which is the sum over all pairs of the product of both Gram matrices: by whichever is smaller."""
    if x.shape[1] * y.shape[1] <= len(x) ** 2:
        return float(_cross(x, y, block).square().sum())
    return sum(float(((x[rows] @ x.mT) * (y[rows] @ y.mT)).sum()) for rows in _blocks(len(x), block))


def _hsic(x: Tensor, y: Tensor, block: int) -> float:
    """Song's unbiased estimate times n (n - 3), for linear kernels with their diagonals taken out."""
    n = len(x)
    own_x, own_y = x.square().sum(dim=1), y.square().sum(dim=1)
    sums_x, sums_y = x @ x.sum(dim=0) - own_x, y @ y.sum(dim=0) - own_y
    both = _alignment(x, y, block) - float(own_x @ own_y)
    return both + float(sums_x.sum() * sums_y.sum()) / ((n - 1) * (n - 2)) - 2 / (n - 2) * float(sums_x @ sums_y)


def linear_cka(
    x: Float[Tensor, "rows *units"], y: Float[Tensor, "as_many *others"], *, debiased: bool = False, block: int = BLOCK
) -> float:
    """Linear CKA: 1 for representations that are rotations and multiples of each other, 0 for unrelated ones.

    Args:
        x, y: (n, d) and (n, e), of the same examples.
        debiased: by unbiased estimates, which may lie slightly below 0.
        block: rows at a time.

    Raises:
        InputError: no representations, of different examples, or one that is the same for all of them.
    """
    x, y = _pair(x, y, 4 if debiased else 2)
    x, y = _centred(x, "the first representation"), _centred(y, "the second")
    measure = _hsic if debiased else _alignment
    own = measure(x, x, block) * measure(y, y, block)
    if own <= 0:
        raise InputError("too few examples for a debiased estimate: a representation's own is not positive")
    return measure(x, y, block) / own**0.5


def _centred(x: Tensor, name: str) -> Tensor:
    centred = x - x.mean(dim=0)
    if bool((centred.abs().amax(dim=0) <= _TIE * x.abs().amax(dim=0)).all()):
        raise InputError(f"{name} is the same for all examples")
    return centred


def regression_similarity(
    x: Float[Tensor, "rows *units"],
    y: Float[Tensor, "as_many *others"],
    *,
    held_out: tuple[Float[Tensor, "tested ..."], Float[Tensor, "_ ..."]] | None = None,
    block: int = BLOCK,
) -> tuple[float, float]:
    """The part of Y's variance that a linear map of X explains, and the part of X's that one of Y does.

    Args:
        x, y: (n, d) and (n, e), of the same examples; the maps, with an intercept, are fitted on them.
        held_out: both representations of other examples, on which the parts are measured; None measures on those that were fitted, where many units explain much by chance.
        block: rows at a time.

    Returns:
        (X to Y, Y to X); at most 1, and below 0 where a map does worse on held-out examples than a constant.

    Raises:
        InputError: no representations, of different examples, or one that is the same for all of them.
    """
    x, y = _pair(x, y, 2)
    tested = (x, y) if held_out is None else _pair(*held_out, 2)
    if (tested[0].shape[1], tested[1].shape[1]) != (x.shape[1], y.shape[1]):
        raise InputError("held-out representations have as many units as those that the maps are fitted on")
    x_test, y_test = tested[0] - x.mean(dim=0), tested[1] - y.mean(dim=0)
    x, y = _centred(x, "the first representation"), _centred(y, "the second")
    return _explained(x, y, x_test, y_test, block), _explained(y, x, y_test, x_test, block)


def _explained(x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor, block: int) -> float:
    values, vectors = torch.linalg.eigh(_cross(x, x, block))
    kept = values > _RANK * values[-1]
    basis = vectors[:, kept]
    weights = basis @ ((basis.mT @ _cross(x, y, block)) / values[kept, None])
    left = total = 0.0
    for rows in _blocks(len(x_test), block):
        left += float((y_test[rows] - x_test[rows] @ weights).square().sum())
        total += float(y_test[rows].square().sum())
    return 1 - left / total


def _neighbours(x: Tensor, rows: slice, k: int) -> tuple[Tensor, Tensor]:
    """Inner products of the block's rows with all, less their mean; and the k largest apart from the row itself, as places."""
    products = x[rows] @ x.mT
    here = torch.arange(rows.start, rows.stop)
    hidden = products.clone()
    hidden[here - rows.start, here] = -torch.inf
    return products - products.mean(dim=1, keepdim=True), hidden.topk(k, dim=1).indices


def _in_both(a: Int64[Tensor, "rows k"], b: Int64[Tensor, "rows k"], n: int) -> Tensor:
    mask = torch.zeros(len(a), n, dtype=torch.bool).scatter_(1, a, True)
    return mask & torch.zeros_like(mask).scatter_(1, b, True)


def _unit(x: Tensor, y: Tensor, k: int, normalise: bool) -> tuple[Tensor, Tensor]:
    x, y = _pair(x, y, 3)
    if not 1 <= k < len(x):
        raise InputError(f"an example of {len(x)} has 1 to {len(x) - 1} neighbours, not {k}")
    if not normalise:
        return x, y
    return torch.nn.functional.normalize(x, dim=1), torch.nn.functional.normalize(y, dim=1)


def mutual_neighbours(
    x: Float[Tensor, "rows *units"], y: Float[Tensor, "as_many *others"], k: int = 10, *, normalise: bool = True, block: int = BLOCK
) -> float:
    """The mean part of an example's k nearest others, by inner product, that are among its k nearest in both representations; k / (n - 1) by chance.

    Args:
        x, y: (n, d) and (n, e), of the same examples.
        k: neighbours.
        normalise: scale every example to unit length first, so that the nearest are those of the highest cosine.
        block: rows at a time.

    Raises:
        InputError: no representations, of different examples, or no such k.
    """
    x, y = _unit(x, y, k, normalise)
    shared = sum(int(_in_both(_neighbours(x, rows, k)[1], _neighbours(y, rows, k)[1], len(x)).sum()) for rows in _blocks(len(x), block))
    return shared / (k * len(x))


def cknna(
    x: Float[Tensor, "rows *units"], y: Float[Tensor, "as_many *others"], k: int = 10, *, normalise: bool = True, block: int = BLOCK
) -> float:
    """Centred kernel nearest-neighbour alignment: with k = n - 1 every pair counts, and the fewer the neighbours, the more local it is.

    Args:
        x, y: (n, d) and (n, e), of the same examples.
        k: neighbours.
        normalise: scale every example to unit length first.
        block: rows at a time.

    Raises:
        InputError: no representations, of different examples, no such k, or one that is the same for all of them.
    """
    x, y = _unit(x, y, k, normalise)
    both = own_x = own_y = 0.0
    for rows in _blocks(len(x), block):
        (a, near_a), (b, near_b) = _neighbours(x, rows, k), _neighbours(y, rows, k)
        both += float((a * b)[_in_both(near_a, near_b, len(x))].sum())
        own_x += float(a.gather(1, near_a).square().sum())
        own_y += float(b.gather(1, near_b).square().sum())
    if min(own_x, own_y) <= _TIE:
        raise InputError("a representation is the same for all examples")
    return both / (own_x * own_y) ** 0.5
