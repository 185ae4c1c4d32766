"""Activations of feed-forward layers by name: the scalar functions of `ordinate.nn.activations`, and modules, which may learn.

A file of this room offers modules in `ACTIVATION_MODULES: dict[str, Callable[[], nn.Module]]`, each called once a layer, so that every layer has parameters of its own.
"""

from collections.abc import Callable
from functools import cache, partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.discovery import offered
from ordinate.ground.errors import InputError, choose
from ordinate.nn.activations import ACTIVATIONS, Function

__all__ = ["ACTIVATION_MODULES", "GATES", "activation_module", "list_activation_modules"]

GATES = {"glu": "sigmoid", "swiglu": "silu", "geglu": "gelu", "reglu": "relu"}
"""Gated feed-forward layers by name, and the function of their gate (Shazeer, GLU Variants Improve Transformer, 2020)."""


class _Scalar(nn.Module):
    """A scalar function as a module."""

    def __init__(self, function: Function, name: str) -> None:
        super().__init__()
        self.function, self.name = function, name

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Each number on its own."""
        return self.function(x)

    def extra_repr(self) -> str:
        """The function's name."""
        return self.name


def _squared_relu(x: Tensor) -> Tensor:
    return torch.relu(x).square()


ACTIVATION_MODULES: dict[str, Callable[[], nn.Module]] = {
    "gelu-tanh": partial(nn.GELU, approximate="tanh"),
    "squared-relu": partial(_Scalar, _squared_relu, "squared-relu"),
}


@cache
def _modules() -> dict[str, Callable[[], nn.Module]]:
    return offered("ordinate.nn", "ACTIVATION_MODULES")


def list_activation_modules() -> list[str]:
    """The names that `activation_module` takes, sorted."""
    return sorted({*ACTIVATIONS, *_modules()})


def activation_module(activation: str | nn.Module) -> nn.Module:
    """A module of its own for one layer: (..., m) -> (..., m).

    Args:
        activation: a name (see `list_activation_modules`), or a module, which is taken as it is.

    Raises:
        InputError: an unknown name, or something else than these.
    """
    if isinstance(activation, nn.Module):
        return activation
    if not isinstance(activation, str):
        raise InputError(f"an activation is a name or a module, not {type(activation).__name__}")
    if activation in ACTIVATIONS:
        return _Scalar(ACTIVATIONS[activation].fn, activation)
    return _modules()[choose("activation", activation, list_activation_modules())]()
