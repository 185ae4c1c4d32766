r"""Whether the queries of a new model may be answered from the gallery that an old model embedded.

With :math:`s(a, b)` the cosine of two features, a new model is *compatible* with an old one if, over all queries i and rows j of the gallery,

.. math:: s(\phi_{new}(x_i), \phi_{old}(x_j)) \ge s(\phi_{old}(x_i), \phi_{old}(x_j)) \quad (y_i = y_j), \qquad
          s(\phi_{new}(x_i), \phi_{old}(x_j)) \le s(\phi_{old}(x_i), \phi_{old}(x_j)) \quad (y_i \ne y_j).

No pair of trained models satisfies all of these. A `compatibility_report` therefore gives the fraction of the pairs that do, and the same two inequalities between means over the pairs of each two classes. For features of class y with
mean :math:`\rho\, w_y` on the unit sphere, independent across models given the class, and prototypes w of K classes on a regular simplex, the means are :math:`\rho_{new}\rho_{old}` and :math:`-\rho_{new}\rho_{old}/(K-1)`: both hold
in expectation exactly when :math:`\rho_{new} \ge \rho_{old}`.

What a service sees is the rate at which queries are identified: every class of the gallery is averaged to a template of unit length, and a query is given the class of its nearest template. In the matrix M, M[t, k] is that rate with
queries of model t and the gallery of model k <= t (*cross-test*; *self-test* on the diagonal). The empirical criterion of compatibility asks for M[t, k] > M[k, k]: a tie violates it. Average compatibility AC is the share of the
T (T - 1) / 2 entries below the diagonal that do not violate it, and average accuracy AA the mean of the lower triangle with its diagonal.

Sources: the two inequalities and the criterion, Shen et al., "Towards Backward-Compatible Representation Learning", 2020, equations 1 to 3; AC, Biondi et al., "CoReS: Compatible Representations via Stationarity", 2023; AA and the
protocol, Biondi et al., "Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model Replacements", 2024.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from torch.nn import functional as F

from ordinate.ground.errors import InputError

__all__ = [
    "CompatibilityReport",
    "CompatibilitySummary",
    "Scorer",
    "accuracy_curve",
    "average_accuracy",
    "average_compatibility",
    "class_templates",
    "compatibility_curve",
    "compatibility_matrix",
    "compatibility_report",
    "identification",
    "summarise",
    "violations",
]

_PAIRS_AT_ONCE = 1 << 24

Scorer = Callable[[Tensor, Tensor, Tensor, Tensor], float]
"""`scorer(queries, gallery, query_labels, gallery_labels)` -> a rate in [0, 1]; higher is better."""


@dataclass(frozen=True)
class CompatibilityReport:
    """What the features of a new and an old model say of each other. Similarities are cosines and rates fractions.

    Attributes:
        same_pairs: the fraction of (query, gallery) pairs of one class whose similarity the new model does not lower.
        different_pairs: the fraction of pairs of two classes whose similarity it does not raise.
        query_classes: (Q,) int64, the classes of the queries, ascending.
        gallery_classes: (G,) int64, those of the gallery.
        new_means: (Q, G) float64, the mean similarity of the new model's queries to the old gallery, by class.
        old_means: (Q, G) float64, that of the old model's queries.
        new_same, old_same: the mean over pairs of one class.
        new_different, old_different: the mean over pairs of two classes.
        cross_test: the rate at which the new model's queries are identified in the old gallery.
        self_test: that of the old model's own.
        cosine_tolerance, rate_tolerance: what is still taken for no loss, of a mean cosine and of a rate.
    """

    same_pairs: float
    different_pairs: float
    query_classes: Int[Tensor, " query_classes"]
    gallery_classes: Int[Tensor, " gallery_classes"]
    new_means: Float64[Tensor, "query_classes gallery_classes"]
    old_means: Float64[Tensor, "query_classes gallery_classes"]
    new_same: float
    old_same: float
    new_different: float
    old_different: float
    cross_test: float
    self_test: float
    cosine_tolerance: float
    rate_tolerance: float

    @property
    def class_pairs(self) -> Bool[Tensor, "query_classes gallery_classes"]:
        """Which pairs of classes satisfy their inequality in expectation, exactly, without a tolerance."""
        same = self.query_classes[:, None] == self.gallery_classes
        return torch.where(same, self.new_means >= self.old_means, self.new_means <= self.old_means)

    @property
    def same_in_expectation(self) -> bool:
        """Whether the mean similarity within a class does not fall by more than its tolerance."""
        return self.new_same >= self.old_same - self.cosine_tolerance

    @property
    def different_in_expectation(self) -> bool:
        """Whether the mean similarity between classes does not rise by more than its tolerance."""
        return self.new_different <= self.old_different + self.cosine_tolerance

    @property
    def keeps_accuracy(self) -> bool:
        """Whether the cross-test does not fall below the old self-test by more than its tolerance."""
        return self.cross_test >= self.self_test - self.rate_tolerance

    @property
    def compatible(self) -> bool:
        """Whether both inequalities hold in expectation and the service does not lose, within the tolerances."""
        return self.same_in_expectation and self.different_in_expectation and self.keeps_accuracy

    @property
    def why(self) -> str:
        """The reason for `compatible`, in one line."""
        told = f"new queries are identified in the old gallery at a rate of {self.cross_test:.3f}, old ones at {self.self_test:.3f}"
        if self.compatible:
            return f"compatible: {told}, and both inequalities hold in expectation"
        wrong = []
        if not self.keeps_accuracy:
            wrong.append(told)
        if not self.same_in_expectation:
            wrong.append(f"the mean cosine within a class falls from {self.old_same:.3f} to {self.new_same:.3f}")
        if not self.different_in_expectation:
            wrong.append(f"the mean cosine between classes rises from {self.old_different:.3f} to {self.new_different:.3f}")
        return f"not compatible: {'; '.join(wrong)}"

    def to_json(self) -> dict[str, Any]:
        """All numbers and the verdict as JSON values; the means by class pair as lists of rows."""
        tensors = ("query_classes", "gallery_classes", "new_means", "old_means")
        plain = {name: value for name, value in vars(self).items() if name not in tensors}
        return {
            **plain,
            **{name: getattr(self, name).tolist() for name in tensors},
            "class_pairs": float(self.class_pairs.double().mean()),
            "compatible": self.compatible,
            "why": self.why,
        }


@dataclass(frozen=True)
class CompatibilitySummary:
    """What a matrix of cross- and self-tests says, as fractions; `percent` gives the accuracies in percent.

    Attributes:
        compatibility: AC.
        accuracy: AA.
        gaps: (T, T) float64, M[t, k] - M[k, k] below the diagonal and 0 elsewhere: what AC counts the signs of.
        note: what has to be said of the numbers; empty where nothing has.
    """

    compatibility: float
    accuracy: float
    gaps: Float64[Tensor, "models models"]
    note: str = ""

    @property
    def worst_gap(self) -> float:
        """The lowest of the gaps, 0 for a single model."""
        rows, columns = torch.tril_indices(*self.gaps.shape, offset=-1)
        return float(self.gaps[rows, columns].min()) if len(rows) else 0.0

    def percent(self) -> dict[str, float]:
        """AC as it is, and AA and the worst gap in percent."""
        return {"AC": self.compatibility, "AA": 100 * self.accuracy, "worst gap": 100 * self.worst_gap}


def class_templates(
    features: Float[Tensor, "rows dim"], labels: Int[Tensor, " labelled"]
) -> tuple[Float[Tensor, "classes dim"], Int[Tensor, " classes"]]:
    """One template a class: the mean of its features, scaled to unit length before and after.

    Args:
        features: (N, d).
        labels: (N,), any integers.

    Returns:
        Templates (C, d) and their classes (C,), ascending.

    Raises:
        InputError: shapes that do not fit, no rows, or features that are not finite.
    """
    _check("features", features, labels)
    classes, codes = labels.unique(return_inverse=True)
    sums = features.new_zeros(len(classes), features.shape[1]).index_add_(0, codes, F.normalize(features, dim=1))
    return F.normalize(sums, dim=1), classes


def identification(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "rows width"],
    query_labels: Int[Tensor, " labelled"],
    gallery_labels: Int[Tensor, " gallery_labelled"],
) -> float:
    """The fraction of queries whose nearest class template of the gallery, by inner product of unit vectors, is their own class's.

    Args:
        queries: (Q, d).
        gallery: (N, d).
        query_labels: (Q,), any integers.
        gallery_labels: (N,).

    Raises:
        InputError: shapes that do not fit, features that are not finite, or a query of a class that the gallery has no row of.
    """
    _check("queries", queries, query_labels)
    templates, classes = class_templates(gallery, gallery_labels)
    _check_together(queries, templates, query_labels, classes)
    nearest = classes[(F.normalize(queries, dim=1) @ templates.t()).argmax(dim=1)]
    return float((nearest == query_labels).double().mean())


def compatibility_report(
    new_queries: Float[Tensor, "queries dim"],
    old_queries: Float[Tensor, "old_queries old_dim"],
    old_gallery: Float[Tensor, "rows width"],
    query_labels: Int[Tensor, " labelled"],
    gallery_labels: Int[Tensor, " gallery_labelled"],
    *,
    cosine_tolerance: float = 0.1,
    rate_tolerance: float = 0.05,
) -> CompatibilityReport:
    """Compare two models by the queries of both and the gallery of the old one. A row that is in both sets should be left out of one of them.

    Args:
        new_queries: (Q, d), of the new model.
        old_queries: (Q, d), of the old model, for the same inputs.
        old_gallery: (N, d), of the old model.
        query_labels: (Q,), any integers.
        gallery_labels: (N,).
        cosine_tolerance: the loss of a mean cosine that is still taken for none. Means of trained models wander by a few hundredths even where no query is lost.
        rate_tolerance: the loss of the rate of identification that is still taken for none.

    Raises:
        InputError: shapes that do not fit, features that are not finite, a query of a class that the gallery has no row of, or a negative tolerance.
    """
    if min(cosine_tolerance, rate_tolerance) < 0:
        raise InputError(f"tolerances must be 0 or more, not {cosine_tolerance} and {rate_tolerance}")
    _check("new queries", new_queries, query_labels)
    _check("old queries", old_queries, query_labels)
    _check("the gallery", old_gallery, gallery_labels)
    if new_queries.shape != old_queries.shape:
        raise InputError(
            f"the models are compared on the same queries and in one space: {tuple(new_queries.shape)} and {tuple(old_queries.shape)}"
        )
    _check_together(old_queries, old_gallery, query_labels, gallery_labels.unique())
    new, old, rows = (F.normalize(features, dim=1) for features in (new_queries, old_queries, old_gallery))
    kept = torch.zeros(2, dtype=torch.int64)  # pairs that satisfy their inequality: of two classes, of one
    count = torch.zeros(2, dtype=torch.int64)
    for part in torch.arange(len(new), device=new.device).split(max(1, _PAIRS_AT_ONCE // len(rows))):
        change = new[part] @ rows.t() - old[part] @ rows.t()
        same = query_labels[part, None] == gallery_labels
        for index, (pairs, fine) in enumerate(((~same, change <= 0), (same, change >= 0))):
            kept[index] += int((pairs & fine).sum())
            count[index] += int(pairs.sum())
    query_classes, query_codes = query_labels.unique(return_inverse=True)
    gallery_classes, gallery_codes = gallery_labels.unique(return_inverse=True)
    centre = _class_means(rows, gallery_codes, len(gallery_classes))
    new_means, old_means = (_class_means(each, query_codes, len(query_classes)) @ centre.t() for each in (new, old))
    weights = torch.outer(query_codes.bincount(), gallery_codes.bincount()).double()
    same = query_classes[:, None] == gallery_classes
    different_pairs, same_pairs = (float(a / b) if b else 1.0 for a, b in zip(kept, count, strict=True))
    return CompatibilityReport(
        same_pairs=same_pairs,
        different_pairs=different_pairs,
        query_classes=query_classes.cpu(),
        gallery_classes=gallery_classes.cpu(),
        new_means=new_means.cpu(),
        old_means=old_means.cpu(),
        new_same=_weighted(new_means, weights * same),
        old_same=_weighted(old_means, weights * same),
        new_different=_weighted(new_means, weights * ~same),
        old_different=_weighted(old_means, weights * ~same),
        cross_test=identification(new_queries, old_gallery, query_labels, gallery_labels),
        self_test=identification(old_queries, old_gallery, query_labels, gallery_labels),
        cosine_tolerance=cosine_tolerance,
        rate_tolerance=rate_tolerance,
    )


def compatibility_matrix(
    queries: Sequence[Float[Tensor, "queries dim"]],
    galleries: Sequence[Float[Tensor, "rows dim"]],
    query_labels: Int[Tensor, " queries"],
    gallery_labels: Int[Tensor, " rows"],
    scorer: Scorer = identification,
) -> Float64[Tensor, "models models"]:
    """Cross- and self-tests of T models, oldest first. Features are given, so that each model embeds each split once.

    Args:
        queries: (Q, d) of every model.
        galleries: (N, d) of every model.
        query_labels: (Q,).
        gallery_labels: (N,).
        scorer: of queries against a gallery.

    Returns:
        M (T, T), lower triangular: M[t, k] for queries of model t and the gallery of model k.

    Raises:
        InputError: no models, another number of galleries, or what the scorer raises.
    """
    if not queries or len(queries) != len(galleries):
        raise InputError(f"every model has its queries and its gallery: there are {len(queries)} and {len(galleries)}")
    found = torch.zeros(len(queries), len(queries), dtype=torch.float64)
    for t, asked in enumerate(queries):
        for k in range(t + 1):
            found[t, k] = scorer(asked, galleries[k], query_labels, gallery_labels)
    return found


def violations(matrix: Float[Tensor, "rows columns"]) -> Bool[Tensor, "models models"]:
    """Where M[t, k] <= M[k, k] for t > k: the cross-tests that are no better than the self-test of the gallery's own model.

    Raises:
        InputError: a matrix that is not square and lower triangular, or has numbers that are not finite.
    """
    _check_matrix(matrix)
    return (matrix <= matrix.diagonal()).tril(-1)


def average_compatibility(matrix: Float[Tensor, "rows columns"]) -> float:
    """AC, the fraction of the entries below the diagonal that do not violate the criterion.

    Raises:
        InputError: a matrix that is not square and lower triangular.

    Warns:
        UserWarning: one model, which has nothing to be compatible with: AC is 1.
    """
    size = len(matrix)
    count = int(violations(matrix).sum())
    if size == 1:
        warnings.warn(_ALONE, stacklevel=2)
        return 1.0
    return 1.0 - count / (size * (size - 1) / 2)


def average_accuracy(matrix: Float[Tensor, "rows columns"]) -> float:
    """AA, the mean of the lower triangle with its diagonal, in the matrix's own unit; zeros count as zeros.

    Raises:
        InputError: a matrix that is not square and lower triangular.
    """
    _check_matrix(matrix)
    rows, columns = torch.tril_indices(*matrix.shape)
    return float(matrix[rows, columns].double().mean())


def compatibility_curve(matrix: Float[Tensor, "rows columns"]) -> list[float]:
    """AC_t of the leading t x t block for t = 2, ..., T.

    Raises:
        InputError: a matrix that is not square and lower triangular.
    """
    _check_matrix(matrix)
    return [average_compatibility(matrix[:t, :t]) for t in range(2, len(matrix) + 1)]


def accuracy_curve(matrix: Float[Tensor, "rows columns"]) -> list[float]:
    """AA_t of the leading t x t block for t = 1, ..., T.

    Raises:
        InputError: a matrix that is not square and lower triangular.
    """
    _check_matrix(matrix)
    return [average_accuracy(matrix[:t, :t]) for t in range(1, len(matrix) + 1)]


def summarise(matrix: Float[Tensor, "rows columns"]) -> CompatibilitySummary:
    """AC and AA of a matrix of fractions, with the gaps behind them.

    Raises:
        InputError: a matrix that is not square and lower triangular, or holds numbers outside [0, 1].
    """
    _check_matrix(matrix)
    if float(matrix.min()) < 0 or float(matrix.max()) > 1:
        raise InputError("a matrix of rates holds fractions between 0 and 1: divide percents by 100")
    alone = len(matrix) == 1
    gaps = (matrix - matrix.diagonal()).tril(-1).double()
    return CompatibilitySummary(
        1.0 if alone else average_compatibility(matrix), average_accuracy(matrix), gaps, note=_ALONE if alone else ""
    )


_ALONE = "one model has nothing to be compatible with: AC is undefined and given as 1"


def _class_means(unit: Tensor, codes: Tensor, classes: int) -> Tensor:
    sums = torch.zeros(classes, unit.shape[1], dtype=torch.float64, device=unit.device).index_add_(0, codes, unit.double())
    return sums / codes.bincount(minlength=classes)[:, None]


def _weighted(means: Tensor, weights: Tensor) -> float:
    total = float(weights.sum())
    return float((means * weights).sum() / total) if total else 0.0


def _check(name: str, features: Tensor, labels: Tensor) -> None:
    if features.ndim != 2 or not len(features) or not features.is_floating_point():
        raise InputError(f"{name} must be a floating-point matrix (rows, dim) with rows, not {features.dtype} of {tuple(features.shape)}")
    if labels.ndim != 1 or len(labels) != len(features) or labels.is_floating_point():
        raise InputError(f"{name}: {len(features)} rows need as many whole numbers as labels, not {tuple(labels.shape)} of {labels.dtype}")
    if not bool(torch.isfinite(features).all()):
        raise InputError(f"{name}: {int((~torch.isfinite(features)).any(dim=1).sum())} rows hold NaN or infinite values")


def _check_together(queries: Tensor, gallery: Tensor, query_labels: Tensor, classes: Tensor) -> None:
    if queries.shape[1] != gallery.shape[1]:
        raise InputError(f"queries are {queries.shape[1]} wide and the gallery {gallery.shape[1]}: they do not lie in one space")
    absent = query_labels[~torch.isin(query_labels, classes)].unique()
    if len(absent):
        raise InputError(f"class {int(absent[0])} has queries and no row in the gallery: add some, or leave its queries out")


def _check_matrix(matrix: Tensor) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise InputError(f"a matrix of cross-tests is square, one row and column a model, not {tuple(matrix.shape)}")
    if not all(math.isfinite(value) for value in matrix.flatten().tolist()):
        raise InputError("a matrix of cross-tests holds finite numbers, with zeros above the diagonal")
    if bool(matrix.triu(1).any()):
        raise InputError("a matrix of cross-tests is lower triangular: new queries on old galleries, and zeros above the diagonal")
