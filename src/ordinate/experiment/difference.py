"""What a table says of its first arm against each other one: paired differences with their intervals."""

import math
from dataclasses import dataclass

from ordinate.experiment.comparison import Table
from ordinate.experiment.verdict import interval

__all__ = ["Difference", "paired_differences"]


@dataclass(frozen=True)
class Difference:
    """A metric of one arm minus another's over the seeds; `low` and `high` are None where one seed tells nothing."""

    metric: str
    unit: str
    arm: str
    over: str
    mean: float
    low: float | None
    high: float | None


def paired_differences(table: Table) -> list[Difference]:
    """For every metric, the first arm minus each of the others, paired by seed, with Student's 95 % interval."""
    first, *others = table.arms
    found = []
    for metric in table.metrics:
        for other in others:
            pairs = zip(table.values(first, metric.name), table.values(other, metric.name), strict=True)
            ends = interval([a - b for a, b in pairs])
            low, high = (ends.low, ends.high) if math.isfinite(ends.low) else (None, None)
            found.append(Difference(metric.name, metric.unit, first, other, ends.mean, low, high))
    return found
