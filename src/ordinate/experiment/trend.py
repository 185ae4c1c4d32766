"""Trends over arms that differ in one size: whether a metric rises with it, how far its values spread, and where it passes a level. Every number is found within a seed, so that intervals are over seeds."""

import math
from collections.abc import Mapping, Sequence

from scipy.stats import spearmanr

from ordinate.experiment.claim import Bar
from ordinate.experiment.comparison import Table
from ordinate.ground.errors import InputError

__all__ = ["across", "crossing", "rising", "spread"]


def across(table: Table, arms: Sequence[str], metric: str) -> list[tuple[float, ...]]:
    """A metric of each of the arms, one tuple a seed.

    Raises:
        InputError: no such arm or metric.
    """
    return list(zip(*(table.values(arm, metric) for arm in arms), strict=True))


def rising(label: str, arms: Mapping[str, float], metric: str, *, at_least: float) -> Bar:
    """Spearman's rank correlation of the arms' sizes, given by name, with a metric: 1 where it only rises. It is 0 where the metric does not move."""
    sizes = list(arms.values())

    def correlations(table: Table) -> list[float]:
        found = across(table, list(arms), metric)
        return [float(spearmanr(sizes, values).statistic) if len(set(values)) > 1 else 0.0 for values in found]

    return Bar(label, correlations, at_least)


def spread(label: str, arms: Sequence[str], metric: str, *, at_least: float | None = None, at_most: float | None = None) -> Bar:
    """The largest of the arms' values over the smallest, for a metric that is positive."""
    return Bar(label, lambda table: [max(values) / min(values) for values in across(table, arms, metric)], at_least, at_most, "x")


def crossing(sizes: Sequence[float], values: Sequence[float], level: float) -> float:
    """The size at which positive values first rise past a positive level, interpolated over logarithms: the first size where they are past it at once, the last where they never are.

    Raises:
        InputError: sizes that do not ascend, another number of values, or numbers without a logarithm.
    """
    if len(sizes) != len(values) or len(sizes) < 2 or list(sizes) != sorted(set(sizes)):
        raise InputError(f"a crossing needs a value for each of two or more ascending sizes, not {list(sizes)} and {len(values)} values")
    if min(*sizes, *values, level) <= 0:
        raise InputError("sizes, values and the level must be positive")
    for at in range(len(sizes) - 1):
        if values[at] <= level < values[at + 1]:
            share = math.log(level / values[at]) / math.log(values[at + 1] / values[at])
            return sizes[at] * (sizes[at + 1] / sizes[at]) ** share
    return float(sizes[0] if values[0] > level else sizes[-1])
