"""The training loop: one for everything that trains.

A batch is a pure function of (seed, step), and so is everything that is random inside a step: torch's generators are seeded from (seed, step, rank) before it. A run that is killed at any moment
and called again with `resume=True` therefore goes on from its last checkpoint and ends, on a CPU, with the very same bits as one that was never stopped.

Under `torchrun` every process takes its share of the rows of the same batch and the gradients are averaged, so that N processes do what one would with the whole batch.
"""

import atexit
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, cast, runtime_checkable

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive
from ordinate.train.average import MovingAverage
from ordinate.train.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from ordinate.train.history import History
from ordinate.train.optimizers import make_optimizer, set_rate
from ordinate.train.recipe import Recipe

__all__ = ["Batches", "Diverged", "StepEnd", "first_process", "fit"]

Batch = dict[str, Tensor]
_CURVE_POINTS = 200
_CHECKPOINT_SECONDS = 30.0
_ROWS_NAMED = 16


@runtime_checkable
class Batches(Protocol):
    """Makes the batch of a step: the rows of process `rank` out of `world`, all on the CPU. A pure function of its arguments."""

    def __call__(self, step: int, rank: int = 0, world: int = 1) -> Batch: ...


class Diverged(InputError):
    """The loss is not a finite number; the message names the step, the batch's rows and the last good checkpoint."""


@dataclass(frozen=True)
class StepEnd:
    """What a callback is told after an optimizer step: how many steps are done, the loss, and the model (not the moving average)."""

    step: int
    loss: float
    model: nn.Module


class _Steps(Dataset[Batch]):
    def __init__(self, batches: Batches, rank: int, world: int) -> None:
        self._batches, self._rank, self._world = batches, rank, world

    def __getitem__(self, step: int) -> Batch:
        return self._batches(step, self._rank, self._world)


