"""Inline SVG, drawn from the rows: strips that are as wide as their place is, and charts with axes.

Colours are CSS custom properties (`--ink`, `--holds`, `--arm0`, ...; see `ordinate.report.style`), so that one drawing is crisp on light and on dark. A strip's places along x are percentages of its width:
it does not scale, and its text stays as large as the page's. Every label is escaped here; what is returned is safe to put into HTML.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup, escape

from ordinate.experiment.evidence import Judgement
from ordinate.experiment.verdict import Interval
from ordinate.report.axis import Axis, across_name, is_geometric, number, spans_decades
from ordinate.report.style import arm_dash, css_colours

__all__ = ["Line", "bar_strip", "bounds_of", "chart", "placed", "score_axis", "score_strip", "spoken", "standalone", "ticks_strip"]

_MARGIN = 3.0
_STACK = 11.0


@dataclass(frozen=True)
class Line:
    """A series of a chart: points (x, y), the number of its contender (which gives its colour), and whether its points are marked and joined."""

    points: Sequence[tuple[float, float]]
    colour: int
    label: str = ""
    marked: bool = False
    joined: bool = True
    faint: bool = False


def bounds_of(bar: Judgement) -> str:
    """A bar's bounds in a few signs: ``"≥ 30 %"``."""
    unit = f" {bar.unit}" if bar.unit and bar.unit != "x" else bar.unit.replace("x", "×")
    if bar.at_least is not None and bar.at_least == bar.at_most:
        return f"= {number(bar.at_least)}{unit}"
    low = "" if bar.at_least is None else f"≥ {number(bar.at_least)}{unit}"
    high = "" if bar.at_most is None else f"≤ {number(bar.at_most)}{unit}"
    return " and ".join(part for part in (low, high) if part)


def spoken(values: Sequence[float], ends: Interval) -> str:
    """What a strip shows, in words, for those who do not see it."""
    spread = f", 95 % interval {number(ends.low)} to {number(ends.high)}" if math.isfinite(ends.low) and ends.low < ends.high else ""
    seeds = f"; by seed: {', '.join(number(value) for value in values)}" if len(values) > 1 else ""
    return f"{number(ends.mean)}{spread}{seeds}"


def _x(axis: Axis, value: float) -> str:
    return f"{_MARGIN + (100 - 2 * _MARGIN) * axis.at(value):.2f}%"


def _anchor(axis: Axis, value: float) -> str:
    place = axis.at(value)
    return "start" if place < 0.05 else "end" if place > 0.95 else "middle"


def _svg(height: float, inside: str, words: str, kind: str) -> Markup:
    said = escape(words)
    return Markup(
        f'<svg class="{kind}" width="100%" height="{height:g}" role="img" aria-label="{said}"><title>{said}</title>{inside}</svg>'
    )


def _dots(axis: Axis, values: Sequence[float], middle: float, colour: str) -> str:
    """Every seed a dot, stacked in the order of the seeds, so that equal values do not hide each other."""
    step = min(5.0, _STACK / max(1, len(values) - 1))
    top = middle - step * (len(values) - 1) / 2
    return "".join(
        f'<circle cx="{_x(axis, value)}" cy="{top + index * step:.1f}" r="3" fill="var(--{colour})" fill-opacity="0.5"/>'
        for index, value in enumerate(values)
        if math.isfinite(value)
    )


def _interval(axis: Axis, ends: Interval, middle: float, colour: str) -> str:
    if not math.isfinite(ends.mean):
        return ""
    drawn = f'stroke="var(--{colour})" stroke-width="2.5"'
    line = ""
    if math.isfinite(ends.low) and math.isfinite(ends.high):
        line = f'<line x1="{_x(axis, ends.low)}" x2="{_x(axis, ends.high)}" y1="{middle}" y2="{middle}" {drawn}/>'
    place = _x(axis, ends.mean)
    return f'{line}<line x1="{place}" x2="{place}" y1="{middle - 9}" y2="{middle + 9}" {drawn}/>'


