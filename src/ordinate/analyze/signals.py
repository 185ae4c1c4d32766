r"""Signals in real networks at initialisation: two inputs forward, one gradient back.

A plain perceptron of equal widths is drawn many times. Two inputs of the same size with a given cosine go through it, and the gradient of a random linear function of its outputs comes back. At criticality the mean of z² stays where it
is, the cosine changes as a power of depth, and the gradient by z keeps its size; elsewhere they grow or die exponentially.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), sections 3.2, 5.1 and 9.1.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.criticality import find_criticality
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.nn.activations import Activation
from ordinate.nn.deep_mlp import DeepMLP
from ordinate.nn.variance_init import variance_init_

__all__ = ["Propagation", "Signals", "propagate"]


@dataclass(frozen=True)
class Propagation:
    """Networks to draw.

    Attributes:
        activation: the activation.
        C_b, C_W: variances of the biases, and of the weights times the number of their inputs.
        first: K^1, the variance of the first layer's preactivations.
    """

    activation: Activation
    C_b: float
    C_W: float
    first: float = 1.0

    @classmethod
    def read(cls, text: str, width: int) -> "Propagation":
        """Networks in words: an activation's name, and after a comma how they are initialised. K^1 is the critical K*, or 1 where any will do.

        Args:
            text: ``"gelu"`` or ``"gelu, critical"`` is at criticality; ``"gelu, x 0.8"`` has 0.8 times the critical C_W, ``"tanh, C_b = 0.1"`` other biases; ``"gelu, He"`` and ``"gelu, torch default"`` are those recipes.
            width: n, which torch's default for biases depends on.

        Raises:
            InputError: an unknown activation, or another recipe.
        """
        name, _, recipe = (part.strip() for part in text.partition(","))
        report = find_criticality(name)
        C_b, C_W = report.C_b, report.C_W
        try:
            if recipe == "He":
                C_b, C_W = 0.0, 2.0
            elif recipe == "torch default":
                C_b, C_W = 1 / (3 * width), 1 / 3
            elif recipe.startswith("x "):
                C_W *= float(recipe.removeprefix("x "))
            elif recipe.startswith("C_b = "):
                C_b = float(recipe.removeprefix("C_b = "))
            elif recipe not in ("", "critical"):
                raise ValueError
        except ValueError:
            raise InputError(f"no initialisation {recipe!r}: it is critical, He, torch default, x FACTOR or C_b = NUMBER") from None
        return cls(Activation.of(name), C_b, C_W, report.K_star or 1.0)


@dataclass(frozen=True)
class Signals:
    """What N networks of L layers showed; float64.

    Attributes:
        squares: the mean of z² over the neurons of each layer, for the first input, (N, L).
        cosines: of the two inputs' preactivations, (N, L).
        decades: log10 of the gradient's norm by z^1 over that by z^L, (N,).
    """

    squares: Float[Tensor, "nets layers"]
    cosines: Float[Tensor, "nets layers"]
    decades: Float[Tensor, " nets"]


def propagate(what: Propagation, depth: int, width: int, draws: int, cosine: float, seed: int) -> Signals:
    """Draw networks and send the signals.

    Args:
        what: the activation and the variances.
        depth: L, at least 1.
        width: n, of all layers, the last included; at least 2.
        draws: N, at least 1.
        cosine: of the two inputs, in [-1, 1].
        seed: of all that is drawn.

    Raises:
        InputError: numbers out of range, or a first kernel below C_b.
    """
    if depth < 1 or width < 2 or draws < 1 or not -1 <= cosine <= 1:
        raise InputError(
            f"signals need a layer, two neurons, a network and a cosine in [-1, 1], not depth={depth}, width={width}, draws={draws}, cosine={cosine}"
        )
    if what.first < what.C_b:
        raise InputError(f"the first layer's variance K^1 = {what.first} cannot be below that of its biases, {what.C_b}")
    x = math.sqrt(2.0) * torch.tensor([[1.0, 0.0], [cosine, math.sqrt(1 - cosine**2)]])
    model = DeepMLP([2, *[width] * depth], what.activation)
    source = generator(seed, "signals")
    squares, cosines, decades = [], [], []
    for _ in range(draws):
        variance_init_(model, what.C_b, what.C_W, first_C_W=what.first - what.C_b, generator=source)
        layers = model.preactivations(x)
        probe = torch.randn(width, generator=source)
        at_first, at_last = torch.autograd.grad((layers[-1][0] * probe).sum(), [layers[0], layers[-1]])
        z = torch.stack(layers).detach().double()
        products = torch.einsum("lai,lbi->lab", z, z) / width
        size = (products[:, 0, 0] * products[:, 1, 1]).sqrt()
        squares.append(products[:, 0, 0])
        cosines.append(torch.where(size > 0, products[:, 0, 1] / size.clamp(min=1e-300), 1.0))
        norms = [float(part[0].double().norm()) for part in (at_first, at_last)]
        decades.append(math.log10(max(norms[0], 1e-300) / norms[1]))
    return Signals(torch.stack(squares), torch.stack(cosines), torch.tensor(decades, dtype=torch.float64))
