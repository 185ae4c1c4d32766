"""A training run: one model, trained once on an objective and kept in a folder of its own.

run.json               what was asked, and how inputs are prepared
metrics.jsonl          the curves
checkpoints/           the last checkpoint, and the best
model/                 the trained model, once it is finished: `ordinate.models.registry.load_model` reads it
objective.safetensors  the objective's own weights (a nested head, a temperature), where it has any
result.json            the metrics at the end
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from safetensors.torch import save_file
from torch import nn

from ordinate.experiment.folder import claim_folder
from ordinate.experiment.setting import Setting
from ordinate.ground.errors import InputError, choose
from ordinate.ground.files import atomic_path, read_json, write_json
from ordinate.models.base import Model, VisionEncoder
from ordinate.models.budget import sized
from ordinate.models.registry import create_model, load_model, model_class, save_model
from ordinate.objectives.base import create_objective
from ordinate.tasks.registry import get_task, list_tasks
from ordinate.tasks.training import TrainingTask, make_seeded
from ordinate.train.fit import first_process, fit

__all__ = ["Agreed", "FinishedRun", "Request", "load_run", "parse_assignments", "train_run"]

CARD = "run.json"


@dataclass(frozen=True)
class Request:
    """What is to be trained.

    Attributes:
        model: a registered model's name.
        objective: an objective's name.
        data: a named dataset or a path; None is the default of the task that serves the objective.
        arguments: of the model, beyond those that the data decide.
        options: of the objective.
        recipe: fields of the task's recipe to replace.
        batch_size: rows a step, or None for the task's own.
        parameters: size the model to this many parameters, instead of its published size.
        strict: what cannot be read in the data is an error.
    """

    model: str
    objective: str
    data: str | None = None
    arguments: Mapping[str, Any] | None = None
    options: Mapping[str, Any] | None = None
    recipe: Mapping[str, Any] | None = None
    batch_size: int | None = None
    parameters: int | None = None
    strict: bool = False


@runtime_checkable
class Agreed(Protocol):
    """An objective that fixes something before training which other runs must share: a table of class directions, say."""

    def card(self) -> dict[str, Any]:
        """What is fixed, as JSON values. It is kept in the run's card under ``"agreed"``."""
        ...


@dataclass(frozen=True)
class FinishedRun:
    """A run that has been trained to its end: its folder, its card, and the model in evaluation mode."""

    folder: Path
    card: dict[str, Any]
    model: Model


def parse_assignments(pairs: Sequence[str]) -> dict[str, Any]:
    """``["depth=4", "mixer=nprf", "dims=(2, 3)"]`` to a dictionary; what is no Python literal is taken as text.

    Raises:
        InputError: an item without ``=``.
    """
    found = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"arguments are given as name=value, not {pair!r}")
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[name] = text
    return found


def _task_for(objective: str, data: str | None) -> type[TrainingTask]:
    """The task that serves an objective: of several, the one that the data begin with the name of (``"sorting:10"``), or else the first by name."""
    tasks = [task for task in map(get_task, list_tasks()) if issubclass(task, TrainingTask)]
    choose("objective", objective, {name for task in tasks for name in task.objectives})
    serving = [task for task in tasks if objective in task.objectives]
    return next((task for task in serving if data is not None and data.partition(":")[0] == task.name), serving[0])


def _make_model(request: Request, fitted: Mapping[str, Any]) -> nn.Module:
    if request.parameters is None:
        return create_model(request.model, **{**fitted, **(request.arguments or {})})
    if not issubclass(model_class(request.model), VisionEncoder):
        raise InputError(f"{request.model} has no family that can be sized: give its widths as arguments instead of a number of parameters")
    if request.arguments:
        raise InputError("a model that is sized to a number of parameters takes no arguments of its own")
    return sized(request.model, request.parameters, **fitted)


def train_run(
    request: Request,
    setting: Setting,
    folder: Path,
    *,
    resume: bool = False,
    progress: bool = False,
    tensorboard: bool = False,
    workers: int = 0,
) -> dict[str, float]:
    """Train what `request` asks for in `folder`, and keep the model.

    Args:
        request: what.
        setting: its first seed, device, scale (which decides how long, where the request does not) and steps.
        folder: the run's own.
        resume: go on with the run in `folder`.
        progress, tensorboard, workers: see :func:`ordinate.train.fit.fit`.

    Returns:
        The task's metrics at the end.

    Raises:
        InputError: unknown names, arguments that do not fit, a folder that is not this run's, or a loss that is not finite.
        MissingError: the data is not at hand.
    """
    seed = setting.seeds[0]
    task = _task_for(request.objective, request.data).from_data(request.data, setting, strict=request.strict)
    if not isinstance(task, TrainingTask):
        raise TypeError(f"{type(task).__name__}.from_data gave another kind of task")
    if request.batch_size is not None:
        if request.batch_size < 1:
            raise InputError(f"the batch size must be at least 1, not {request.batch_size}")
        task.batch_size = request.batch_size
    recipe = task.recipe(setting)
    steps = {"steps": setting.steps, "warmup": min(recipe.warmup, setting.steps)} if setting.steps else {}
    recipe = replace(recipe, **{**steps, **(request.recipe or {})})
    model = make_seeded(lambda: _make_model(request, task.model_arguments()), seed)
    objective = make_seeded(partial(create_objective, request.objective, model, **(request.options or {})), seed)
    card = {
        "model": request.model,
        "arguments": dict(request.arguments or {}),
        "parameters": request.parameters,
        "objective": request.objective,
        "options": dict(request.options or {}),
        "task": task.name,
        "data": request.data,
        "strict": request.strict,
        "recipe": recipe.to_json(),
        "batch_size": task.batch_size,
        "seed": seed,
        "input": task.input_card(),
    }
    if isinstance(objective, Agreed):
        card["agreed"] = objective.card()
    if first_process():
        claim_folder(folder, CARD, card, resume)
    first, *_ = task.metrics
    history = fit(
        model,
        objective,
        task.batches(seed, request.objective),
        recipe,
        seed=seed,
        device=setting.device,
        folder=folder,
        resume=resume,
        evaluate=lambda judged: task.score(judged, setting.device),
        evaluate_every=max(1, recipe.steps // task.points),
        best=first.name if first.higher_is_better else f"-{first.name}",
        progress=progress,
        tensorboard=tensorboard,
        workers=workers,
    )
    result = {metric.name: history.last(metric.name) for metric in task.metrics}
    if not first_process():
        return result
    state = objective.state_dict()
    if state:
        with atomic_path(folder / "objective.safetensors") as temporary:
            save_file({name: tensor.cpu().contiguous() for name, tensor in state.items()}, temporary)
    if not (folder / "model").exists():
        save_model(model, folder / "model")  # type: ignore[arg-type]
    write_json(folder / "result.json", result)
    return result


def load_run(folder: Path) -> FinishedRun:
    """The finished run in `folder`.

    Raises:
        InputError: no run, or one that is not finished.
    """
    if not (folder / CARD).is_file():
        raise InputError(f"{folder} is not a training run: make one with ordinate train")
    if not (folder / "model").is_dir():
        raise InputError(f"the run in {folder} is not finished: go on with ordinate train ... --out {folder} --resume")
    return FinishedRun(folder, read_json(folder / CARD), load_model(folder / "model").eval())
