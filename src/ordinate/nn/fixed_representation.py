r"""A representation that is drawn once and kept: an MLP of orthogonal layers,

.. math:: \tilde\Phi(x) = s(B_L\, s(B_{L-1} \cdots s(B_1 x))), \qquad s(t) = \max(t, \rho t),

:math:`B_1` of shape (D, d) and the others (D, D), each uniformly random among matrices with orthonormal rows, columns or both. Experiments use it at unit length, :math:`\Phi(x) = \tilde\Phi(x) / \lVert\tilde\Phi(x)\rVert_2`, so that
:math:`y = \langle w, \Phi(x)\rangle` has variance :math:`\tau^2` whatever the depth; without that every layer of a leaky ReLU takes about half of the square length.

Source: Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? A Case Study on Learning with Representations (ICLR 2024), sections 3 and 5.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.nn.activations import Activation

__all__ = ["FixedRepresentation", "random_orthonormal"]


def random_orthonormal(rows: int, columns: int, draw: torch.Generator) -> Float[Tensor, "rows columns"]:
    """A matrix, float64, whose rows (where they are no more than its columns) or columns are orthonormal, uniform among such matrices."""
    tall = torch.randn(max(rows, columns), min(rows, columns), dtype=torch.float64, generator=draw)
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal().sign()  # QR alone leaves the signs to the algorithm, and the draw not uniform
    return q if rows >= columns else q.mT.contiguous()


class FixedRepresentation(nn.Module):
    """x (..., d) to Phi(x) (..., D). Nothing in it is trained.

    Attributes:
        d: the width of inputs.
        D: the width of representations.
        normalize: whether they are scaled to unit length.
        rho: the slope of the leaky ReLU for negative numbers, or None where the activation is another.
    """

    def __init__(
        self,
        d: int,
        D: int,
        layers: int,
        *,
        rho: float = 0.01,
        activation: str | Callable[[Tensor], Tensor] | None = None,
        normalize: bool = True,
        square: bool = False,
        seed: int = 0,
    ) -> None:
        """
        Args:
            d: the width of inputs.
            D: the width of representations.
            layers: L.
            rho: the slope for negative numbers of the leaky ReLU.
            activation: another one in its place, by name or as a function.
            normalize: scale to unit length.
            square: insist on orthogonal matrices, which there are for d = D only; otherwise B_1 has orthonormal rows or columns.
            seed: of the matrices.

        Raises:
            InputError: a width or depth below 1, an unknown activation, or d != D with `square`.
        """
        super().__init__()
        if min(d, D, layers) < 1:
            raise InputError(f"d, D and layers must be at least 1, not {d}, {D} and {layers}")
        if square and d != D:
            raise InputError(f"a {D} x {d} matrix is not orthogonal: take D = d, or leave square at False for orthonormal rows or columns")
        self.d, self.D, self.normalize = d, D, normalize
        self.rho = rho if activation is None else None
        self._activation = partial(F.leaky_relu, negative_slope=rho) if activation is None else Activation.of(activation).fn
        draw = generator("fixed representation", seed)
        for layer in range(layers):
            self.register_buffer(f"B{layer + 1}", random_orthonormal(D, D if layer else d, draw))

    @property
    def matrices(self) -> tuple[Float[Tensor, "D _"], ...]:
        """B_1 to B_L, float64."""
        return tuple(self.buffers())

    def layers(self, x: Float[Tensor, "*batch d"]) -> tuple[Float[Tensor, "*batch D"], ...]:
        """The values after each of the L activations, not scaled, in the dtype of x.

        Raises:
            InputError: x has another width.
        """
        if x.shape[-1] != self.d:
            raise InputError(f"this representation takes inputs of width {self.d}, not {x.shape[-1]}")
        found = []
        for matrix in self.matrices:
            x = self._activation(F.linear(x, matrix.to(x)))
            found.append(x)
        return tuple(found)

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D"]:
        """Phi(x), in the dtype of x; the origin, which has no direction, stays at 0.

        Raises:
            InputError: x has another width.
        """
        last = self.layers(x)[-1]
        return F.normalize(last, dim=-1, eps=torch.finfo(last.dtype).tiny) if self.normalize else last
