"""How the time of a training step of a deep kernel machine grows with rows and with inducing points: steps at doubling sizes, and the exponent that fits them. Nothing is trained."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ordinate.experiment.measure import fit_exponent, measure_time
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator
from ordinate.models.deep_kernel_machine import DeepKernelMachine
from ordinate.models.sparse_deep_kernel_machine import SparseDeepKernelMachine

__all__ = ["GROWING", "TASKS", "KernelCost", "training_step"]

FEATURES = 8
KERNELS = ("sqexp", "sqexp")


def training_step(rows: int, inducing: int | None, chance: torch.Generator) -> Callable[[], Any]:
    """A call that takes the objective of all rows and its gradient, for a machine with one learned Gram matrix.

    Args:
        rows: n.
        inducing: p, or None for the exact machine.
        chance: to draw the rows from.

    Raises:
        InputError: more inducing points than rows.
    """
    x = torch.randn(rows, FEATURES, generator=chance, dtype=torch.float64)
    y = torch.randn(rows, 1, generator=chance, dtype=torch.float64)
    if inducing is None:
        exact = DeepKernelMachine(rows, FEATURES, 1, kernels=KERNELS).initialise(x, y)
        return lambda: exact.objective().backward()
    sparse = SparseDeepKernelMachine(FEATURES, 1, inducing=inducing, kernels=KERNELS).initialise(x, y)
    return lambda: _backward(sparse.collapsed_bound(x, y))


def _backward(value: Tensor) -> None:
    value.backward()


class KernelCost(Task):
    """Seconds of a training step against a size. An arm's `make(size, chance)` gives the step; see `GROWING`.

    Args:
        exact, rows, inducing: ascending sizes for what grows, three at least: n of the exact machine, n and p of the sparse one.
        repeats: of which the median counts.
    """

    name = "kernel-cost"
    title = "Time of a training step of deep kernel machines"
    metrics = (
        Metric("exponent", higher_is_better=False, meaning="p of seconds ~ size^p, by least squares on logarithms"),
        Metric(
            "doubling", "x", higher_is_better=False, meaning="seconds at the greatest size over those at half of it, by the last two sizes"
        ),
        Metric("seconds", "s", higher_is_better=False, meaning="of a step at the greatest size"),
    )

    def __init__(self, *, exact: tuple[int, ...], rows: tuple[int, ...], inducing: tuple[int, ...], repeats: int = 5) -> None:
        for sizes in (exact, rows, inducing):
            if len(sizes) < 3 or sizes[0] < 1 or list(sizes) != sorted(set(sizes)):
                raise InputError(f"an exponent is fitted to at least three ascending sizes, not {sizes}")
        self.sizes = {"exact, rows": exact, "sparse, rows": rows, "sparse, inducing points": inducing}
        self.repeats = repeats

    def arm(self, name: str) -> Arm:
        """What grows: ``"exact, rows"``, ``"sparse, rows"`` (with as many inducing points as the smallest size of the other has) or ``"sparse, inducing points"`` (on the most rows)."""
        choose("what grows", name, GROWING)
        return Arm(name, partial(GROWING[name], self.sizes["sparse, rows"][-1], self.sizes["sparse, inducing points"][0]))

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Time a step at every size."""
        choose("what grows", arm.name, self.sizes)
        sizes = self.sizes[arm.name]
        seconds = [measure_time(arm.make(size, generator(run.seed, "rows", size)), repeats=self.repeats) for size in sizes]
        exponent, low, high = fit_exponent(sizes, seconds)
        last = sizes[-1] / sizes[-2]
        return Outcome(
            {
                "exponent": exponent,
                "doubling": (seconds[-1] / seconds[-2]) ** (1 / torch.tensor(last).log2().item()),
                "seconds": seconds[-1],
            },
            curves={"seconds": list(zip(map(float, sizes), seconds, strict=True))},
            notes={"interval": [low, high]},
        )


def _exact(rows: int, inducing: int, size: int, chance: torch.Generator) -> Callable[[], Any]:
    return training_step(size, None, chance)


def _more_rows(rows: int, inducing: int, size: int, chance: torch.Generator) -> Callable[[], Any]:
    return training_step(size, inducing, chance)


def _more_points(rows: int, inducing: int, size: int, chance: torch.Generator) -> Callable[[], Any]:
    return training_step(rows, size, chance)


GROWING = {"exact, rows": _exact, "sparse, rows": _more_rows, "sparse, inducing points": _more_points}
"""What grows -> `make(rows, inducing, size, chance)`, which gives a step at that size."""

TASKS = {KernelCost.name: KernelCost}