def _ticks(axis: Axis, height: float, about: int = 3) -> str:
    return "".join(
        f'<text x="{_x(axis, tick)}" y="{height - 2}" text-anchor="{_anchor(axis, tick)}">{escape(number(tick))}</text>'
        for tick in axis.ticks(about)
    )


def bar_strip(bar: Judgement) -> Markup:
    """A claim's bar: the side of its bound that is allowed, every seed a dot, and the mean with its interval in the verdict's colour."""
    seeds = bar.values if bar.method in ("t", "bootstrap") else []
    ends = Interval(bar.mean, bar.low, bar.high)
    bounds = [bound for bound in dict.fromkeys((bar.at_least, bar.at_most)) if bound is not None and math.isfinite(bound)]
    shown = [value for value in (*seeds, *bounds, bar.mean, bar.low, bar.high) if math.isfinite(value)]
    axis = Axis.around(shown or [0.0], margin=0.1)
    height, middle = 46, 17
    left = 0.0 if bar.at_least is None else float(_x(axis, bar.at_least)[:-1])
    right = 100.0 if bar.at_most is None else float(_x(axis, bar.at_most)[:-1])
    inside = f'<rect x="0" y="2" width="100%" height="{2 * middle - 4}" rx="3" fill="var(--wash)"/>'
    if right > left:
        inside += f'<rect x="{left:.2f}%" y="2" width="{right - left:.2f}%" height="{2 * middle - 4}" rx="3" fill="var(--allowed)"/>'
    for bound in bounds:
        place = _x(axis, bound)
        inside += (
            f'<line x1="{place}" x2="{place}" y1="0" y2="{2 * middle}" stroke="var(--soft)" stroke-width="1.2" stroke-dasharray="3 2"/>'
        )
    inside += _dots(axis, seeds, middle, "ink") + _interval(axis, ends, middle, bar.verdict) + _ticks(axis, height)
    return _svg(height, inside, f"{bar.label}: {spoken(bar.values, ends)}; asked for: {bounds_of(bar)}", "strip")


def score_axis(every: Sequence[float], intervals: Sequence[Interval]) -> Axis:
    """One axis for all contenders' strips of a metric; logarithmic where the values span decades."""
    log = spans_decades(every)
    ends = [end for found in intervals for end in (found.low, found.high) if math.isfinite(end) and (end > 0 or not log)]
    return Axis.around([*every, *([] if log else ends)] or [0.0], log=log)


def score_strip(values: Sequence[float], ends: Interval, axis: Axis, colour: int) -> Markup:
    """One contender's values of a metric on the shared axis: every seed a dot, the mean with its interval."""
    inside = '<line x1="0" x2="100%" y1="13" y2="13" stroke="var(--line)"/>'
    inside += _dots(axis, values, 13, f"arm{colour % 8}") + _interval(axis, ends, 13, f"arm{colour % 8}")
    return _svg(26, inside, spoken(values, ends), "strip")


def ticks_strip(axis: Axis) -> Markup:
    """The numbers under strips that share an axis."""
    return Markup(f'<svg class="strip" width="100%" height="15" aria-hidden="true">{_ticks(axis, 14)}</svg>')


