"""The contract of a bench: speed and memory against a peer, side by side in one run.

A bench times every contender at every size in turn and gives plain rows; ratios are taken within the run, so that a slow machine touches both sides. Timings never appear in tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ordinate.experiment.measure import fit_exponent
from ordinate.ground.discovery import offered
from ordinate.ground.errors import choose

__all__ = ["Bench", "BenchResult", "Timing", "fitted_exponents", "get_bench", "list_benches"]


@dataclass(frozen=True)
class Timing:
    """One contender at one size.

    Attributes:
        contender: its name in the table.
        size: the size that varies (a length, a number of vectors), or None.
        seconds: the median over the repeats.
        memory_bytes: peak memory beyond the inputs, or None where it was not measured.
        extra: further columns: quality at that speed, queries a second, ...
    """

    contender: str
    size: int | None
    seconds: float
    memory_bytes: int | None = None
    extra: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchResult:
    """What a bench found.

    Attributes:
        rows: every timing.
        peer: the contender that ratios are taken against.
        size_name: what the size is: ``"length"``.
        exponents: contender -> (exponent of time in the size, low, high) where the sizes allow a fit.
        remarks: one line each: from which length on a mixer is ahead, what was left out and why.
    """

    rows: Sequence[Timing]
    peer: str
    size_name: str = ""
    exponents: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Bench:
    """A bench by name.

    Attributes:
        title: one line for people.
        run: `run(sizes, device, quick, watch)` -> BenchResult. `sizes` is None for the bench's own; `quick` asks for seconds instead of minutes; `watch(text)` is told what is being timed.
        sizes: the bench's own sizes; empty where none varies.
    """

    title: str
    run: Callable[[Sequence[int] | None, str, bool, Callable[[str], Any]], BenchResult]
    sizes: tuple[int, ...] = ()


def fitted_exponents(rows: Sequence[Timing], *, start: int = 0) -> dict[str, tuple[float, float, float]]:
    """The exponent of time in the size, with its interval, of every contender that was timed at three sizes or more.

    Args:
        rows: the timings.
        start: the least size that counts.
    """
    found = {}
    for contender in dict.fromkeys(row.contender for row in rows):
        times = [(row.size, row.seconds) for row in rows if row.contender == contender and row.size is not None and row.size >= start]
        if len(times) >= 3:
            found[contender] = fit_exponent(*zip(*times, strict=True))
    return found


@cache
def _benches() -> dict[str, Bench]:
    return offered("ordinate.bench", "BENCHES")


def list_benches() -> list[str]:
    """The names of the benches, sorted."""
    return sorted(_benches())


def get_bench(name: str) -> Bench:
    """The bench called `name`.

    Raises:
        InputError: there is none of that name.
    """
    return _benches()[choose("bench", name, _benches())]
