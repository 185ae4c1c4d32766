r"""Ways to hold a positive definite matrix as free parameters, relative to a kernel matrix K = C C^T.

Each gives M with :math:`G = C M M^\top C^\top`, and :math:`\log\det(M M^\top)`, and can start at :math:`G = K`:

- ``whitened``: M is lower triangular with an exponential diagonal. The divergence from K needs no solve, and G follows K when K moves.
- ``exponential``: :math:`M = \exp(S / 2)` with S symmetric; the log-determinant is the trace of S.
- ``triangular``: :math:`G = L L^\top` with L lower triangular with an exponential diagonal; :math:`M = C^{-1} L`.
- ``direct``: :math:`G = e^s V V^\top / P`, as the follow-up's library has it; :math:`M = C^{-1} V e^{s/2} / \sqrt P`.

Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023); ``direct`` is that of Milsom, Anson, Aitchison, Convolutional deep kernel machines (ICLR 2024).
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.nn.cholesky import factor

__all__ = ["FORMS", "DirectForm", "ExponentialForm", "GramForm", "TriangularForm", "WhitenedForm"]

NAME = "the Gram matrix"


class GramForm(nn.Module, ABC):
    """The parameters of a positive definite G, (..., P, P); `form(root)` -> (M, log det M M^T).

    Attributes:
        relative: whether G follows K when K moves.
    """

    relative: ClassVar[bool]

    def __init__(self, points: int, *, batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> None:
        """
        Args:
            points: P.
            batch: of independent problems.
            dtype: of the parameters.
        """
        super().__init__()
        self.points = points
        self.raw = nn.Parameter(torch.zeros(*batch, points, points, dtype=dtype))

    @abstractmethod
    def set(self, root: Float[Tensor, "*batch points points"], gram: Float[Tensor, "*batch points points"]) -> None:
        """Set the parameters so that G = `gram` beside K = root root^T."""

    def start(self, root: Float[Tensor, "*batch points points"]) -> None:
        """Set the parameters so that G = K = root root^T."""
        self.set(root, root @ root.mT)

    @abstractmethod
    def forward(self, root: Float[Tensor, "*batch points points"]) -> tuple[Float[Tensor, "*batch points points"], Float[Tensor, "*batch"]]:
        """M, (..., P, P), and log det(M M^T), (...), beside the Cholesky factor of K."""


def _lower(raw: Tensor) -> Tensor:
    return raw.tril(-1) + torch.diag_embed(raw.diagonal(dim1=-2, dim2=-1).exp())


def _raw(lower: Tensor) -> Tensor:
    return lower.tril(-1) + torch.diag_embed(lower.diagonal(dim1=-2, dim2=-1).log())


def _whiten(root: Tensor, gram: Tensor) -> Tensor:
    """C^-1 G C^-T."""
    half = torch.linalg.solve_triangular(root, gram, upper=False)
    return torch.linalg.solve_triangular(root, half.mT, upper=False)


def _log_determinant(root: Tensor) -> Tensor:
    return 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(dim=-1)


class WhitenedForm(GramForm):
    """M is lower triangular; what lies above the diagonal of the parameter is not used."""

    relative = True

    @torch.no_grad()
    def set(self, root: Float[Tensor, "*batch points points"], gram: Float[Tensor, "*batch points points"]) -> None:
        """M is the Cholesky factor of C^-1 G C^-T."""
        self.raw.copy_(_raw(factor(_whiten(root, gram), NAME)))

    @torch.no_grad()
    def start(self, root: Float[Tensor, "*batch points points"]) -> None:
        """M = I."""
        self.raw.zero_()

    def forward(self, root: Float[Tensor, "*batch points points"]) -> tuple[Float[Tensor, "*batch points points"], Float[Tensor, "*batch"]]:
        """The triangle, and twice the sum of its log-diagonal."""
        return _lower(self.raw), 2 * _trace(self.raw)


class ExponentialForm(GramForm):
    """M is the exponential of half a symmetric matrix, the symmetric part of the parameter."""

    relative = True

    @torch.no_grad()
    def set(self, root: Float[Tensor, "*batch points points"], gram: Float[Tensor, "*batch points points"]) -> None:
        """S is the logarithm of C^-1 G C^-T."""
        values, vectors = torch.linalg.eigh(_whiten(root, gram))
        self.raw.copy_((vectors * values.log()[..., None, :]) @ vectors.mT)

    @torch.no_grad()
    def start(self, root: Float[Tensor, "*batch points points"]) -> None:
        """S = 0."""
        self.raw.zero_()

    def forward(self, root: Float[Tensor, "*batch points points"]) -> tuple[Float[Tensor, "*batch points points"], Float[Tensor, "*batch"]]:
        """exp(S / 2) and tr S."""
        return torch.linalg.matrix_exp(0.25 * (self.raw + self.raw.mT)), _trace(self.raw)


class TriangularForm(GramForm):
    """G = L L^T; what lies above the diagonal of the parameter is not used."""

    relative = False

    @torch.no_grad()
    def set(self, root: Float[Tensor, "*batch points points"], gram: Float[Tensor, "*batch points points"]) -> None:
        """L is the Cholesky factor of G."""
        self.raw.copy_(_raw(factor(gram, NAME)))

    def forward(self, root: Float[Tensor, "*batch points points"]) -> tuple[Float[Tensor, "*batch points points"], Float[Tensor, "*batch"]]:
        """root^-1 L by one triangular solve."""
        return torch.linalg.solve_triangular(root, _lower(self.raw), upper=False), 2 * _trace(self.raw) - _log_determinant(root)


class DirectForm(GramForm):
    """G = exp(s) V V^T / P with a full V and a scale s."""

    relative = False

    def __init__(self, points: int, *, batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> None:
        """See `GramForm`."""
        super().__init__(points, batch=batch, dtype=dtype)
        self.log_scale = nn.Parameter(torch.zeros(batch, dtype=dtype))

    @torch.no_grad()
    def set(self, root: Float[Tensor, "*batch points points"], gram: Float[Tensor, "*batch points points"]) -> None:
        """V is sqrt(P) times the Cholesky factor of G, s = 0."""
        self.raw.copy_(math.sqrt(self.points) * factor(gram, NAME))
        self.log_scale.zero_()

    def forward(self, root: Float[Tensor, "*batch points points"]) -> tuple[Float[Tensor, "*batch points points"], Float[Tensor, "*batch"]]:
        """root^-1 V by one triangular solve, scaled; the determinant of V by LU."""
        scale = (0.5 * self.log_scale).exp()[..., None, None] / math.sqrt(self.points)
        whitened = torch.linalg.solve_triangular(root, scale * self.raw, upper=False)
        determinant = 2 * torch.linalg.slogdet(self.raw).logabsdet + self.points * (self.log_scale - math.log(self.points))
        return whitened, determinant - _log_determinant(root)


FORMS: dict[str, type[GramForm]] = {
    "direct": DirectForm,
    "exponential": ExponentialForm,
    "triangular": TriangularForm,
    "whitened": WhitenedForm,
}