def chart(
    lines: Sequence[Line], *, x_name: str = "", y_name: str = "", width: int = 380, height: int = 230, log: bool | None = None
) -> Markup:
    """Lines or points on two axes. An axis is logarithmic where its numbers are sizes (x) or span decades (y), or where `log` says so of both.

    Args:
        lines: what is drawn; points that are not finite are left out.
        x_name: under the axis; by default what `across_name` makes of the numbers.
        y_name: above the axis.
        width: of the view box, in CSS pixels at full size; the drawing scales down with its place.
        height: of the view box.
        log: logarithmic axes, both or neither; None chooses each by its numbers.

    Returns:
        An SVG element; empty where there is nothing to draw.
    """
    found = [(line, [(x, y) for x, y in line.points if math.isfinite(x) and math.isfinite(y)]) for line in lines]
    xs, ys = [x for _, points in found for x, _ in points], [y for _, points in found for _, y in points]
    if not xs:
        return Markup("")
    sizes = is_geometric(xs) if log is None else log
    across = Axis.around(xs, log=sizes, margin=0.03)
    up = Axis.around(ys, log=spans_decades(ys, 1.0 if sizes else 2.0) if log is None else log, margin=0.05)
    left, right, top, bottom = 50.0, width - 10.0, 24.0 if y_name else 10.0, height - 36.0

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * across.at(x), bottom - (bottom - top) * up.at(y)

    inside = ""
    for tick in up.ticks(4):
        _, y = place(across.low, tick)
        inside += f'<line x1="{left:g}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
        inside += f'<text x="{left - 6:g}" y="{y + 4:.1f}" text-anchor="end">{escape(number(tick))}</text>'
    marks = sorted(set(xs)) if sizes and len(set(xs)) <= 7 else across.ticks(4)
    for tick in marks:
        x, _ = place(tick, up.low)
        inside += f'<text x="{x:.1f}" y="{bottom + 15:g}" text-anchor="middle">{escape(number(tick, 4))}</text>'
    for line, points in found:
        inside += _line(line, [place(x, y) for x, y in points])
    under = escape(x_name or across_name(y_name, xs))
    inside += f'<text x="{(left + right) / 2:g}" y="{height - 5}" text-anchor="middle">{under}</text>'
    if y_name:
        inside += f'<text class="name" x="2" y="13">{escape(y_name)}</text>'
    said = escape(f"{y_name or 'values'} by {under}: " + ", ".join(dict.fromkeys(line.label for line in lines if line.label)))
    return Markup(f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{said}"><title>{said}</title>{inside}</svg>')


def _line(line: Line, places: Sequence[tuple[float, float]]) -> str:
    colour, dash = f"var(--arm{line.colour % 8})", arm_dash(line.colour)
    drawn = ""
    if line.joined and len(places) > 1:
        path = "L".join(step for step, _ in groupby(f"{x:.1f} {y:.1f}" for x, y in places))
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        width, opacity = (1, 0.6) if line.faint else (1.4, 0.85)
        drawn += f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-opacity="{opacity}"{dashes}/>'
    if line.marked or len(places) == 1:
        drawn += "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places)
    return drawn


def standalone(inside: str, width: int, height: int, words: str) -> str:
    """A drawing as a file of its own: it brings its colours, a card to lie on, and follows the reader's light or dark.

    Args:
        inside: SVG elements in a view box from (0, 0) to (`width`, `height`).
        width: in CSS pixels.
        height: in CSS pixels.
        words: what it shows, for those who do not see it.

    Returns:
        The text of the SVG file.
    """
    said = escape(words)
    style = (
        f":root {{ {css_colours('light')} }} @media (prefers-color-scheme: dark) {{ :root {{ {css_colours('dark')} }} }} "
        "text { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', Helvetica, Arial, sans-serif; fill: var(--ink); } "
        "text.soft { fill: var(--soft); } text.small { font-size: 11px; } text.title { font-size: 15px; font-weight: 600; } "
        "text.name { font-weight: 600; } svg.chart text, svg.strip text { fill: var(--soft); font-size: 11px; }"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{said}">\n'
        f"<title>{said}</title>\n<style>{style}</style>\n"
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10" fill="var(--card)" stroke="var(--line)"/>\n{inside}\n</svg>\n'
    )


def placed(drawing: Markup, x: float, y: float, width: float, height: float) -> str:
    """A strip or chart at a place of a standalone drawing: (x, y) is its upper left corner."""
    head, _, rest = str(drawing).partition(">")
    kept = re.sub(r' (?:width|height|role|aria-label)="[^"]*"', "", head)
    return f'{kept} x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}">{rest}'
