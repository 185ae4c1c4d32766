r"""Initialisation by two variances: biases :math:`\mathcal N(0, C_b)`, weights :math:`\mathcal N(0, C_W / n_{\mathrm{in}})`.

:math:`n_{\mathrm{in}}` is the number of inputs of one output: the features of a linear layer, channels times kernel positions of a convolution. He's initialisation is :math:`C_W = 2`; torch's own for linear layers is uniform
with :math:`C_W = 1/3`.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), section 2.3.
"""

import math

import torch
from torch import nn

from ordinate.ground.errors import InputError

__all__ = ["fan_in", "untouched", "variance_init_", "weight_layers"]

WeightLayer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def weight_layers(module: nn.Module) -> list[tuple[str, WeightLayer]]:
    """The linear and convolutional layers with their names, in the order in which the module has them; those whose weights are shared appear once."""
    found: dict[int, tuple[str, WeightLayer]] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, _KINDS):
            found.setdefault(id(layer.weight), (name, layer))
    return list(found.values())


def untouched(module: nn.Module) -> list[str]:
    """The names of trained parameters that belong to no such layer: norms, embeddings, attention's projections of its own."""
    known = {id(parameter) for _, layer in weight_layers(module) for parameter in layer.parameters()}
    return [name for name, parameter in module.named_parameters() if id(parameter) not in known]


def fan_in(layer: WeightLayer) -> int:
    """The number of inputs of one output."""
    return math.prod(layer.weight.shape[1:])


@torch.no_grad()
def variance_init_(
    module: nn.Module,
    C_b: float,
    C_W: float,
    *,
    first_C_W: float | None = None,
    last_C_W: float | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Draw the weights and biases of all linear and convolutional layers anew, in place; other parameters (norms, embeddings) are left alone.

    Args:
        module: the network.
        C_b: variance of the biases.
        C_W: variance of the weights times the number of their inputs.
        first_C_W: of the first layer, or None for `C_W`.
        last_C_W: of the last layer, or None for `C_W`.
        generator: to draw from; None is torch's own.

    Returns:
        The module.

    Raises:
        InputError: a negative variance, or a module without such layers.
    """
    if any(variance is not None and not 0 <= variance < math.inf for variance in (C_b, C_W, first_C_W, last_C_W)):
        raise InputError(f"variances are finite and 0 or more, not C_b={C_b}, C_W={C_W}, first_C_W={first_C_W}, last_C_W={last_C_W}")
    layers = weight_layers(module)
    if not layers:
        raise InputError("the module has no linear or convolutional layer to initialise")
    for number, (_, layer) in enumerate(layers):
        variance = C_W
        if number == len(layers) - 1 and last_C_W is not None:
            variance = last_C_W
        if number == 0 and first_C_W is not None:
            variance = first_C_W
        layer.weight.normal_(0.0, math.sqrt(variance / fan_in(layer)), generator=generator)
        if layer.bias is not None:
            layer.bias.normal_(0.0, math.sqrt(C_b), generator=generator)
    return module
