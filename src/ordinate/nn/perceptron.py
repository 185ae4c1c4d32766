r"""A perceptron whose layers have names: hidden layers :math:`h_\ell = \mathrm{dropout}(\sigma(W_\ell h_{\ell - 1} + b_\ell))` called ``hidden.0``, ``hidden.1``, ..., and a linear ``head``.

A name is where activations are taken and replaced, so that what a layer represents can be measured and steered. The representation of a layer is what comes out of it: after the activation, and in training after dropout.
"""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation

__all__ = ["Perceptron"]


class _Layer(nn.Module):
    def __init__(self, before: int, after: int, activation: Activation, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(before, after)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.activation(self.linear(x)))


class Perceptron(nn.Module):
    """Inputs (B, n) to outputs (B, outputs)."""

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, *, activation: str = "relu", dropout: float = 0.0) -> None:
        """
        Args:
            inputs: n.
            hidden: widths of the hidden layers, at least one.
            outputs: of the head.
            activation: by name.
            dropout: chance that a hidden unit is 0 in training.

        Raises:
            InputError: no hidden layer, a width below 1, an unknown activation, or a chance outside [0, 1).
        """
        super().__init__()
        if not hidden or min(inputs, outputs, *hidden) < 1 or not 0 <= dropout < 1:
            raise InputError(
                f"a perceptron needs widths of at least 1 and dropout in [0, 1), not {inputs}, {list(hidden)}, {outputs} and {dropout}"
            )
        self.hidden = nn.Sequential(
            *(_Layer(before, after, Activation.of(activation), dropout) for before, after in pairwise([inputs, *hidden]))
        )
        self.head = nn.Linear(hidden[-1], outputs)

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """The outputs."""
        return self.head(self.hidden(x))
