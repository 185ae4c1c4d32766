"""An axis: where a number stands between two ends, linearly or by its logarithm, and the round numbers to write beside it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ordinate.ground.errors import InputError

__all__ = ["Axis", "across_name", "is_geometric", "number", "spans_decades"]

_MINUS = "\N{MINUS SIGN}"
_FARTHEST = 700.0


def number(value: float, digits: int = 3) -> str:
    """A number for people: `digits` significant figures, thousands apart, a true minus sign, powers of ten where it is very large or small."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else f"{_MINUS}∞"
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-4:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        text = f"{mantissa}e{int(power)}"
    elif size >= 1000 or size >= 10**digits - 0.5:  # where rounding to digits would take a power of ten
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}"
    return text.replace("-", _MINUS)


def is_geometric(values: Iterable[float]) -> bool:
    """Whether numbers grow by a factor rather than by a step (64, 128, 256, ...), as sizes do and training steps do not."""
    places = sorted(set(values))
    if len(places) < 3 or places[0] <= 0:
        return False
    factors = [after / before for before, after in pairwise(places)]
    return min(factors) >= 1.25 and max(factors) <= 1.5 * min(factors)


def across_name(curve: str, values: Iterable[float]) -> str:
    """What a curve's x is: what its name says after *over* or *by* (``"accuracy over points"``), else sizes or training steps by how the numbers grow."""
    for word in (" over ", " by "):
        if word in curve:
            return curve.rpartition(word)[2]
    return "size" if is_geometric(values) else "step"


def spans_decades(values: Iterable[float], decades: float = 1.5) -> bool:
    """Whether numbers are all positive and the largest is at least ten to the `decades` times the smallest."""
    found = list(values)
    return bool(found) and min(found) > 0 and max(found) >= 10**decades * min(found)


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, `low` < `high`; both positive where `log`."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, values: Iterable[float], *, log: bool = False, margin: float = 0.06) -> "Axis":
        """The axis on which all finite `values` have room: `margin` of the length is left at each end.

        Raises:
            InputError: nothing finite, or nothing positive for a logarithm.
        """
        found = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
        if not found:
            raise InputError("an axis needs numbers")
        low, high = (math.log(end) if log else end for end in (min(found), max(found)))
        if high - low < 1e-9 * max(1.0, abs(low), abs(high)):
            half = math.log(2) if log else 0.5 * abs(low) or 0.5
            low, high = low - half, high + half
        room = margin * (high - low)
        low, high = low - room, high + room
        # the ends of what a float can say: beyond them the margin would be nothing, or infinite
        return cls(math.exp(max(low, -_FARTHEST)), math.exp(min(high, _FARTHEST)), True) if log else cls(low, high)

    def at(self, value: float) -> float:
        """Where a value stands: 0 at the low end, 1 at the high end; what lies beyond an end is put on it."""
        if self.log:
            place = (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low)) if value > 0 else 0.0
        else:
            place = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, place))

    def ticks(self, about: int = 4) -> Sequence[float]:
        """Round numbers on the axis, about as many as asked for."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for leads in ((1,), (1, 3), (1, 2, 5)):
                found = [lead * 10.0**power for power in powers for lead in leads if self.low <= lead * 10.0**power <= self.high]
                if len(found) >= 2:
                    return found[:: max(1, math.ceil(len(found) / (about + 1)))]
        length = self.high - self.low
        power = 10.0 ** math.floor(math.log10(length / about))
        step = min((power * lead for lead in (1, 2, 5, 10)), key=lambda step: abs(length / step - about))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [float(f"{index * step:.12g}") for index in range(first, last + 1)]
