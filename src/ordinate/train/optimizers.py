"""Optimizers by name, with weight decay where it belongs and a learning rate of its own for every group of parameters."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.optim import LBFGS, SGD, AdamW, Optimizer

from ordinate.ground.errors import InputError
from ordinate.train.recipe import Recipe

__all__ = ["make_optimizer", "parameter_groups", "set_rate"]


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], weight_decay: float, scale: Callable[[str], float] | None = None
) -> list[dict[str, Any]]:
    """Group parameters by whether they are decayed and by their learning rate's factor.

    Args:
        named: names and parameters; those that need no gradient are left out.
        weight_decay: of the parameters with two or more dimensions; biases, norms and scales are not decayed. A parameter with an attribute `decayed` says it itself.
        scale: the factor on the learning rate of a parameter, by its name (layer-wise decay); 1 for all by default.

    Returns:
        Torch's parameter groups, each with its factor under ``"scale"``.

    Raises:
        InputError: there is nothing to train.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            decayed = getattr(parameter, "decayed", parameter.ndim > 1)
            key = (weight_decay if decayed else 0.0, 1.0 if scale is None else scale(name))
            groups.setdefault(key, []).append(parameter)
    if not groups:
        raise InputError("there is nothing to train: no parameter requires a gradient")
    return [{"params": parameters, "weight_decay": decay, "scale": factor} for (decay, factor), parameters in groups.items()]


def make_optimizer(named: Iterable[tuple[str, nn.Parameter]], recipe: Recipe, scale: Callable[[str], float] | None = None) -> Optimizer:
    """The recipe's optimizer over `named` parameters; arguments as in :func:`parameter_groups`.

    Raises:
        InputError: there is nothing to train, or L-BFGS is asked to treat parameters differently.
    """
    groups = parameter_groups(named, recipe.weight_decay, scale)
    if recipe.optimizer == "adamw":
        return AdamW(groups, lr=recipe.lr, betas=recipe.betas)
    if recipe.optimizer == "sgd":
        return SGD(groups, lr=recipe.lr, momentum=recipe.momentum)
    if recipe.weight_decay or len({group["scale"] for group in groups}) > 1:
        raise InputError("lbfgs treats all parameters alike: leave weight_decay at 0 and every learning rate the same")
    parameters = [parameter for group in groups for parameter in group["params"]]
    optimizer = LBFGS(parameters, lr=recipe.lr, line_search_fn="strong_wolfe")
    optimizer.param_groups[0]["scale"] = 1.0
    return optimizer


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set every group's learning rate to `rate` times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