class _Step(nn.Module):
    """The objective of the model as one module, so that a distributed wrapper sees every forward pass, whichever method of the model the objective calls."""

    def __init__(self, model: nn.Module, objective: Callable[[nn.Module, Batch], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.objective = objective  # a submodule if it is a module, a plain attribute if it is a function

    def forward(self, batch: Batch) -> Tensor:
        return self.objective(self.model, batch)


@contextmanager
def _asked_to_stop(alone: bool) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C (or SIGTERM) into a wish that is granted between two steps; a second Ctrl-C interrupts at once.

    Several processes do not hear a signal at the same step and would wait for each other for ever: there it interrupts at once, and the last periodic checkpoint serves.
    """
    if not alone or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = False
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    for number in before:
        signal.signal(number, ask)
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def first_process() -> bool:
    """Whether this is the process that writes and speaks: the only one, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def _leave_group() -> None:
    # A process that ends while its group's threads still run is aborted by the C++ runtime.
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _make_fabric(device: str, precision: str) -> Any:
    from lightning_fabric import Fabric  # here: it brings two seconds of imports, which a listing of the papers need not wait for

    kind = torch.device(device)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        atexit.register(_leave_group)
        local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
        return Fabric(accelerator=kind.type, devices=local, num_nodes=world // local, strategy="ddp", precision=cast(Any, precision))
    devices: Any = [kind.index or 0] if kind.type == "cuda" else 1
    return Fabric(accelerator=kind.type, devices=devices, precision=cast(Any, precision))


def fit(
    model: nn.Module,
    objective: Callable[[nn.Module, Batch], Tensor],
    batches: Batches,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "cpu",
    folder: Path | None = None,
    resume: bool = False,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    evaluate_every: int | None = None,
    best: str | None = None,
    scale: Callable[[str], float] | None = None,
    callbacks: Sequence[Callable[[StepEnd], None]] = (),
    checkpoint_every: int | None = None,
    progress: bool = False,
    tensorboard: bool = False,
    workers: int = 0,
) -> History:
    """Train `model` on `objective`.

    Args:
        model: trained in place; moved to `device`. With `recipe.ema` it ends with the averaged weights.
        objective: `objective(model, batch)` -> scalar loss. If it is a module its parameters are trained and kept too; if it has `update()`, that is called after each optimizer step.
        batches: makes the batch of a step; if it has `rows(step)`, a diverged run names the rows.
        recipe: how.
        seed: of all that is random inside a step.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        folder: where checkpoints (`checkpoints/`) and `metrics.jsonl` are kept; None keeps nothing.
        resume: go on from the folder's last checkpoint, if it has one.
        evaluate: `evaluate(model)` -> numbers, called without gradients and in evaluation mode at the end and every `evaluate_every` steps, with the moving average where there is one.
        evaluate_every: steps.
        best: the number of `evaluate` whose best is kept as a checkpoint of its own; higher is better, or lower with a minus sign in front: ``"-loss"``.
        scale: the factor on the learning rate of a parameter, by its name in the model; see :func:`ordinate.train.optimizers.parameter_groups`.
        callbacks: called after each optimizer step.
        checkpoint_every: steps; by default a checkpoint is written at most every 30 seconds, when interrupted, and at the end.
        progress: a progress bar on stderr with loss and time left.
        tensorboard: write TensorBoard's event files to `folder` too.
        workers: processes that prepare batches ahead; their number changes nothing but the speed.

    Returns:
        The curves: ``"loss"``, ``"lr"`` and whatever `evaluate` gives.

    Raises:
        Diverged: the loss is not finite.
        InputError: the folder holds a run and `resume` is False, or was begun with another recipe or seed; the batch cannot be cut as `recipe.accumulate` asks; nothing to train; `best` is not among the numbers.
        KeyboardInterrupt: after the step at hand, with a checkpoint written.
    """
    if workers < 0:
        raise InputError(f"workers must be 0 or more, not {workers}")
    checkpoints = folder / "checkpoints" if folder else None
    found = latest_checkpoint(checkpoints) if checkpoints else None
    if found and not resume:
        raise InputError(f"{folder} holds a run already: continue it with --resume, or choose another folder with --out")
    fabric = _make_fabric(device, recipe.precision)
    fabric.launch()
    whole = _Step(model, objective)
    names = [(name.removeprefix("model."), parameter) for name, parameter in whole.named_parameters()]
    optimizer = make_optimizer(names, recipe, scale)
    step_module, wrapped = fabric.setup(whole, optimizer)
    average = MovingAverage(model, recipe.ema) if recipe.ema is not None else None
    first = fabric.global_rank == 0
    history = History(
        folder / "metrics.jsonl" if folder and first else None, folder / "tensorboard" if folder and tensorboard and first else None
    )
    card = {"recipe": recipe.to_json(), "seed": seed}
    start = 0

    def state() -> dict[str, Any]:
        return {
            "trained": whole.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average.module.state_dict() if average else None,
            "precision": fabric.strategy.precision.state_dict(),
        }

    if found:
        saved = load_checkpoint(found)
        differing = sorted(key for key in card if saved.card.get(key) != card[key])
        if differing:
            raise InputError(
                f"{folder} was begun with another {' and '.join(differing)}: repeat that command, or choose another folder with --out"
            )
        try:
            whole.load_state_dict(saved.state["trained"])
        except RuntimeError as error:
            raise InputError(f"{found} is a checkpoint of another model ({' '.join(str(error).split())[:200]})") from None
        optimizer.load_state_dict(saved.state["optimizer"])
        if average:
            average.module.load_state_dict(saved.state["average"])
        if saved.state["precision"]:
            fabric.strategy.precision.load_state_dict(saved.state["precision"])
        start = saved.step
        history.best = tuple(saved.card["best"]) if saved.card.get("best") else None
        if first:
            history.rewind(start)

    def save(done: int) -> None:
        history.flush()
        if checkpoints and first:
            save_checkpoint(checkpoints, done, state(), {**card, "best": history.best})

    def measure(done: int) -> None:
        if evaluate is None:
            return
        judged = average.module if average else model
        was_training = judged.training
        judged.eval()
        with torch.no_grad(), fabric.autocast():
            values = dict(evaluate(judged))
        judged.train(was_training)
        history.add(done, values)
        if best is None:
            return
        name = best.removeprefix("-")
        if name not in values:
            raise InputError(f"best asks for {name!r}, and evaluate gives {', '.join(values) or 'nothing'}")
        sign = -1.0 if best.startswith("-") else 1.0
        if history.best is None or sign * values[name] > sign * history.best[1]:
            history.best = (done, float(values[name]))
            if checkpoints and first:
                save_checkpoint(checkpoints, done, {"model": judged.state_dict()}, {**card, "best": history.best}, kind="best")

    log_every = max(1, recipe.steps // _CURVE_POINTS)
    loader = DataLoader(
        _Steps(batches, fabric.global_rank, fabric.world_size),
        batch_size=None,
        sampler=range(start, recipe.steps),
        num_workers=workers,
        persistent_workers=False,
    )
    last_saved = monotonic()
    with (
        torch.random.fork_rng([fabric.device] if fabric.device.type == "cuda" else []),
        _asked_to_stop(fabric.world_size == 1) as asked,
        _bar(progress and first, start, recipe.steps) as show,
    ):
        whole.train()
        try:
            for step, batch in enumerate(loader, start=start):
                torch.manual_seed(derive(seed, "step", step, fabric.global_rank))
                set_rate(optimizer, recipe.rate(step))
                loss = _advance(fabric, step_module, wrapped, fabric.to_device(batch), recipe)
                done = step + 1
                if not math.isfinite(loss):
                    raise Diverged(_diverged(loss, step, batches, latest_checkpoint(checkpoints) if checkpoints else None))
                if hasattr(objective, "update"):
                    objective.update()
                if average:
                    average.update(model)
                if done % log_every == 0 or done == recipe.steps:
                    history.add(done, {"loss": loss, "lr": recipe.rate(step)})
                for callback in callbacks:
                    callback(StepEnd(done, loss, model))
                if done == recipe.steps or (evaluate_every and done % evaluate_every == 0):
                    measure(done)
                show(done, loss)
                due = done % checkpoint_every == 0 if checkpoint_every else monotonic() - last_saved > _CHECKPOINT_SECONDS
                if due or done == recipe.steps or asked():
                    save(done)
                    last_saved = monotonic()
                if asked() and done < recipe.steps:
                    raise KeyboardInterrupt
        finally:
            history.close()
    if average:
        model.load_state_dict(average.module.state_dict())
    model.eval()
    return history


def _advance(fabric: Any, step_module: Any, optimizer: Any, batch: Batch, recipe: Recipe) -> float:
    """One optimizer step; the loss, averaged over pieces and processes."""
    pieces = _cut(batch, recipe.accumulate)

    def losses() -> Tensor:
        optimizer.zero_grad()
        parts = []
        for number, piece in enumerate(pieces, start=1):
            more = number < len(pieces)
            with fabric.no_backward_sync(step_module) if more else nullcontext():
                loss = step_module(piece) / len(pieces)
                fabric.backward(loss)
            parts.append(loss.detach())
        return torch.stack(parts).sum()

    if recipe.optimizer == "lbfgs":
        loss = optimizer.step(losses)
    else:
        loss = losses()
        if bool(torch.isfinite(loss)):  # else the weights stay as they were: the run stops here
            if recipe.clip is not None:
                fabric.clip_gradients(step_module, optimizer, max_norm=recipe.clip, error_if_nonfinite=False)
            optimizer.step()
    return float(cast(Tensor, fabric.all_reduce(loss.detach(), reduce_op="mean")))


def _cut(batch: Batch, pieces: int) -> list[Batch]:
    if pieces == 1:
        return [batch]
    rows = {name: len(tensor) for name, tensor in batch.items()}
    if any(count % pieces for count in rows.values()):
        raise InputError(f"accumulate={pieces} does not divide the batch's rows: {rows}")
    parts = {name: tensor.chunk(pieces) for name, tensor in batch.items()}
    return [{name: part[index] for name, part in parts.items()} for index in range(pieces)]


def _diverged(loss: float, step: int, batches: Batches, checkpoint: Path | None) -> str:
    rows = getattr(batches, "rows", None)
    named = list(rows(step)) if rows is not None else []
    which = f", rows {', '.join(map(str, named[:_ROWS_NAMED]))}{', ...' if len(named) > _ROWS_NAMED else ''} of the data" if named else ""
    good = f"the last good checkpoint is {checkpoint}" if checkpoint else "there is no checkpoint yet"
    return f"the loss is {loss} at step {step}{which}: lower the learning rate, clip gradients, or look at these rows; {good}"


@contextmanager
def _bar(wanted: bool, start: int, steps: int) -> Iterator[Callable[[int, float], None]]:
    if not wanted:
        yield lambda done, loss: None
        return
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        bar = display.add_task("training", total=steps, completed=start, loss="–")
        yield lambda done, loss: display.update(bar, completed=done, loss=f"{loss:.4g}")
