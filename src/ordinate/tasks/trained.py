"""What every task that trains its arms has in common: the loop in the run's own folder, the parameters, and the operations of one step."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from ordinate.experiment.measure import count_flops
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive
from ordinate.train.fit import Batch, Batches, fit
from ordinate.train.history import History
from ordinate.train.recipe import Recipe

__all__ = ["Trained", "arm_recipe", "make_seeded", "train_arm"]

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
