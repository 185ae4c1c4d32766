"""The picture of the README: the verdict of every checked claim, and one of the comparisons behind them."""

from collections.abc import Sequence

from markupsafe import escape

from ordinate.experiment.comparison import Table
from ordinate.experiment.task import Metric
from ordinate.experiment.verdict import interval
from ordinate.report.axis import number
from ordinate.report.drawing import placed, score_axis, score_strip, standalone, ticks_strip
from ordinate.report.listing import ClaimEntry, Entry
from ordinate.report.style import VERDICTS, verdict_key

__all__ = ["draw_picture"]

_WIDTH, _EDGE = 960, 28
_ROW, _LINES = 18, 18
_NAMES = 176
_PREFERRED = "matryoshka"


def draw_picture(entries: Sequence[Entry]) -> str:
    """Draw the verdicts of all checked claims, a line a paper, and one comparison.

    Args:
        entries: the papers; those that were never checked are left out.

    Returns:
        The text of an SVG file, a pure function of the entries.
    """
    checked = [entry for entry in entries if any(claim.check for claim in entry.claims)]
    claims = [claim for entry in checked for claim in entry.claims if claim.check]
    counts = {key: sum(claim.verdict == key for claim in claims) for key in VERDICTS if key != "unchecked"}
    title = f"{len(claims)} claims of {len(checked)} papers, checked against a fair baseline over several seeds"
    inside = f'<text class="title" x="{_EDGE}" y="38">{escape(title)}</text>'
    x = float(_EDGE)
    for key, count in counts.items():
        words = f"{count} {key if key == 'inconclusive' or count == 1 else key.removesuffix('s')}"
        inside += _square(key, x, 51) + f'<text x="{x + 17:g}" y="61">{words}</text>'
        x += 36 + 7.0 * len(words)
    columns = max(1, -(-len(checked) // _LINES))
    lines = -(-len(checked) // columns) if checked else 0
    beside = len(checked) <= _LINES
    span = (_WIDTH - 2 * _EDGE) / (2 if beside else columns)
    for index, entry in enumerate(checked):
        inside += _paper(entry, _EDGE + span * (index // max(1, lines)), 92 + _ROW * (index % max(1, lines)), span)
    bottom = 92 + _ROW * lines
    chosen = _chosen(checked)
    if chosen:
        left, top = (_WIDTH / 2 + 10, 84.0) if beside else (float(_EDGE), bottom + 14.0)
        drawn, end = _comparison(*chosen, left, top, _WIDTH - _EDGE - left)
        inside += drawn
        bottom = max(bottom, int(end))
    words = f"{title}: " + ", ".join(f"{count} {key}" for key, count in counts.items())
    return standalone(inside, _WIDTH, bottom + 20, words)


def _square(key: str, x: float, y: float) -> str:
    """A verdict's sign on its colour."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="12" height="12" rx="2.5" fill="var(--{key})"/>'
        f'<text x="{x + 6:g}" y="{y + 10:g}" text-anchor="middle" style="fill:var(--card);font-size:10px;font-weight:700">{VERDICTS[key]}</text>'
    )


def _fit(text: str, width: float, letter: float = 6.4) -> str:
    """As much of a text as a width holds, at that many pixels a letter."""
    room = max(4, int(width / letter))
    return text if len(text) <= room else text[: room - 1].rstrip() + "…"


def _wrap(text: str, width: float, letter: float = 6.4) -> list[str]:
    """At most three lines of a text."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width / letter:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines if len(lines) <= 3 else [*lines[:2], _fit(" ".join(lines[2:]), width, letter)]


def _paper(entry: Entry, x: float, y: float, span: float) -> str:
    checked = [claim for claim in entry.claims if claim.check]
    step = min(15.0, (span - _NAMES - 14) / max(1, len(checked)))
    squares = "".join(_square(verdict_key(claim.verdict), x + _NAMES + index * step, y - 10) for index, claim in enumerate(checked))
    return f'<text x="{x:g}" y="{y:g}">{escape(_fit(entry.slug, _NAMES - 10))}</text>{squares}'


def _chosen(entries: Sequence[Entry]) -> tuple[Entry, ClaimEntry, Table] | None:
    """A claim whose comparison shows what a comparison is: several arms and several seeds; one that holds where there is one, since all verdicts are beside it."""
    found = []
    for entry in sorted(entries, key=lambda entry: (entry.slug != _PREFERRED, entry.slug)):
        for claim in entry.claims:
            table = claim.check.source.evidence.tables.get(claim.check.finding.comparison) if claim.check else None
            if table and table.metrics and 2 <= len(table.arms) <= 6 and len(table.seeds) >= 3:
                found.append((entry, claim, table))
    return next((each for each in found if each[1].verdict == "holds"), found[0] if found else None)


def _metric(claim: ClaimEntry, table: Table) -> Metric:
    """What the bar is about that decides the claim: the first that does not hold, else the first."""
    bars = sorted(claim.check.finding.bars, key=lambda bar: ("fails", "inconclusive", "holds").index(bar.verdict)) if claim.check else []
    return next((metric for bar in bars for metric in table.metrics if metric.name in bar.label), table.metrics[0])


def _comparison(entry: Entry, claim: ClaimEntry, table: Table, x: float, y: float, width: float) -> tuple[str, float]:
    metric = _metric(claim, table)
    drawn, line = _square(verdict_key(claim.verdict), x, y - 10), y
    for text in _wrap(f"{entry.slug}: {claim.statement}", width - 18, 7.3):
        drawn += f'<text class="name" x="{x + 18:g}" y="{line:g}">{escape(text)}</text>'
        line += 17
    meaning = f"{metric.name}{f' ({metric.unit})' if metric.unit else ''}, {'higher' if metric.higher_is_better else 'lower'} is better; a dot is a seed, the line the 95 % interval"
    drawn += f'<text class="soft small" x="{x:g}" y="{line:g}">{escape(_fit(meaning, width, 5.8))}</text>'
    line += 14
    values = {arm: table.values(arm, metric.name) for arm in table.arms}
    ends = {arm: interval(found) for arm, found in values.items()}
    axis = score_axis([value for found in values.values() for value in found], list(ends.values()))
    names, figures = 150.0, 52.0
    for index, arm in enumerate(table.arms):
        drawn += f'<circle cx="{x + 4:g}" cy="{line + 13:g}" r="4" fill="var(--arm{index % 8})"/>'
        drawn += f'<text x="{x + 14:g}" y="{line + 17:g}">{escape(_fit(arm, names - 18))}</text>'
        drawn += f'<text x="{x + names + figures - 12:g}" y="{line + 17:g}" text-anchor="end">{number(ends[arm].mean)}</text>'
        drawn += placed(score_strip(values[arm], ends[arm], axis, index), x + names + figures, line, width - names - figures, 26)
        line += 26
    drawn += placed(ticks_strip(axis), x + names + figures, line, width - names - figures, 15)
    return drawn, line + 18
