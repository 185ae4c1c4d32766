r"""Verdicts from intervals.

For paired values :math:`d_1, \dots, d_n`, one a seed, the 95 % interval is Student's :math:`\bar d \pm t_{0.975, n-1}\, s/\sqrt{n}`, or a BCa bootstrap's where the metric is not near-normal.
Resampling few values understates their spread, so the bootstrap's level is widened to :math:`1 - 2\Phi(-\sqrt{n/(n-1)}\, t_{0.975, n-1})` (Hesterberg, *What Teachers Should Know About the Bootstrap*, 2015: the
expanded interval), and fewer than five values tell it nothing: no resample of three leaves their range.
A bound is met when the whole interval lies on its right side, missed when the whole interval lies on the wrong one, and undecided otherwise. One run decides nothing, unless the quantity is exact.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from ordinate.ground.errors import InputError

__all__ = ["Interval", "Method", "Verdict", "combine", "interval", "judge"]

Verdict = Literal["holds", "fails", "inconclusive"]
Method = Literal["t", "bootstrap", "exact", "given"]

_FEWEST_RESAMPLED = 5


@dataclass(frozen=True)
class Interval:
    """An estimate and the 95 % interval around it; infinite ends where there is too little to tell."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float], method: Method = "t") -> Interval:
    """The interval of the mean of `values`.

    Args:
        values: one number a seed. For ``"exact"`` a single number; for ``"given"`` the triple (estimate, low, high) that the measurement itself came with.
        method: how the interval is computed.

    Raises:
        InputError: no values, a value that is not a number, or a wrong count for the method.
    """
    if not len(values) or any(math.isnan(value) for value in values):
        raise InputError(f"an interval needs numbers, not {list(values)}")
    if method == "exact":
        if len(values) != 1:
            raise InputError(f"an exact quantity is one number, not {len(values)}")
        return Interval(values[0], values[0], values[0])
    if method == "given":
        if len(values) != 3 or not values[1] <= values[0] <= values[2]:
            raise InputError(f"a given interval is (estimate, low, high), not {tuple(values)}")
        return Interval(*values)
    mean = float(np.mean(values))
    if len(values) < 2 or not all(math.isfinite(value) for value in values):
        return Interval(mean, -math.inf, math.inf)
    spread = float(np.std(values, ddof=1))
    if spread == 0.0:
        return Interval(mean, mean, mean)
    quantile = float(stats.t.ppf(0.975, len(values) - 1))
    if method == "bootstrap":
        if len(values) < _FEWEST_RESAMPLED:
            return Interval(mean, -math.inf, math.inf)
        level = 1 - 2 * float(stats.norm.cdf(-math.sqrt(len(values) / (len(values) - 1)) * quantile))
        found = stats.bootstrap(
            (np.asarray(values),), np.mean, confidence_level=level, n_resamples=9999, method="BCa", rng=np.random.default_rng(0)
        ).confidence_interval
        return Interval(mean, float(found.low), float(found.high))
    half = quantile * spread / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def judge(found: Interval, at_least: float | None, at_most: float | None) -> Verdict:
    """Where an interval lies against its bounds."""
    low_bound, high_bound = -math.inf if at_least is None else at_least, math.inf if at_most is None else at_most
    if low_bound <= found.low and found.high <= high_bound:
        return "holds"
    if found.high < low_bound or found.low > high_bound:
        return "fails"
    return "inconclusive"


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """All must hold; one that fails is enough to fail."""
    found = set(verdicts)
    if "fails" in found:
        return "fails"
    return "holds" if found == {"holds"} else "inconclusive"
