r"""A plain deep perceptron, with nothing in it but what the theory of deep networks speaks of.

.. math:: z^1 = b^1 + W^1 x, \qquad z^{\ell+1} = b^{\ell+1} + W^{\ell+1} \sigma(z^\ell) + \gamma z^\ell

with the output :math:`z^L`; :math:`\gamma` is the weight of a residual connection around every layer that keeps the width, 0 without.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), section 2.1.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation

__all__ = ["DeepMLP"]


class DeepMLP(nn.Module):
    """Inputs (B, n_0), or anything that flattens to them, to outputs (B, n_L).

    Attributes:
        layers: the L linear layers.
        activation: σ.
        residual: γ.
    """

    def __init__(
        self, widths: Sequence[int], activation: str | Activation | nn.Module | Callable[[Tensor], Tensor], residual: float = 0.0
    ) -> None:
        """
        Args:
            widths: n_0, n_1, ..., n_L.
            activation: a name, an `Activation`, a module or a function of a tensor.
            residual: γ in [0, 1).

        Raises:
            InputError: fewer than two widths, one below 1, γ outside [0, 1), or no usable activation.
        """
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise InputError(f"a network has at least one layer, and widths of 1 or more, not {list(widths)}")
        if not 0 <= residual < 1:
            raise InputError(f"the weight of a residual connection lies in [0, 1), not {residual}")
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.activation = Activation.of(activation)
        self.residual = residual

    def preactivations(self, x: Float[Tensor, "batch *features"]) -> list[Float[Tensor, "batch width"]]:
        """z^1, ..., z^L."""
        first, *others = self.layers
        found = [first(x.flatten(1))]
        for layer in others:
            z = layer(self.activation(found[-1]))
            found.append(z + self.residual * found[-1] if self.residual and z.shape == found[-1].shape else z)
        return found

    def forward(self, x: Float[Tensor, "batch *features"]) -> Float[Tensor, "batch outputs"]:
        """z^L."""
        return self.preactivations(x)[-1]
