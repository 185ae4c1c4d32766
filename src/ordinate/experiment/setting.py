"""A setting: at which scale, with which seeds, on which device and from which data a check runs."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ordinate.ground.errors import InputError, MissingError, choose

__all__ = ["SCALES", "Setting"]

SCALES = ("smoke", "full", "gpu")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Setting:
    """What a check may spend, and where it runs.

    Attributes:
        scale: ``"smoke"`` shows that the path runs and which way it points (20 s a paper on 2 CPU cores), ``"full"`` is what a verdict comes from (15 min), ``"gpu"`` is near the paper's own.
        seeds: the seeds of the paired runs, each used once for every arm.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:0"``, ``"mps"``.
        data_dir: where datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.
        steps: training steps, in place of the task's own number.
    """

    scale: str = "smoke"
    seeds: tuple[int, ...] = (0, 1, 2)
    device: str = "cpu"
    data_dir: Path | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        choose("scale", self.scale, SCALES)
        if not self.seeds:
            raise InputError("at least one seed is needed")
        if any(seed < 0 for seed in self.seeds):
            raise InputError(f"seeds must be 0 or more, not {min(self.seeds)}")
        if len(set(self.seeds)) != len(self.seeds):
            raise InputError(f"seeds must differ, or the interval is a fiction: {self.seeds}")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"steps must be at least 1, not {self.steps}")
        _check_device(self.device)

    def pick(self, *, smoke: _T, full: _T, gpu: _T | None = None) -> _T:
        """One value by scale; `gpu` is `full` where it is not given."""
        if self.scale == "smoke":
            return smoke
        return full if self.scale == "full" or gpu is None else gpu

    def with_seeds(self, count: int) -> "Setting":
        """This setting with at most `count` of its seeds."""
        return replace(self, seeds=self.seeds[:count])

    def to_json(self) -> dict[str, Any]:
        """What evidence records of it; not the folder, which is the machine's own."""
        document = asdict(self)
        del document["data_dir"]
        return {**document, "seeds": list(self.seeds)}


def _check_device(name: str) -> None:
    import torch  # here, so that a command's --help does not wait for it

    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"unknown device {name!r}: use cpu, cuda, cuda:0 or mps") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MissingError("no CUDA device is at hand: use --device cpu, or a machine with one")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MissingError("no MPS device is at hand: use --device cpu, or a machine with one")
