r"""How much of a representation's variance the features of the input explain (Lampinen, Chan and Hermann, "Learned feature representations are biased by complexity, learning order, position, and more", 2024).

The direction is that of encoding, features to representation, not of decoding. With a design matrix :math:`Z` of features and a representation :math:`\Phi`, both less their means over the fitted rows,

.. math:: W = \arg\min_W \sum_{i \in V} \lVert \phi_i - W z_i \rVert^2, \qquad R^2 = 1 - \frac{\sum_{i \in T} \lVert \phi_i - W z_i \rVert^2}{\sum_{i \in T} \lVert \phi_i \rVert^2}

for one feature, for all of them jointly, and for all but one: what the joint fit loses without a feature is that feature's *unique* part. For independent features the joint is the sum of the singles, and the unique parts are the singles.
The pooled ratio above weighs examples by their size; `per_example` averages :math:`1 - \lVert \phi_i - W z_i \rVert^2 / \lVert \phi_i \rVert^2` over examples instead, which is the form of the paper's formula. A fixed `total` in place of the
denominator (the variance at the end of training, say) makes steps of training comparable: what a feature explains then grows although its part may fall.

A feature of floating numbers is one regressor a column; a feature of class ids (integers or booleans) is one a class, less one. All layers and features share the Gram matrix of the regressors, one Cholesky factor of it, and its inverse: without
feature f the weights are :math:`W - G^{-1}_{:f} (G^{-1}_{ff})^{-1} W_f`. Everything is in float64, and `block` rows at a time have the same result for every `block`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from ordinate.analyze.representations import check_representation
from ordinate.ground.errors import InputError

__all__ = ["Encoding", "VarianceExplained", "design", "interaction", "variance_explained"]

BLOCK = 4096

_SINGULAR = 1e-9  # a regressor of which the others leave less than this part is theirs


@dataclass(frozen=True)
class VarianceExplained:
    """What features explain of one representation.

    Attributes:
        per_feature: (F,) of each feature alone.
        joint: of all features.
        unique: (F,) the joint part less that without the feature.
        per_unit: (F, d) of each feature alone and each unit by itself, pooled; 0 for units that are constant.
        total: the representation's variance about the fitted mean, summed over units and averaged over the tested rows.
    """

    per_feature: Float64[Tensor, " features"]
    joint: float
    unique: Float64[Tensor, " features"]
    per_unit: Float64[Tensor, "features units"]
    total: float

    def density(self, above: float = 0.1) -> list[int]:
        """How many units each feature explains more than that part of."""
        return (self.per_unit > above).sum(dim=1).tolist()


def design(
    features: Shaped[Tensor, "rows features"] | Sequence[Shaped[Tensor, "_ ..."]],
    like: Shaped[Tensor, "others _"] | Sequence[Shaped[Tensor, "_ ..."]] | None = None,
) -> list[Float64[Tensor, "_ _"]]:
    """Features as regressors, a block of columns for each.

    Args:
        features: (n, F), a feature a column; or a list of features (n,) or (n, c). Floating numbers are regressors as they are, integers and booleans class ids.
        like: the features that the classes are read off, if not these.

    Raises:
        InputError: no features, of different lengths, not finite, constant, or a class that `like` has not.
    """
    ours = list(features.mT) if isinstance(features, Tensor) else list(features)
    theirs = ours if like is None else list(like.mT) if isinstance(like, Tensor) else list(like)
    if not ours or len(ours) != len(theirs):
        raise InputError(f"there are {len(ours)} features, and {len(theirs)} that were fitted" if ours else "there are no features")
    if len({len(each) for each in ours}) > 1:
        raise InputError(f"features are of the same examples: they have {', '.join(str(len(each)) for each in ours)} rows")
    return [_regressors(number, one, other) for number, (one, other) in enumerate(zip(ours, theirs, strict=True))]


def interaction(a: Shaped[Tensor, " rows"], b: Shaped[Tensor, " rows"]) -> Int64[Tensor, " rows"]:
    """Whether two features of two classes differ (their XOR): a further feature, whose unique part is what a representation holds of both together beyond each.

    Raises:
        InputError: a feature that has not two classes.
    """
    codes = [each.unique(return_inverse=True) for each in (a, b)]
    if any(len(classes) != 2 for classes, _ in codes):
        raise InputError(f"an interaction is of two features of two classes, not {' and '.join(str(len(classes)) for classes, _ in codes)}")
    return codes[0][1] ^ codes[1][1]


def _regressors(number: int, feature: Tensor, like: Tensor) -> Tensor:
    if like.is_floating_point():
        columns, known = (each.double().reshape(len(each), -1).cpu() for each in (feature, like))
        if not bool(torch.isfinite(columns).all()):
            raise InputError(f"feature {number} is not finite in some rows")
        if not bool((known != known[0]).any(dim=0).all()):
            raise InputError(f"feature {number} is constant: there is nothing that it could explain")
        return columns
    if like.ndim != 1:
        raise InputError(f"class ids are one number an example, not {tuple(like.shape[1:])}: give one-hot columns as floating numbers")
    feature, classes = feature.long(), like.long().unique()
    if len(classes) < 2:
        raise InputError(f"feature {number} is constant: there is nothing that it could explain")
    new = feature[~torch.isin(feature, classes)]
    if len(new):
        raise InputError(f"feature {number} has a class {new[0].item()} that is not among the fitted examples")
    return (feature[:, None] == classes[1:]).double().cpu()


def _blocks(rows: int, block: int) -> Iterator[slice]:
    if block < 1:
        raise InputError(f"a block has at least one row, not {block}")
    return (slice(start, min(start + block, rows)) for start in range(0, rows, block))


class Encoding:
    """Regressions of representations on one set of features: made once, then applied to every layer."""

    def __init__(
        self,
        f_fit: Shaped[Tensor, "examples features"] | Sequence[Shaped[Tensor, "_ ..."]],
        f_test: Shaped[Tensor, "other_examples features"] | Sequence[Shaped[Tensor, "_ ..."]] | None = None,
        *,
        block: int = BLOCK,
    ) -> None:
        """
        Args:
            f_fit: features of the examples to fit on; see `design`.
            f_test: of the examples to measure on; None measures on the fitted ones, where the parts are too large by about regressors / examples.
            block: rows at a time.

        Raises:
            InputError: what `design` refuses, no more examples than regressors, or features that say the same.
        """
        parts = design(f_fit)
        sizes = [part.shape[1] for part in parts]
        ends = torch.tensor(sizes).cumsum(0).tolist()
        self.slices = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        self.block = block
        z = torch.cat(parts, dim=1)
        if len(z) <= z.shape[1] + 1:
            raise InputError(f"{len(z)} examples cannot tell {z.shape[1]} regressors apart: more are needed")
        mean = z.mean(dim=0)
        self._fit = z - mean
        self._test = self._fit if f_test is None else torch.cat(design(f_test, like=f_fit), dim=1) - mean
        self.in_sample = f_test is None
        gram = self._fit.mT @ self._fit
        scale = gram.diagonal().rsqrt()
        factor, failed = torch.linalg.cholesky_ex(gram * scale * scale[:, None])
        left = factor.diagonal().square()
        if int(failed) or float(left.min()) < _SINGULAR:
            which = int(failed) - 1 if int(failed) else int(left.argmin())
            number = next(number for number, part in enumerate(self.slices) if part.start <= which < part.stop)
            raise InputError(f"feature {number} says what the features before it say: leave one of them out")
        self._inverse = torch.cholesky_inverse(factor) * scale * scale[:, None]
        self._gram = gram
        self._gram_test = self._test.mT @ self._test

    @property
    def regressors(self) -> int:
        """Columns of the design matrix."""
        return self._fit.shape[1]

    def explain(
        self,
        phi_fit: Float[Tensor, "rows *units"],
        phi_test: Float[Tensor, "tested *units"] | None = None,
        *,
        per_example: bool = False,
        total: float | None = None,
    ) -> VarianceExplained:
        """What the features explain of one representation.

        Args:
            phi_fit: (n, d), of the examples that were fitted.
            phi_test: (m, d), of those to measure on; None where there are no others.
            per_example: average the ratio over the examples (those at the mean itself don't count), instead of pooling.
            total: a fixed denominator, in the units of `VarianceExplained.total`; not with `per_example`.

        Raises:
            InputError: no representation, of other examples than the features are of, constant, or a total that cannot be one.
        """
        if total is not None and (per_example or total <= 0):
            raise InputError(f"a fixed total is a positive variance, and it has no ratio of each example: not {total}")
        if self.in_sample != (phi_test is None):
            raise InputError("give features and representation of the same examples: held-out ones for both, or for neither")
        phi = check_representation(phi_fit)
        tested = phi if phi_test is None else check_representation(phi_test, name="the held-out representation", least=1)
        for rows, features, name in ((phi, self._fit, "fitted"), (tested, self._test, "held-out")):
            if len(rows) != len(features) or rows.shape[1] != phi.shape[1]:
                raise InputError(f"{name}: features of {len(features)} examples, and a representation {tuple(rows.shape)}")
        mean = phi.mean(dim=0)
        cross = self._sum(self._fit, phi, mean)
        cross_test = cross if phi_test is None else self._sum(self._test, tested, mean)
        squares = sum(((tested[rows] - mean).square().sum(dim=0) for rows in _blocks(len(tested), self.block)), torch.zeros_like(mean))
        size = float(squares.sum())
        if size <= 1e-24 * float(tested.square().sum()) or size == 0:
            raise InputError("the representation is constant: it has no variance to explain")
        joint = self._inverse @ cross
        singles = [torch.linalg.solve(self._gram[part, part], cross[part]) for part in self.slices]
        without = [
            joint - self._inverse[:, part] @ torch.linalg.solve(self._inverse[part, part], joint[part]) if len(self.slices) > 1 else None
            for part in self.slices
        ]
        everything = slice(0, self.regressors)
        explained = torch.stack([self._explained(part, weights, cross_test) for part, weights in zip(self.slices, singles, strict=True)])
        per_unit = torch.where(squares > 0, explained / squares.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
        fits = [(everything, joint), *zip(self.slices, singles, strict=True), *((everything, each) for each in without if each is not None)]
        if per_example:
            values = self._by_example(fits, tested, mean)
        else:
            whole = size if total is None else total * len(tested)
            values = torch.stack([self._explained(part, weights, cross_test).sum() for part, weights in fits]) / whole
        count = len(self.slices)
        missing = values[1 + count :] if count > 1 else torch.zeros(1, dtype=torch.float64)
        return VarianceExplained(values[1 : 1 + count], float(values[0]), values[0] - missing, per_unit, size / len(tested))

    def _sum(self, z: Tensor, phi: Tensor, mean: Tensor) -> Tensor:
        found = phi.new_zeros(z.shape[1], phi.shape[1])
        for rows in _blocks(len(phi), self.block):
            found.addmm_(z[rows].mT, phi[rows] - mean)
        return found

    def _explained(self, part: slice, weights: Tensor, cross: Tensor) -> Tensor:
        """The squares less the residual's, of every unit: 2 w'Z'phi - w'Z'Zw."""
        return (weights * (2 * cross[part] - self._gram_test[part, part] @ weights)).sum(dim=0)

    def _by_example(self, fits: Sequence[tuple[slice, Tensor]], phi: Tensor, mean: Tensor) -> Tensor:
        found, counted = phi.new_zeros(len(fits)), 0
        for rows in _blocks(len(phi), self.block):
            centred = phi[rows] - mean
            squares = centred.square().sum(dim=1)
            away = squares > 0
            counted += int(away.sum())
            for number, (part, weights) in enumerate(fits):
                z = self._test[rows, part]
                gained = (z * (2 * (centred @ weights.mT) - z @ (weights @ weights.mT))).sum(dim=1)
                found[number] += (gained[away] / squares[away]).sum()
        return found / counted


def variance_explained(
    phi_fit: Float[Tensor, "rows *units"],
    f_fit: Shaped[Tensor, "examples features"] | Sequence[Shaped[Tensor, "_ ..."]],
    phi_test: Float[Tensor, "tested *units"] | None = None,
    f_test: Shaped[Tensor, "other_examples features"] | Sequence[Shaped[Tensor, "_ ..."]] | None = None,
    *,
    per_example: bool = False,
    total: float | None = None,
    block: int = BLOCK,
) -> VarianceExplained:
    """What features explain of one representation; for several layers, `Encoding` does the work on the features once.

    Args:
        phi_fit: (n, d) to fit on.
        f_fit: (n, F) or a list of features; floating numbers are regressors, integers and booleans class ids.
        phi_test, f_test: other examples to measure on. Without them the parts are too large by about regressors / examples.
        per_example: average the ratio over the examples instead of pooling.
        total: a fixed denominator, in the units of `VarianceExplained.total`.
        block: rows at a time.

    Raises:
        InputError: a constant feature, features that say the same, no more examples than regressors, a representation of more than two dimensions or not finite, or rows that do not fit each other.
    """
    return Encoding(f_fit, f_test, block=block).explain(phi_fit, phi_test, per_example=per_example, total=total)
