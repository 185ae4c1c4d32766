"""What a person sees: tables on stdout, progress on stderr, JSON alone where it is asked for."""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from rich.text import Text

from ordinate.experiment.comparison import Moment, Table
from ordinate.experiment.evidence import Finding
from ordinate.experiment.task import Metric
from ordinate.experiment.verdict import interval

__all__ = ["VERDICT_STYLE", "arm_table", "finding_table", "print_json", "say", "show", "summarise", "watching"]

VERDICT_STYLE = {
    "holds": ("✓ holds", "green"),
    "fails": ("✗ fails", "red"),
    "inconclusive": ("? inconclusive", "yellow"),
    None: ("– unchecked", "dim"),
}

_FEW_METRICS, _FEW_ARMS, _COLUMNS = 4, 6, 8
_errors = Console(stderr=True, highlight=False)


def print_json(document: Any) -> None:
    """One document to stdout."""
    json.dump(document, sys.stdout, indent=1, allow_nan=False, ensure_ascii=False)
    sys.stdout.write("\n")


def say(text: str) -> None:
    """A line to stderr: where things went, what was left out."""
    _errors.print(text, markup=False, soft_wrap=True)


def show(thing: Any) -> None:
    """A table or text to stdout, as wide as the terminal, or 160 columns in a pipe."""
    console = Console(highlight=False)
    Console(highlight=False, width=None if console.is_terminal else 160).print(thing)


def verdict_text(verdict: str | None) -> Text:
    """A verdict with its sign and colour."""
    words, style = VERDICT_STYLE[verdict]
    return Text(words, style=style)


def finding_table(title: str, findings: Sequence[Finding]) -> RichTable:
    """Claim, the paper's figure, ours, verdict."""
    table = RichTable(title=title, title_justify="left", show_lines=True, expand=True)
    for name, share in (("claim", 5), ("the paper's figure", 4), ("ours", 4)):
        table.add_column(name, ratio=share, overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for finding in findings:
        claim = Text(finding.claim, style="bold") + Text(f"\n{finding.statement}", style="not bold")
        table.add_row(claim, Text(finding.published), Text(finding.measured), verdict_text(finding.verdict))
    return table


def figure(value: float | None, unit: str = "") -> str:
    """A number with its unit, in four significant figures."""
    if value is None:
        return "–"
    if unit == "" and value >= 1e6:
        return f"{value:.3g}"
    return f"{value:,.4g}{'' if unit in ('', 'x') else ' '}{unit}"


def summarise(table: Table, metric: Metric) -> dict[str, dict[str, float | None]]:
    """The mean and the 95 % half-width of a metric for every arm."""
    found = {}
    for arm in table.arms:
        values = table.values(arm, metric.name)
        ends = interval(values)
        found[arm] = {"mean": ends.mean, "half_width": ends.high - ends.mean if math.isfinite(ends.high) else None}
    return found


def arm_table(table: Table) -> Group:
    """Every metric with its interval over the seeds, parameters, FLOPs, seconds, memory: an arm a row, in several tables where the columns are many, or an arm a column where the arms are few."""
    columns: list[tuple[str, list[str]]] = []
    for metric in table.metrics:
        summaries = summarise(table, metric).values()
        cells = [
            figure(found["mean"]) + (f" ± {found['half_width']:.2g}" if found["half_width"] is not None else "") for found in summaries
        ]
        columns.append((f"{metric.name} {'↑' if metric.higher_is_better else '↓'}" + (f"\n{metric.unit}" if metric.unit else ""), cells))
    rows = [table.of(arm) for arm in table.arms]
    memory = [[row.peak_memory_bytes for row in of if row.peak_memory_bytes is not None] for of in rows]
    columns += [
        ("parameters", [f"{of[0].parameters:,}" if of[0].parameters is not None else "–" for of in rows]),
        ("FLOPs a step", [figure(of[0].flops) for of in rows]),
        ("seconds", [f"{sum(row.wall_seconds for row in of) / len(of):.1f}" for of in rows]),
        ("peak MiB", [f"{max(found) / 2**20:,.0f}" if found else "–" for found in memory]),
    ]
    seeds = len(table.seeds)
    spread = f"{seeds} seeds; ± is the half-width of the 95 % interval" if seeds > 1 else "1 seed: no interval"
    title = f"{table.title}  ({spread})"
    if len(table.metrics) > _FEW_METRICS and len(table.arms) <= _FEW_ARMS:
        turned = RichTable(title=title, title_justify="left")
        turned.add_column("", style="bold")
        for arm in table.arms:
            turned.add_column(arm, justify="right", overflow="fold")
        for name, cells in columns:
            turned.add_row(name.replace("\n", "  "), *cells)
        return Group(turned)
    parts = []
    for start in range(0, len(columns), _COLUMNS):
        part = RichTable(title=None if start else title, title_justify="left")
        part.add_column("arm", style="bold", overflow="fold")
        for name, _ in columns[start : start + _COLUMNS]:
            part.add_column(name, justify="right", overflow="fold")
        for index, arm in enumerate(table.arms):
            part.add_row(arm, *(cells[index] for _, cells in columns[start : start + _COLUMNS]))
        parts.append(part)
    return Group(*parts)


class Watch:
    """Shows where comparisons stand; pass an instance as `watch`."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._bars: dict[str, Any] = {}

    def __call__(self, moment: Moment) -> None:
        if self._progress is None:
            return
        if moment.comparison not in self._bars:
            self._bars[moment.comparison] = self._progress.add_task(moment.comparison, total=moment.total, doing="")
        bar = self._bars[moment.comparison]
        if moment.row is None:
            self._progress.update(bar, doing=f"{moment.arm}, seed {moment.seed}")
        else:
            self._progress.update(
                bar, completed=moment.number, doing="" if moment.number == moment.total else f"{moment.arm}, seed {moment.seed}"
            )


@contextmanager
def watching(quiet: bool) -> Iterator[Watch]:
    """A progress display on stderr while the block runs; silent when `quiet` or where stderr is no terminal."""
    if quiet or not _errors.is_terminal:
        yield Watch(None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[doing]}", style="dim"),
    )
    with Progress(*columns, console=_errors, transient=True) as progress:
        yield Watch(progress)
