"""Activations changed inside a network that is there already.

A ReLU network is a PolyReLU network with the coefficients (0, 1), and a network of squared ReLUs one with (0, 0, 1): after the exchange it computes the same and can be trained further with more freedom (Zhuo et al., PolyCom,
2025, section 3).
"""

from collections.abc import Callable
from copy import deepcopy

from torch import nn

from ordinate.ground.errors import InputError
from ordinate.nn.activation_modules import activation_module
from ordinate.nn.polynomial_activations import PolyReLU

__all__ = ["from_relu", "from_squared_relu", "replace_activation"]


def replace_activation(model: nn.Module, old: str | type[nn.Module], new: Callable[[], nn.Module] | str) -> nn.Module:
    """A copy of the network in which every activation of one kind is another.

    Args:
        model: is left as it is.
        old: the class of the activations to replace, or their name in feed-forward layers (``"gelu"``).
        new: makes an activation, called once a place; or a name.

    Raises:
        InputError: there is no such activation in the network, or an unknown name.
    """
    make = (lambda: activation_module(new)) if isinstance(new, str) else new
    changed = deepcopy(model)
    places = [(parent, name) for parent in changed.modules() for name, child in parent.named_children() if _is(child, old)]
    if not places:
        kind = old if isinstance(old, str) else old.__name__
        raise InputError(f"{type(model).__name__} has no {kind} among its modules (functions called in forward cannot be replaced)")
    for parent, name in places:
        setattr(parent, name, make())
    return changed


def _is(module: nn.Module, kind: str | type[nn.Module]) -> bool:
    return getattr(module, "name", None) == kind if isinstance(kind, str) else isinstance(module, kind)


def _from(model: nn.Module, name: str, power: int, order: int) -> nn.Module:
    if order < power:
        raise InputError(f"a polynomial that holds {name} has an order of at least {power}, not {order}")
    init = [0.0] * (order + 1)
    init[power] = 1.0
    kinds: list[str | type[nn.Module]] = [name, nn.ReLU] if power == 1 else [name]
    found = [kind for kind in kinds if any(_is(module, kind) for module in model.modules())]
    changed = model
    for kind in found or kinds[:1]:
        changed = replace_activation(changed, kind, lambda: PolyReLU(order, init=init))
    return changed


def from_relu(model: nn.Module, order: int = 3) -> nn.Module:
    """The same function with PolyReLUs for ReLUs (`nn.ReLU`, or feed-forward layers by name).

    Raises:
        InputError: there is no ReLU among the modules, or an order below 1.
    """
    return _from(model, "relu", 1, order)


def from_squared_relu(model: nn.Module, order: int = 3) -> nn.Module:
    """The same function with PolyReLUs for squared ReLUs of feed-forward layers.

    Raises:
        InputError: there is none among the modules, or an order below 2.
    """
    return _from(model, "squared-relu", 2, order)
