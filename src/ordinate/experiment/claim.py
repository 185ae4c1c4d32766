"""A claim: one sentence of a paper that could be false, and the bars that a comparison's table must clear for it to hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.setting import SCALES, Setting
from ordinate.experiment.verdict import Method
from ordinate.ground.errors import InputError

__all__ = ["Bar", "Claim", "exact", "gain", "level", "ratio"]


@dataclass(frozen=True)
class Bar:
    """One inequality over a table.

    Attributes:
        label: what is measured, in words.
        values: one number a seed; for ``"exact"`` one number, for ``"given"`` (estimate, low, high).
        at_least: the bound from below.
        at_most: the bound from above.
        unit: of the values and bounds.
        method: how the interval is found; see `ordinate.experiment.verdict.interval`.
    """

    label: str
    values: Callable[[Table], Sequence[float]]
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    method: Method = "t"

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise InputError(f"bar {self.label!r} has no bound: it could not be missed")


def level(
    arm: str,
    metric: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    unit: str = "",
    method: Method = "t",
    label: str = "",
) -> Bar:
    """The metric of one arm."""
    return Bar(label or f"{metric} of {arm}", lambda table: table.values(arm, metric), at_least, at_most, unit, method)


def gain(
    arm: str,
    over: str,
    metric: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    unit: str = "",
    method: Method = "t",
    label: str = "",
) -> Bar:
    """The metric of one arm minus another's, paired by seed."""
    return Bar(
        label or f"{metric}, {arm} minus {over}",
        lambda table: [a - b for a, b in zip(table.values(arm, metric), table.values(over, metric), strict=True)],
        at_least,
        at_most,
        unit,
        method,
    )


def ratio(
    arm: str,
    over: str,
    metric: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    unit: str = "x",
    method: Method = "t",
    label: str = "",
) -> Bar:
    """The metric of one arm divided by another's, paired by seed."""
    return Bar(
        label or f"{metric}, {arm} over {over}",
        lambda table: [a / b for a, b in zip(table.values(arm, metric), table.values(over, metric), strict=True)],
        at_least,
        at_most,
        unit,
        method,
    )


def exact(
    label: str, value: Callable[[Table], float], *, at_least: float | None = None, at_most: float | None = None, unit: str = ""
) -> Bar:
    """A deterministic quantity: an identity, a count. No seeds, no interval."""
    return Bar(label, lambda table: [value(table)], at_least, at_most, unit, "exact")


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper that could be false.

    Attributes:
        name: kebab-case, unique in the paper.
        statement: the sentence.
        published: the paper's own figure and where it stands.
        comparison: makes the comparison that it is checked on; claims that name the same function share its run.
        bars: what the table must clear, or a function of the setting that gives them.
        measured: our figure in a few words, from the table; by default it is made from the bars.
        note: what differs from the paper's setting, and why it may fail here.
        scales: where it is checked.
    """

    name: str
    statement: str
    published: str
    comparison: Callable[[Setting], Comparison]
    bars: Sequence[Bar] | Callable[[Setting], Sequence[Bar]]
    measured: Callable[[Table], str] | None = None
    note: str = ""
    scales: tuple[str, ...] = SCALES

    def bars_at(self, setting: Setting) -> Sequence[Bar]:
        """The bars at this setting."""
        return self.bars(setting) if callable(self.bars) else self.bars
