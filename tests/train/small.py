"""A run that takes a fraction of a second and uses everything that must survive a kill: dropout, running statistics, momentum, an average, an objective with weights and an update of its own."""

import io
import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from ordinate.ground.seeds import generator
from ordinate.tasks.training import make_seeded
from ordinate.train.fit import StepEnd, fit
from ordinate.train.history import History
from ordinate.train.recipe import Recipe

RECIPE = Recipe(steps=40, lr=1e-2, weight_decay=0.1, warmup=5, clip=1.0, ema=0.8, accumulate=2)


class Squares(nn.Module):
    """Squared error with a trained scale, and a count of its updates."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return ((self.scale * model(batch["x"]) - batch["y"]) ** 2).mean()

    def update(self) -> None:
        self.updates += 1


def make() -> tuple[nn.Module, Squares]:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Dropout(0.2), nn.Linear(16, 1))

    return make_seeded(build, 0), Squares()


def batches(step: int, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
    x = torch.randn(16, 6, generator=generator("small", step))
    return {"x": x[rank::world], "y": x.sum(dim=1, keepdim=True)[rank::world]}


def run(
    folder: Path | None, *, resume: bool = False, pause: float = 0.0, recipe: Recipe = RECIPE, **options
) -> tuple[dict[str, Tensor], History]:
    """Train, and give all final weights with the curves."""

    def wait(end: StepEnd) -> None:
        time.sleep(pause)

    model, objective = make()
    history = fit(
        model,
        objective,
        batches,
        recipe,
        seed=3,
        folder=folder,
        resume=resume,
        evaluate=lambda judged: {"mean": float(judged(batches(999)["x"]).mean())},
        evaluate_every=10,
        best="-mean",
        callbacks=[wait] if pause else [],
        **options,
    )
    return {**model.state_dict(), **{f"objective.{key}": value for key, value in objective.state_dict().items()}}, history


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def in_a_process(work, *, kill_after: float | None = None, number: int = signal.SIGKILL) -> int:
    """Run `work()` in a forked process and give its exit status; if it still runs after `kill_after` seconds it gets the signal, and the status is minus its number."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            sys.stderr = io.StringIO()
            work()
            status = 0
        except KeyboardInterrupt:
            status = 130
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
