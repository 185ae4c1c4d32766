"""A comparison: arms x seeds on one task under one budget, and the table that it gives.

Every finished row is written to its own file at once, so that a comparison that was stopped goes on from the rows that it had.
"""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ordinate.experiment.measure import measure_usage
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Run, Task
from ordinate.ground.errors import InputError
from ordinate.ground.files import read_json, write_json

__all__ = ["Comparison", "Moment", "Row", "Table"]

CURVE_POINTS = 120


@dataclass
class Row:
    """One arm at one seed: what it scored and what it took."""

    arm: str
    seed: int
    metrics: dict[str, float]
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    parameters: int | None = None
    flops: float | None = None
    peak_memory_bytes: int | None = None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Moment:
    """Where a comparison stands, for whoever watches: a run begins (`row` is None) or has ended."""

    comparison: str
    arm: str
    seed: int
    number: int
    total: int
    row: Row | None = None
    reused: bool = False


class Table:
    """The rows of a comparison."""

    def __init__(self, rows: Sequence[Row], metrics: Sequence[Metric] = (), title: str = "") -> None:
        self.rows = list(rows)
        self.metrics = tuple(metrics)
        self.title = title

    @property
    def arms(self) -> list[str]:
        """The arms' names, in the order in which they were given."""
        return list(dict.fromkeys(row.arm for row in self.rows))

    @property
    def seeds(self) -> list[int]:
        """The seeds, ascending."""
        return sorted({row.seed for row in self.rows})

    def of(self, arm: str) -> list[Row]:
        """The rows of one arm, by seed.

        Raises:
            InputError: no such arm.
        """
        rows = sorted((row for row in self.rows if row.arm == arm), key=lambda row: row.seed)
        if not rows:
            raise InputError(f"the table has no arm {arm!r}: it has {', '.join(self.arms)}")
        return rows

    def values(self, arm: str, metric: str) -> list[float]:
        """One number a seed, in the order of the seeds, so that two arms' values are paired.

        Raises:
            InputError: no such arm or metric.
        """
        rows = self.of(arm)
        if any(metric not in row.metrics for row in rows):
            raise InputError(f"arm {arm!r} has no metric {metric!r}: it has {', '.join(rows[0].metrics)}")
        return [row.metrics[metric] for row in rows]

    def value(self, arm: str, metric: str) -> float:
        """The mean over the seeds."""
        values = self.values(arm, metric)
        return sum(values) / len(values)

    def to_json(self) -> dict[str, Any]:
        """A document of JSON values; what is not finite is written as a string, since JSON has no word for it."""
        return {
            "title": self.title,
            "metrics": [asdict(metric) for metric in self.metrics],
            "rows": [_plain(asdict(row)) for row in self.rows],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Table":
        """The inverse of `to_json`."""
        rows = [row_from_json(row) for row in document["rows"]]
        return cls(rows, [Metric(**metric) for metric in document["metrics"]], document["title"])


def row_from_json(document: dict[str, Any]) -> Row:
    """Read one row back."""
    metrics = {name: float(value) for name, value in document["metrics"].items()}
    curves = {name: [(float(x), float(y)) for x, y in points] for name, points in document["curves"].items()}
    return Row(**{**document, "metrics": metrics, "curves": curves})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else str(value)
    return value


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= CURVE_POINTS:
        return points
    step = (len(points) - 1) / (CURVE_POINTS - 1)
    return [points[round(index * step)] for index in range(CURVE_POINTS)]


class Comparison:
    """Arms x seeds on one task.

    Args:
        name: kebab-case; names its rows' folder.
        task: what is measured.
        arms: the contenders; their names differ.
        seeds: at most this many of the setting's seeds; 1 where nothing is random.
        title: one line for people.

    Raises:
        InputError: no arms, or two of the same name.
    """

    def __init__(self, name: str, task: Task, arms: Sequence[Arm], *, seeds: int | None = None, title: str = "") -> None:
        if not arms:
            raise InputError(f"comparison {name!r} has no arms")
        names = [arm.name for arm in arms]
        if len(set(names)) != len(names):
            raise InputError(f"comparison {name!r} names an arm twice: {', '.join(names)}")
        self.name = name
        self.task = task
        self.arms = tuple(arms)
        self.seeds = seeds
        self.title = title or task.title

    def run(
        self,
        setting: Setting,
        *,
        folder: Path | None = None,
        resume: bool = False,
        progress: bool = False,
        watch: Callable[[Moment], None] | None = None,
    ) -> Table:
        """Run every arm at every seed. Seed by seed rather than arm by arm, so that a drifting machine touches all arms alike.

        Args:
            setting: scale, seeds, device.
            folder: where rows are written as they finish; None keeps nothing.
            resume: take finished rows from `folder` and go on in the unfinished one.
            progress: tasks show their training's progress.
            watch: called before and after each run.

        Raises:
            InputError: a task gave no finite number for one of its metrics, or a row file is damaged.
        """
        if self.seeds is not None:
            setting = setting.with_seeds(self.seeds)
        pairs = [(arm, seed) for seed in setting.seeds for arm in self.arms]
        rows = []
        for number, (arm, seed) in enumerate(pairs, start=1):
            place = folder / self.name / f"{arm.name}-{seed}" if folder else None
            record = place.with_name(place.name + ".json") if place else None
            if record and resume and record.exists():
                row = row_from_json(read_json(record))
                rows.append(row)
                if watch:
                    watch(Moment(self.name, arm.name, seed, number, len(pairs), row, reused=True))
                continue
            if watch:
                watch(Moment(self.name, arm.name, seed, number, len(pairs)))
            with measure_usage(setting.device) as usage:
                outcome = self.task.run(arm, Run(seed, setting, place, resume, progress))
            lacking = [metric.name for metric in self.task.metrics if not math.isfinite(outcome.metrics.get(metric.name, math.nan))]
            if lacking:
                raise InputError(f"{self.name}: arm {arm.name!r} at seed {seed} has no finite {', '.join(lacking)}")
            row = Row(
                arm=arm.name,
                seed=seed,
                metrics=outcome.metrics,
                curves={name: _thin(points) for name, points in outcome.curves.items()},
                wall_seconds=usage.wall_seconds,
                cpu_seconds=usage.cpu_seconds,
                parameters=outcome.parameters,
                flops=outcome.flops,
                peak_memory_bytes=usage.peak_memory_bytes,
                notes=outcome.notes,
            )
            if place and record:
                write_json(record, _plain(asdict(row)))
                shutil.rmtree(place, ignore_errors=True)  # the row is what is kept; checkpoints served to resume it
            rows.append(row)
            if watch:
                watch(Moment(self.name, arm.name, seed, number, len(pairs), row))
        return Table(rows, self.task.metrics, self.title)
