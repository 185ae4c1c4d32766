"""The gallery: one self-contained HTML file with every paper, its claims, the paper's figure beside ours, the verdicts and the runs behind them.

Nothing is loaded from anywhere (a content security policy in the page says so too), everything that comes from papers and evidence is escaped, and the page reads well without JavaScript: that adds the filter, the
theme's switch and the copying of snippets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ordinate import __version__
from ordinate.experiment.comparison import Table
from ordinate.experiment.task import Metric
from ordinate.experiment.verdict import Interval, interval
from ordinate.ground.files import write_text
from ordinate.report.axis import across_name, number
from ordinate.report.drawing import Line, bar_strip, bounds_of, chart, score_axis, score_strip, ticks_strip
from ordinate.report.listing import Entry, Source
from ordinate.report.style import VERDICTS, css_colours, verdict_key

__all__ = ["machine_words", "write_gallery"]

_WORDS = {"holds": "holds", "fails": "fails", "inconclusive": "inconclusive", "unchecked": "not checked"}
_PLURALS = {**_WORDS, "holds": "hold", "fails": "fail"}


def write_gallery(path: Path, entries: Sequence[Entry]) -> None:
    """Write the gallery.

    Args:
        path: the HTML file; replaced whole or left as it was.
        entries: the papers, in the order in which they are shown.

    Raises:
        OSError: the file cannot be written.
    """
    claims = [claim for entry in entries for claim in entry.claims]
    page = _environment().get_template("gallery.html.j2")
    text = page.render(
        entries=entries,
        counts={key: sum(verdict_key(claim.verdict) == key for claim in claims) for key in VERDICTS},
        stale=sum(claim.stale for claim in claims),
        built=sum(entry.built for entry in entries),
        total=len(claims),
    )
    write_text(path, text)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ordinate.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters["verdict_key"] = verdict_key
    environment.globals.update(
        version=__version__,
        light=Markup(css_colours("light")),
        dark=Markup(css_colours("dark")),
        signs=VERDICTS,
        words=_WORDS,
        plurals=_PLURALS,
        key=verdict_key,
        bar_strip=bar_strip,
        bounds_of=bounds_of,
        ticks_strip=ticks_strip,
        comparisons=_comparisons,
        scores=_scores,
        curves=_curves,
        costs=_costs,
        machine_words=machine_words,
        duration=_duration,
    )
    return environment


def _comparisons(entry: Entry) -> list[tuple[str, Table, Source]]:
    """The comparisons behind the verdicts that count, each once, in the order of the claims."""
    found: dict[tuple[int, str], tuple[str, Table, Source]] = {}
    for claim in entry.claims:
        check = claim.check
        if check and check.finding.comparison in check.source.evidence.tables:
            name = check.finding.comparison
            found.setdefault((id(check.source), name), (name, check.source.evidence.tables[name], check.source))
    return list(found.values())


@dataclass(frozen=True)
class _Score:
    """One contender's line under a metric."""

    arm: str
    colour: int
    figure: str
    strip: Markup


def _figure(ends: Interval) -> str:
    half = ends.high - ends.mean
    return number(ends.mean, 4) + (f" ± {number(half, 2)}" if half not in (0.0, float("inf")) else "")


def _scores(table: Table, metric: Metric) -> tuple[list[_Score], Markup]:
    """A strip a contender on one axis, and the numbers under them."""
    values = {arm: table.values(arm, metric.name) for arm in table.arms}
    ends = {arm: interval(found) for arm, found in values.items()}
    axis = score_axis([value for found in values.values() for value in found], list(ends.values()))
    lines = [
        _Score(arm, index % 8, _figure(ends[arm]), score_strip(values[arm], ends[arm], axis, index)) for index, arm in enumerate(table.arms)
    ]
    return lines, ticks_strip(axis)


def _curves(table: Table) -> list[tuple[str, Markup]]:
    """A chart a curve, by name, every contender and seed a line."""
    places = {arm: index for index, arm in enumerate(table.arms)}
    drawn = []
    for name in dict.fromkeys(name for row in table.rows for name in row.curves):
        lines = [
            Line(points, places[row.arm], row.arm, marked=len(points) <= 16, faint=len(table.seeds) > 3)
            for row in table.rows
            if (points := row.curves.get(name, []))
        ]
        drawn.append((name, chart(lines, x_name=across_name(name, (x for line in lines for x, _ in line.points)))))
    return [(name, each) for name, each in drawn if each]


def _costs(table: Table) -> list[dict[str, str]]:
    """What every contender took: parameters, operations a step, seconds a run, memory."""
    found = []
    for arm in table.arms:
        rows = table.of(arm)
        memory = [row.peak_memory_bytes for row in rows if row.peak_memory_bytes is not None]
        found.append(
            {
                "arm": arm,
                "parameters": f"{rows[0].parameters:,}" if rows[0].parameters is not None else "–",
                "flops": number(rows[0].flops) if rows[0].flops is not None else "–",
                "seconds": number(sum(row.wall_seconds for row in rows) / len(rows)),
                "memory": number(max(memory) / 2**20) if memory else "–",
            }
        )
    return found


def machine_words(machine: dict[str, Any]) -> str:
    """The machine of an evidence document in a few words."""
    gpus = machine.get("gpus") or []
    parts = [
        machine.get("cpu"),
        f"{machine['cores']} cores" if machine.get("cores") else None,
        f"{machine['threads']} thread{'s' if machine['threads'] != 1 else ''}" if machine.get("threads") else None,
        f"{machine['memory_gib']} GiB" if machine.get("memory_gib") else None,
        *gpus,
        machine.get("system"),
    ]
    return ", ".join(str(part) for part in parts if part)


def _duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
