r"""The head of a linear probe: batch normalisation of the features, or none, and a linear layer.

Weights start at :math:`\mathcal N(0, 0.01^2)` and biases at 0. Normalisation matters where features come from several networks of different scales, laid side by side.

Source: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023, linear probing of concatenated representations.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError

__all__ = ["ProbeHead"]

_START = 0.01


class ProbeHead(nn.Module):
    """Features (B, d) to logits (B, C)."""

    def __init__(self, dim: int, classes: int, *, use_bn: bool = True) -> None:
        """
        Args:
            dim: d.
            classes: C.
            use_bn: normalise every feature over the batch, and by running statistics in evaluation mode.

        Raises:
            InputError: a width or number of classes below 1.
        """
        super().__init__()
        if min(dim, classes) < 1:
            raise InputError(f"a probe has at least one feature and one class, not {dim} and {classes}")
        self.bn = nn.BatchNorm1d(dim) if use_bn else nn.Identity()
        self.linear = nn.Linear(dim, classes)
        nn.init.normal_(self.linear.weight, std=_START)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """The logits.

        Raises:
            InputError: features of another width.
        """
        if features.ndim != 2 or features.shape[1] != self.linear.in_features:
            raise InputError(f"this probe reads features (batch, {self.linear.in_features}), not {tuple(features.shape)}")
        return self.linear(self.bn(features))

    @torch.no_grad()
    def folded(self) -> tuple[Float[Tensor, "classes dim"], Float[Tensor, " classes"]]:
        """Weight (C, d) and bias (C,) of the one linear map that this head is in evaluation mode."""
        weight, bias = self.linear.weight.clone(), self.linear.bias.clone()
        if isinstance(self.bn, nn.BatchNorm1d) and self.bn.running_mean is not None and self.bn.running_var is not None:
            factor = self.bn.weight / torch.sqrt(self.bn.running_var + self.bn.eps)
            bias = bias + weight @ (self.bn.bias - self.bn.running_mean * factor)
            weight = weight * factor
        return weight, bias
