"""A task is data, a protocol and metrics: how an arm is trained and scored. An arm is one contender in it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from ordinate.experiment.setting import Setting
from ordinate.ground.errors import InputError

__all__ = ["Arm", "Metric", "Outcome", "Run", "Task"]


@dataclass(frozen=True)
class Metric:
    """A number that a task gives for an arm.

    Attributes:
        name: its key in `Outcome.metrics`.
        unit: ``"%"``, ``"nats"``, ``"s"``; empty for a bare number.
        higher_is_better: which way is up, for tables.
        meaning: one line for people.
    """

    name: str
    unit: str = ""
    higher_is_better: bool = True
    meaning: str = ""


@dataclass(frozen=True)
class Arm:
    """One contender: the method, a baseline, an ablation.

    Attributes:
        name: how tables call it.
        make: builds whatever the task asks of its arms (a model, a function); the task documents the arguments.
        recipe: what differs from the task's own training recipe; a fair comparison leaves it empty or tunes every arm alike.
        role: what it is in the comparison.
        note: one line for people.
    """

    name: str
    make: Callable[..., Any]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    role: Literal["method", "baseline", "ablation"] = "method"
    note: str = ""


@dataclass
class Run:
    """One run of one arm: its seed and setting, and a folder of its own for checkpoints, or None where nothing is kept."""

    seed: int
    setting: Setting
    folder: Path | None = None
    resume: bool = False
    progress: bool = False


@dataclass
class Outcome:
    """What one run found.

    Attributes:
        metrics: a finite number for every metric of the task.
        curves: named series of (x, y), x the training step or the size; shown in the report.
        parameters: of the trained model.
        flops: floating-point operations of one training step (forward and backward) as `torch.utils.flop_counter` counts them, or None.
        notes: further JSON values that a reader would ask for.
    """

    metrics: dict[str, float]
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    parameters: int | None = None
    flops: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)


class Task(ABC):
    """What is measured, and how. Files of the tasks room offer theirs in `TASKS: dict[str, type[Task]]`."""

    name: ClassVar[str]
    title: str
    metrics: tuple[Metric, ...]

    @abstractmethod
    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train and score one arm at one seed. A pure function of (arm, seed, setting), apart from times."""

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "Task":
        """The task on a named dataset or a path, for the command line.

        Args:
            data: a name or a path; None is the task's own default.
            setting: scale, seeds, device.
            strict: something in the data that cannot be read is an error, not a warning.

        Raises:
            InputError: this task has no such data.
        """
        raise InputError(f"task {cls.name!r} is not run on data of your own: it is a part of its paper's claims; see ordinate papers")

    def arm(self, name: str) -> Arm:
        """The arm that `name` means here, for the command line.

        Raises:
            InputError: no such arm.
        """
        raise InputError(f"task {self.name!r} has no arms by name")
