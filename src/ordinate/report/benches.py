"""The page of the benches: tables and plots of time and memory against peers, from the JSON documents that `ordinate bench` writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import escape

from ordinate.bench.base import BenchResult, Timing
from ordinate.ground.errors import InputError
from ordinate.ground.files import read_json
from ordinate.report.axis import number
from ordinate.report.drawing import Line, chart, placed, standalone
from ordinate.report.gallery import machine_words
from ordinate.report.markdown import plain, table

__all__ = ["bench_files", "read_bench"]

_PLOTS = {"time": "ms", "memory": "peak MiB"}


def read_bench(path: Path) -> tuple[dict[str, Any], BenchResult]:
    """A bench's document and its result.

    Raises:
        InputError: the file is not such a document.
    """
    document = read_json(path)
    try:
        rows = [Timing(**row) for row in document["rows"]]
        exponents = {name: (float(slope), float(low), float(high)) for name, (slope, low, high) in document["exponents"].items()}
        result = BenchResult(rows, document["peer"], document["size_name"], exponents, tuple(document["remarks"]))
        return {key: document[key] for key in ("bench", "title", "machine", "versions", "revision")}, result
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a bench's document ({error!r}): make it afresh with ordinate bench") from None


def bench_files(folder: Path) -> dict[str, str]:
    """The page and the plots of all bench documents of a folder.

    Args:
        folder: its `*.json` are read; need not exist.

    Returns:
        Relative path -> text: `benches.md`, and `benches/<name>-time.svg`, `benches/<name>-memory.svg` where sizes vary.

    Raises:
        InputError: a document is damaged.
    """
    files: dict[str, str] = {}
    parts = [
        "# Benches\n",
        "Time and memory against peers, side by side in one run: `ordinate bench NAME` repeats one here. Medians over the repeats; ratios are taken within the run.\n",
    ]
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        document, result = read_bench(path)
        drawn = {f"benches/{path.stem}-{kind}.svg": text for kind in _PLOTS if (text := _plot(result, kind, document["title"]))}
        files |= drawn
        parts.append(_section(path.stem, document, result, list(drawn)))
    if len(parts) == 2:
        parts.append("None is recorded yet.\n")
    return {"benches.md": "\n".join(parts), **files}


def _points(result: BenchResult, kind: str) -> dict[tuple[str, int | None], float]:
    if kind == "time":
        return {(row.contender, row.size): row.seconds * 1e3 for row in result.rows}
    return {(row.contender, row.size): row.memory_bytes / 2**20 for row in result.rows if row.memory_bytes is not None}


def _section(name: str, document: Mapping[str, Any], result: BenchResult, plots: list[str]) -> str:
    revision = document["revision"]
    made = f"{machine_words(document['machine'])}; torch {document['versions'].get('torch', '?')}" + (
        f"; revision `{revision['commit'][:10]}`{' with changes' if revision['dirty'] else ''}" if revision else ""
    )
    parts = [f"## {name}\n", f"{plain(document['title'])}. {made}.\n"]
    parts += [f"![{plain(document['title'])}: {Path(plot).stem.rpartition('-')[2]}]({plot})\n" for plot in plots]
    if len({row.contender for row in result.rows}) > 1:
        parts.append(f"In brackets: times {plain(result.peer)}.\n")
    for kind, unit in _PLOTS.items():
        if points := _points(result, kind):
            parts.append(_pivot(result, points, unit))
    extra = list(dict.fromkeys(key for row in result.rows for key in row.extra))
    if extra:
        rows = [
            [plain(row.contender), f"{row.size:,}" if row.size is not None else "", number(row.seconds * 1e3)]
            + [number(value) if isinstance(value := row.extra.get(key, ""), int | float) else plain(value) for key in extra]
            for row in result.rows
        ]
        parts.append(table(["contender", result.size_name or "size", "ms", *map(plain, extra)], rows, range(1, 3 + len(extra))))
    parts += [f"- {plain(contender)}: time grows as {result.size_name}^{slope:.2f} [{low:.2f}, {high:.2f}]".replace("^", r"\^") for contender, (slope, low, high) in result.exponents.items()]  # fmt: skip
    parts += [f"- {plain(remark)}" for remark in result.remarks]
    return "\n".join(parts) + "\n"


def _pivot(result: BenchResult, points: Mapping[tuple[str, int | None], float], unit: str) -> str:
    """A line a size, a column a contender, with the ratio to the peer in brackets."""
    contenders = [name for name in dict.fromkeys(row.contender for row in result.rows) if any(name == of for of, _ in points)]
    rows = []
    for size in sorted({size for _, size in points}, key=lambda size: size or 0):
        peer = points.get((result.peer, size))
        cells = []
        for contender in contenders:
            value = points.get((contender, size))
            share = f" ({number(value / peer, 2)}×)" if value is not None and peer and contender != result.peer else ""
            cells.append("–" if value is None else number(value) + share)
        rows.append([f"{size:,}" if size is not None else unit, *cells])
    return table(
        [f"{unit} by {result.size_name}" if result.size_name else "", *map(plain, contenders)], rows, range(1, 1 + len(contenders))
    )


def _plot(result: BenchResult, kind: str, title: str) -> str:
    """A log-log plot with its legend; empty where no size varies."""
    contenders = list(dict.fromkeys(row.contender for row in result.rows))
    points = _points(result, kind)
    series = {
        name: sorted((float(size), value) for (of, size), value in points.items() if of == name and size is not None and value > 0)
        for name in contenders
    }
    if len({size for found in series.values() for size, _ in found}) < 2:
        return ""
    width, height = 720, 400
    lines = [Line(found, index, name, marked=True) for index, (name, found) in enumerate(series.items()) if found]
    drawn = chart(lines, x_name=result.size_name, y_name=f"{title}: {_PLOTS[kind]}", width=width - 40, height=height - 20, log=True)
    inside = placed(drawn, 20, 14, width - 40, height - 20)
    y = float(height + 10)
    for index, name in enumerate(contenders):
        if not series[name]:
            continue
        slope = result.exponents.get(name) if kind == "time" else None
        grows = f": {result.size_name}^{slope[0]:.2f} [{slope[1]:.2f}, {slope[2]:.2f}]" if slope else ""
        inside += f'<circle cx="34" cy="{y - 4:g}" r="4" fill="var(--arm{index % 8})"/><text x="46" y="{y:g}">{escape(name + grows)}</text>'
        y += 19
    return standalone(inside, width, int(y) + 2, f"{title}: {kind} against {result.size_name}")
