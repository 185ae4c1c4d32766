"""Figures as files, SVG and PNG: every seed a dot with the interval of the mean beside it, training curves, time and memory against size on logarithmic axes with their fitted exponents.

They are drawn on `matplotlib.figure.Figure`, with no display and no global state, and the same input gives the same bytes.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ordinate.bench.base import BenchResult
from ordinate.experiment.comparison import Table
from ordinate.experiment.evidence import Evidence, Judgement
from ordinate.experiment.verdict import interval
from ordinate.report.axis import Axis, across_name, is_geometric, number, spans_decades
from ordinate.report.saving import save_figure
from ordinate.report.style import THEMES, VERDICTS, arm_dash

__all__ = ["save_bench_figures", "save_evidence_figures", "save_table_figures"]

_COLOURS = THEMES["light"]
_WIDTH = 7.2
_ONE_COLUMN = 8
_MARKERS = "osD^vPX*"


def save_evidence_figures(evidence: Evidence, folder: Path) -> list[Path]:
    """Draw the claims' bars (`claims`), and every comparison's scores and curves (`<comparison>-scores`, `<comparison>-curves`).

    Args:
        evidence: what a check found.
        folder: where the files go; made where it is absent.

    Returns:
        The files written, an SVG and a PNG of each figure.

    Raises:
        OSError: the folder cannot be written.
    """
    paths = save_figure(lambda: _claims_figure(evidence), folder, "claims")
    for name, table in evidence.tables.items():
        paths += _save_table(table, folder, f"{name}-")
    return paths


def save_table_figures(table: Table, folder: Path) -> list[Path]:
    """Draw a comparison's scores, every seed a dot (`scores`), and its curves where it has any (`curves`).

    Args:
        table: the rows.
        folder: where the files go; made where it is absent.

    Returns:
        The files written, an SVG and a PNG of each figure.

    Raises:
        OSError: the folder cannot be written.
    """
    return _save_table(table, folder, "")


def save_bench_figures(result: BenchResult, folder: Path, title: str) -> list[Path]:
    """Draw time and memory against size with the fitted exponents (`time`, `memory`), or a bar a contender where no size varies; and every further number against time (`quality`).

    Args:
        result: what a bench found.
        folder: where the files go; made where it is absent.
        title: of the bench.

    Returns:
        The files written, an SVG and a PNG of each figure.

    Raises:
        OSError: the folder cannot be written.
    """
    times = [(row.contender, row.size, row.seconds * 1e3) for row in result.rows if row.seconds > 0]
    memories = [(row.contender, row.size, row.memory_bytes / 2**20) for row in result.rows if row.memory_bytes]
    paths = []
    if times:
        paths += save_figure(lambda: _bench_figure(result, times, title, "ms", result.exponents), folder, "time")
    if memories:
        paths += save_figure(lambda: _bench_figure(result, memories, title, "peak MiB", {}), folder, "memory")
    numeric = [
        key
        for key in dict.fromkeys(key for row in result.rows for key in row.extra)
        if all(isinstance(row.extra.get(key, 0.0), int | float) for row in result.rows)
    ]
    if numeric and times:
        paths += save_figure(lambda: _quality_figure(result, numeric, title), folder, "quality")
    return paths


def _save_table(table: Table, folder: Path, prefix: str) -> list[Path]:
    paths = []
    if table.rows and table.metrics:
        paths += save_figure(lambda: _scores_figure(table), folder, f"{prefix}scores")
    if any(row.curves for row in table.rows):
        paths += save_figure(lambda: _curves_figure(table), folder, f"{prefix}curves")
    return paths


def _grid(count: int, height: float, columns: int = 2, width: float = _WIDTH) -> tuple[Figure, list[Axes]]:
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    places = [figure.add_subplot(rows, columns, index + 1) for index in range(count)]
    return figure, places


def _wrap(text: str, width: int) -> str:
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if len(joined) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = joined
    return "\n".join(lines).replace("$", r"\$")


def _plain_ticks(place: Axes) -> None:
    """Numbers rather than powers on the logarithmic axes; where little more than a decade shows, its parts have labels too."""
    for axis, scale, ends in ((place.xaxis, place.get_xscale(), place.get_xlim()), (place.yaxis, place.get_yscale(), place.get_ylim())):
        if scale == "log":
            if max(ends) < 30 * min(ends):
                axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if max(ends) > 3 * min(ends) else range(1, 10)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
            axis.set_minor_formatter(NullFormatter())


def _seeds(place: Axes, values: Sequence[float], height: float, colour: str) -> None:
    """Every seed a dot, stacked around `height` in the order of the seeds, so that equal values do not hide each other."""
    spread = 0.24
    heights = [height + spread * (index / max(1, len(values) - 1) - 0.5) for index in range(len(values))]
    place.plot(values, heights, "o", color=colour, alpha=0.55, markersize=4.5, markeredgewidth=0)


def _interval(place: Axes, mean: float, low: float, high: float, height: float, colour: str) -> None:
    if math.isfinite(low) and math.isfinite(high):
        place.plot([low, high], [height, height], "-", color=colour, linewidth=2.2, solid_capstyle="butt")
    place.plot([mean], [height], "|", color=colour, markersize=13, markeredgewidth=2.2)


def _claims_figure(evidence: Evidence) -> Figure:
    bars = [(finding, bar) for finding in evidence.findings for bar in finding.bars]
    columns = 1 if len(bars) <= _ONE_COLUMN else 2
    rows = max(1, math.ceil(len(bars) / columns))
    figure = Figure(figsize=(_WIDTH if columns == 1 else 1.5 * _WIDTH, 0.5 + 0.92 * rows), layout="constrained")
    figure.suptitle(f"{evidence.paper}: the claims at {evidence.scale} scale", x=0.01, ha="left", fontweight="bold", color=_COLOURS["ink"])
    for index, (finding, bar) in enumerate(bars):
        place = figure.add_subplot(rows, columns, 1 + columns * (index % rows) + index // rows)
        _draw_bar(place, bar)
        place.set_title(_wrap(f"{VERDICTS[bar.verdict]} {finding.claim}", 90 // columns), fontsize=9, color=_COLOURS[bar.verdict])
        place.set_xlabel(
            _wrap(bar.label + (f"  ({bar.unit})" if bar.unit and bar.unit != "x" else ""), 100 // columns), fontsize=8.5, labelpad=1
        )
    return figure


def _draw_bar(place: Axes, bar: Judgement) -> None:
    seeds = bar.values if bar.method in ("t", "bootstrap") else []
    bounds = [bound for bound in (bar.at_least, bar.at_most) if bound is not None]
    shown = [value for value in (*seeds, bar.mean, bar.low, bar.high, *bounds) if math.isfinite(value)]
    axis = Axis.around(shown or [0.0], margin=0.1)
    place.axvspan(
        axis.low if bar.at_least is None else bar.at_least, axis.high if bar.at_most is None else bar.at_most, color=_COLOURS["allowed"]
    )
    for bound in bounds:
        place.axvline(bound, color=_COLOURS["soft"], linewidth=1, linestyle=(0, (4, 3)))
    _seeds(place, seeds, 0.0, _COLOURS["ink"])
    if math.isfinite(bar.mean):
        _interval(place, bar.mean, bar.low, bar.high, 0.0, _COLOURS[bar.verdict])
    place.set_xlim(axis.low, axis.high)
    place.set_ylim(-0.5, 0.5)
    place.set_yticks([])
    place.spines["left"].set_visible(False)
    place.grid(False)


def _scores_figure(table: Table) -> Figure:
    arms = table.arms
    figure, places = _grid(len(table.metrics), 0.75 + 0.34 * len(arms))
    figure.suptitle(_wrap(table.title, 90), x=0.01, ha="left", fontweight="bold", color=_COLOURS["ink"])
    for place, metric in zip(places, table.metrics, strict=True):
        every = [value for arm in arms for value in table.values(arm, metric.name)]
        if spans_decades(every):
            place.set_xscale("log")
        for index, arm in enumerate(arms):
            values = table.values(arm, metric.name)
            colour = _COLOURS[f"arm{index % 8}"]
            _seeds(place, values, index, colour)
            ends = interval(values)
            low = ends.low if place.get_xscale() == "linear" else max(ends.low, 0.5 * min(every))
            _interval(place, ends.mean, low, ends.high, index, colour)
        place.set_yticks(range(len(arms)), [_wrap(arm, 28) for arm in arms])
        place.set_ylim(len(arms) - 0.4, -0.6)
        _plain_ticks(place)
        better = "higher is better" if metric.higher_is_better else "lower is better"
        place.set_title(_wrap(f"{metric.name}{f' ({metric.unit})' if metric.unit else ''}", 42))
        place.set_xlabel(better, fontsize=8.5)
        place.grid(False, axis="y")
    return figure


def _curves_figure(table: Table) -> Figure:
    names = list(dict.fromkeys(name for row in table.rows for name in row.curves))
    figure, places = _grid(len(names), 2.6)
    figure.suptitle(_wrap(table.title, 90), x=0.01, ha="left", fontweight="bold", color=_COLOURS["ink"])
    for place, name in zip(places, names, strict=True):
        lines = [(row.arm, [(x, y) for x, y in row.curves.get(name, []) if math.isfinite(x) and math.isfinite(y)]) for row in table.rows]
        sizes = is_geometric(x for _, points in lines for x, _ in points)
        if sizes:
            place.set_xscale("log")
        if spans_decades([y for _, points in lines for _, y in points], 1.5 if sizes else 2.0):
            place.set_yscale("log")
        drawn: set[str] = set()
        for arm, points in lines:
            if not points:
                continue
            index = table.arms.index(arm)
            place.plot(
                [x for x, _ in points],
                [y for _, y in points],
                color=_COLOURS[f"arm{index % 8}"],
                linestyle=_dash(index),
                marker=_MARKERS[index % 8] if len(points) <= 16 else "",
                markersize=3.5,
                linewidth=1.2,
                alpha=0.8,
                label="_" if arm in drawn else arm.replace("$", r"\$"),
            )
            drawn.add(arm)
        _plain_ticks(place)
        place.set_title(_wrap(name, 42))
        place.set_xlabel(_wrap(across_name(name, (x for _, points in lines for x, _ in points)), 42), fontsize=8.5)
    if places:
        handles, labels = places[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=3, fontsize=8.5)
    return figure


def _dash(index: int) -> Any:
    dash = arm_dash(index)
    return (0, tuple(float(part) for part in dash.split())) if dash else "-"


def _bench_figure(
    result: BenchResult,
    points: Sequence[tuple[str, int | None, float]],
    title: str,
    unit: str,
    exponents: dict[str, tuple[float, float, float]],
) -> Figure:
    contenders = list(dict.fromkeys(row.contender for row in result.rows))
    by_contender: dict[str, list[tuple[int | None, float]]] = defaultdict(list)
    for contender, size, value in points:
        by_contender[contender].append((size, value))
    sized = any(size is not None for _, size, _ in points)
    figure = Figure(figsize=(_WIDTH, 4.2 if sized else 1.0 + 0.36 * len(by_contender)), layout="constrained")
    place = figure.add_subplot()
    place.set_title(_wrap(title, 90))
    place.set_xscale("log")
    if not sized:
        names = [name for name in contenders if name in by_contender]
        for index, name in enumerate(names):
            for _, value in by_contender[name]:
                place.plot([value], [index], _MARKERS[0], color=_COLOURS["arm0" if name == result.peer else "arm1"], markersize=7)
        place.set_yticks(range(len(names)), [_wrap(name, 40) for name in names])
        place.set_ylim(len(names) - 0.5, -0.5)
        _plain_ticks(place)
        place.set_xlabel(unit)
        return figure
    place.set_yscale("log")
    for index, contender in enumerate(contenders):
        found = sorted((size, value) for size, value in by_contender[contender] if size is not None)
        if not found:
            continue
        label = contender.replace("$", r"\$")
        if contender in exponents:
            slope, low, high = exponents[contender]
            label += f":  {result.size_name}$^{{{slope:.2f}}}$  [{low:.2f}, {high:.2f}]"
            _fitted(place, found, slope, _COLOURS[f"arm{index % 8}"])
        place.plot(
            [size for size, _ in found],
            [value for _, value in found],
            linestyle=_dash(index) if contender not in exponents else "",
            marker=_MARKERS[index % 8],
            color=_COLOURS[f"arm{index % 8}"],
            label=label,
        )
    sizes = sorted({size for _, size, _ in points if size is not None})
    place.minorticks_off()
    _plain_ticks(place)
    place.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=30 if len(sizes) > 6 else 0)
    place.set_xlabel(result.size_name)
    place.set_ylabel(unit)
    place.legend(fontsize=8.5)
    return figure


def _fitted(place: Axes, points: Sequence[tuple[int, float]], slope: float, colour: str) -> None:
    """The power law of that exponent through the points' centre of gravity, on logarithmic axes."""
    x = sum(math.log(size) for size, _ in points) / len(points)
    y = sum(math.log(value) for _, value in points) / len(points)
    ends = [points[0][0], points[-1][0]]
    place.plot(ends, [math.exp(y + slope * (math.log(end) - x)) for end in ends], "-", color=colour, linewidth=1, alpha=0.6)


def _quality_figure(result: BenchResult, keys: Sequence[str], title: str) -> Figure:
    contenders = list(dict.fromkeys(row.contender for row in result.rows))
    figure, places = _grid(len(keys), 2.9)
    figure.suptitle(_wrap(title, 90), x=0.01, ha="left", fontweight="bold", color=_COLOURS["ink"])
    for place, key in zip(places, keys, strict=True):
        for index, contender in enumerate(contenders):
            found = [(row.seconds * 1e3, float(row.extra[key])) for row in result.rows if row.contender == contender and key in row.extra]
            if found:
                place.plot(
                    *zip(*sorted(found), strict=True),
                    color=_COLOURS[f"arm{index % 8}"],
                    marker=_MARKERS[index % 8],
                    linestyle=_dash(index),
                    label=contender.replace("$", r"\$"),
                )
        place.set_xscale("log")
        _plain_ticks(place)
        place.set_title(_wrap(key, 42))
        place.set_xlabel("ms")
    handles, labels = places[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=3, fontsize=8.5)
    return figure
