"""Tasks that train their arms: data as batches, a recipe, an objective, and how a trained model is scored.

`ordinate compare` trains several arms of such a task at several seeds and keeps the rows; `ordinate train` trains one model once and keeps the weights. There is one path for both.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from ordinate.experiment.measure import count_flops
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive
from ordinate.objectives.base import create_objective
from ordinate.train.fit import Batch, Batches, fit
from ordinate.train.history import History
from ordinate.train.recipe import Recipe

__all__ = ["Trained", "TrainingTask", "arm_recipe", "make_seeded", "train_arm"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Trained:
    """What training gave: the curves, the number of trained parameters (model and objective), and the floating-point operations of one step, forward and backward (None where they cannot be counted)."""

    history: History
    parameters: int
    flops: float | None


def make_seeded(make: Callable[[], _T], seed: int) -> _T:
    """Call `make` with torch's generator seeded by `seed`, and leave the generator as it was: the weights that an arm starts from."""
    with torch.random.fork_rng([]):
        torch.manual_seed(derive(seed, "init"))
        return make()


def arm_recipe(recipe: Recipe, arm: Arm, run: Run) -> Recipe:
    """The task's recipe with what the arm changes in it, and as many steps as the setting asks for.

    Raises:
        InputError: the arm changes something that a recipe does not have.
    """
    steps = {"steps": run.setting.steps, "warmup": min(recipe.warmup, run.setting.steps)} if run.setting.steps else {}
    try:
        return replace(recipe, **{**steps, **arm.recipe})
    except TypeError as error:
        raise InputError(f"arm {arm.name!r}: {str(error).split('()')[-1].strip()}") from None


def train_arm(
    model: nn.Module,
    objective: Callable[[nn.Module, Batch], Tensor],
    batches: Batches,
    recipe: Recipe,
    run: Run,
    *,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    evaluate_every: int | None = None,
    scale: Callable[[str], float] | None = None,
) -> Trained:
    """Train one arm at one seed: `fit` with the run's seed, device, folder, and whether it is resumed.

    Raises:
        Diverged: the loss is not finite.
    """
    modules = [model] + ([objective] if isinstance(objective, nn.Module) else [])
    parameters = sum(parameter.numel() for module in modules for parameter in module.parameters() if parameter.requires_grad)
    flops = _flops_of_step(model, objective, batches)
    history = fit(
        model,
        objective,
        batches,
        recipe,
        seed=run.seed,
        device=run.setting.device,
        folder=run.folder,
        resume=run.resume,
        evaluate=evaluate,
        evaluate_every=evaluate_every,
        scale=scale,
        progress=run.progress,
    )
    return Trained(history, parameters, flops)


def _flops_of_step(model: nn.Module, objective: Callable[[nn.Module, Batch], Tensor], batches: Batches) -> float | None:
    # On copies, so that running statistics, queues and gradients of the real ones are untouched; some operations (fused kernels, complex ones) cannot be counted.
    with suppress(RuntimeError, NotImplementedError, AssertionError), torch.random.fork_rng([]):
        torch.manual_seed(0)
        twin, aim = deepcopy((model, objective))
        twin.train()
        return float(count_flops(lambda: aim(twin, batches(0)).backward()))
    return None


class TrainingTask(Task):
    """A task whose arms are models trained on its batches.

    An arm's `make` takes the task's `model_arguments` as keywords and gives the model.

    Attributes:
        objectives: the names of the objectives that its batches can serve; the first is what arms are trained on.
        batch_size: rows a step.
        points: how often the curves of the metrics are sampled on the way.
    """

    objectives: ClassVar[tuple[str, ...]]
    batch_size: int
    points: int = 5

    @abstractmethod
    def recipe(self, setting: Setting) -> Recipe:
        """How every arm is trained at this setting."""

    @abstractmethod
    def model_arguments(self) -> dict[str, Any]:
        """What a registered model must be given so that it fits the data: classes, image size, vocabulary."""

    @abstractmethod
    def batches(self, seed: int, objective: str) -> Batches:
        """The batches that `objective` is trained on."""

    @abstractmethod
    def score(self, model: nn.Module, device: str) -> dict[str, float]:
        """The task's metrics for a trained model; called in evaluation mode and without gradients."""

    def input_card(self) -> dict[str, Any]:
        """How inputs are prepared for the model, as JSON values, so that a trained model can be used on others."""
        return {}

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train and score one arm at one seed."""
        model: nn.Module = make_seeded(lambda: arm.make(**self.model_arguments()), run.seed)
        objective = make_seeded(lambda: create_objective(self.objectives[0], model), run.seed)
        recipe = arm_recipe(self.recipe(run.setting), arm, run)
        trained = train_arm(
            model,
            objective,
            self.batches(run.seed, self.objectives[0]),
            recipe,
            run,
            evaluate=lambda judged: self.score(judged, run.setting.device),
            evaluate_every=max(1, recipe.steps // self.points),
        )
        metrics = {metric.name: trained.history.last(metric.name) for metric in self.metrics}
        return Outcome(metrics, curves=trained.history.curves, parameters=trained.parameters, flops=trained.flops)
