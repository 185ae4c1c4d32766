r"""Initial weights of linear maps and convolutions.

Published vision networks draw every weight from a normal distribution of standard deviation 0.02. That suits maps that read some 2,500 numbers, for which :math:`1/\sqrt{\text{fan-in}} = 0.02` keeps
the scale of what passes through. A narrow network reads a few dozen, and loses a factor of ten at every map: a product of several maps, as in a gated convolution, then vanishes and trains no more.
"""

from torch import nn

__all__ = ["draw_weights"]


def draw_weights(module: nn.Module, std: float | None) -> None:
    """Draw the weights of every linear map and 2-d convolution in `module` from a truncated normal distribution, and set their biases to 0.

    Args:
        module: what is initialised, in place.
        std: the standard deviation; None takes 1 / sqrt(fan-in) of each map.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=layer.weight[0].numel() ** -0.5 if std is None else std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
