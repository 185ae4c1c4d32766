r"""Gram matrices of inducing points and test points together.

A Gram matrix holds the inner products of the points' features. Deep kernel machines carry two groups of points, inducing (or training) points i and test points t, and of the joint matrix

.. math:: \begin{pmatrix} G_{ii} & G_{it} \\ G_{ti} & G_{tt} \end{pmatrix}

only what is needed: :math:`G_{ii}`, :math:`G_{ti}`, and of :math:`G_{tt}` the diagonal, or all of it where joint covariances of test points are wanted.
A minibatch of T test points beside P inducing ones thus costs O(P T) memory.

Source: Yang, Robeyns, Milsom, Anson, Schoots, Aitchison, A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023), the section on sparse deep kernel machines.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError

__all__ = ["Gram", "InputGram"]


@dataclass(frozen=True)
class Gram:
    """The joint Gram matrix of P inducing and T test points, as far as it is carried; batch dimensions may precede.

    Attributes:
        ii: (..., P, P), symmetric.
        ti: (..., T, P).
        tt: the diagonal (..., T), or the whole block (..., T, T).
    """

    ii: Float[Tensor, "*batch inducing inducing"]
    ti: Float[Tensor, "*batch tests inducing"]
    tt: Float[Tensor, "*test_block"]

    def __post_init__(self) -> None:
        if self.ii.ndim < 2 or self.ii.shape[-1] != self.ii.shape[-2]:
            raise InputError(f"a Gram matrix is square, not {tuple(self.ii.shape)}")
        tests = self.ti.shape[-2]
        diagonal = (*self.ti.shape[:-2], tests)
        if self.ti.shape[-1] != self.ii.shape[-1] or tuple(self.tt.shape) not in {diagonal, (*diagonal, tests)}:
            raise InputError(
                f"blocks of one Gram matrix must fit: ii {tuple(self.ii.shape)}, ti {tuple(self.ti.shape)}, tt {tuple(self.tt.shape)}"
            )

    @classmethod
    def of_inducing(cls, ii: Float[Tensor, "*batch inducing inducing"]) -> "Gram":
        """The Gram matrix of inducing points alone: T = 0."""
        return cls(ii, ii[..., :0, :], ii[..., :0, 0])

    @property
    def full(self) -> bool:
        """Whether the whole test block is carried, and not only its diagonal."""
        return self.tt.ndim == self.ti.ndim

    @property
    def i(self) -> Float[Tensor, "*batch inducing"]:
        """The diagonal of the inducing block, (..., P)."""
        return self.ii.diagonal(dim1=-2, dim2=-1)

    @property
    def t(self) -> Float[Tensor, "*batch tests"]:
        """The diagonal of the test block, (..., T)."""
        return self.tt.diagonal(dim1=-2, dim2=-1) if self.full else self.tt


class InputGram(nn.Module):
    r"""The Gram matrix of the inputs, :math:`G^0 = X \,\mathrm{diag}(r)\, X^\top / d`, with the relevance r of each feature learned, or 1.

    With the squared exponential kernel on top, :math:`r_j / d` is one over the square of feature j's length scale.
    """

    log_relevance: Tensor

    def __init__(self, in_features: int, *, learned: bool = False, batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> None:
        """
        Args:
            in_features: d.
            learned: whether the relevances are parameters.
            batch: of independent problems.
            dtype: of the relevances.

        Raises:
            InputError: no features.
        """
        super().__init__()
        if in_features < 1:
            raise InputError(f"in_features must be at least 1, not {in_features}")
        self.in_features = in_features
        start = torch.zeros(*batch, in_features, dtype=dtype)
        if learned:
            self.log_relevance = nn.Parameter(start)
        else:
            self.register_buffer("log_relevance", start, persistent=False)

    def forward(
        self, inducing: Float[Tensor, "*batch inducing dim"], tests: Float[Tensor, "*batch tests dim"] | None = None, *, full: bool = False
    ) -> Gram:
        """The joint Gram matrix.

        Args:
            inducing: (..., P, d).
            tests: (..., T, d), or None for no test points.
            full: carry the whole test block.

        Raises:
            InputError: another number of features.
        """
        for points in (inducing, tests):
            if points is not None and points.shape[-1] != self.in_features:
                raise InputError(f"points have {points.shape[-1]} features, and the machine was made for {self.in_features}")
        scale = (0.5 * self.log_relevance).exp()[..., None, :] / self.in_features**0.5
        inducing = inducing * scale
        ii = inducing @ inducing.mT
        if tests is None:
            return Gram.of_inducing(ii)
        tests = tests * scale
        return Gram(ii, tests @ inducing.mT, tests @ tests.mT if full else tests.square().sum(dim=-1))
