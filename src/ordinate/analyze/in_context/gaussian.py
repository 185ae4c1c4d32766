r"""Predictors of a Gaussian process, for all prefixes of a prompt from one Cholesky factor.

With the covariance of all labels factored, :math:`K + \sigma^2 I = L L^\top`, and :math:`z = L^{-1} y`, whatever a prefix of i labels tells is in the first i rows: for a query q with covariances :math:`v = L^{-1} k(X, q)`,

.. math:: \hat y(q \mid y_{\le i}) = \sum_{j \le i} v_j z_j, \qquad \log p(y_{\le i}) = -\sum_{j \le i} \bigl(\tfrac12 z_j^2 + \log L_{jj} + \tfrac12 \log 2\pi\bigr),

so that predictions and evidence of all prefixes are running sums, :math:`O(n^3)` a prompt.

- `KernelRidge`: kernel ridge regression, the mean of the process; `average_kernel` makes the kernel of a family of representations, of which it is told no one in particular;
- `BayesMixture`: one of K representations generated the labels; each one's prediction, weighed by its posterior :math:`p(k \mid D_i) \propto p_k(y_{\le i})`. Nothing has a lower risk on prompts of such a mixture.

Source: Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), sections 5 and 6; Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), sections 2.3 and 5.4.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.in_context.predictors import Predictor
from ordinate.ground.errors import InputError

__all__ = ["BayesMixture", "KernelRidge", "Representation", "average_kernel"]

Representation = Callable[[Tensor], Tensor]
"""(..., d) to (..., D), in the dtype that it is given."""
Kernel = Callable[[Tensor, Tensor], Tensor]
"""(B, n, d) and (B, m, d) to covariances (B, n, m)."""


def average_kernel(phis: Sequence[Representation]) -> Kernel:
    """The kernel of a family of representations: the mean over some of them of the dot products.

    Raises:
        InputError: no representation.
    """
    if not phis:
        raise InputError("a kernel is averaged over at least one representation")

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([phi(a) @ phi(b).mT for phi in phis]).mean(dim=0)

    return kernel


def _factor(covariance: Tensor, noise: float) -> Tensor:
    eye = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    return torch.linalg.cholesky(covariance + noise * eye)


def _whiten(factor: Tensor, y: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(factor, y[..., None], upper=False)[..., 0]


def _ask(factor: Tensor, z: Tensor, cross: Tensor) -> Tensor:
    """Answers (B, n, Q) to queries of every prefix, whose covariances with the inputs are cross (B, n inputs, n Q)."""
    n = z.shape[1]
    v = torch.linalg.solve_triangular(factor, cross, upper=False).unflatten(2, (n, -1))
    before = torch.ones(n, n, dtype=v.dtype, device=v.device).triu(1)  # input j, prefix i: j < i
    return torch.einsum("bjiq,bj,ji->biq", v, z, before)


class KernelRidge(Predictor):
    """The mean of a Gaussian process."""

    def __init__(self, kernel: Kernel, penalty: float, name: str = "kernel ridge") -> None:
        """
        Args:
            kernel: the covariances of the labels without their noise.
            penalty: the variance of the noise, positive.
            name: for tables.

        Raises:
            InputError: a penalty that is not positive.
        """
        if not (math.isfinite(penalty) and penalty > 0):
            raise InputError(f"the penalty of kernel ridge regression must be positive, not {penalty}")
        self.kernel, self.penalty, self.name = kernel, penalty, f"{name} {penalty:.3g}"

    def answer(
        self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], queries: Float[Tensor, "batch n queries d"]
    ) -> Float[Tensor, "batch n queries"]:
        """See :meth:`Predictor.answer`."""
        x, y = x.double(), y.double()
        factor = _factor(self.kernel(x, x), self.penalty)
        return _ask(factor, _whiten(factor, y), self.kernel(x, queries.double().flatten(1, 2)))


class BayesMixture(Predictor):
    """The Bayes predictor where each prompt has one of K representations."""

    name = "Bayes mixture"

    def __init__(self, phis: Sequence[Representation], noise: float, prior: float = 1.0) -> None:
        """
        Args:
            phis: the representations, alike likely.
            noise: the variance sigma² of a label given its input, positive.
            prior: the variance tau² of a weight, positive.

        Raises:
            InputError: no representation, or a variance that is not positive: without noise the evidence has no density once there are more labels than features.
        """
        if not phis:
            raise InputError("a mixture needs at least one representation")
        if not (math.isfinite(noise) and noise > 0 and math.isfinite(prior) and prior > 0):
            raise InputError(f"evidence needs positive variances of the noise and of the weights, not {noise} and {prior}")
        self.phis, self.noise, self.prior = tuple(phis), noise, prior

    def _solved(self, x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(features of x, factor, z) for each representation."""
        found = []
        for phi in self.phis:
            features = phi(x)
            factor = _factor(self.prior * features @ features.mT, self.noise)
            found.append((features, factor, _whiten(factor, y)))
        return found

    def _evidence(self, solved: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        steps = [-0.5 * z.square() - factor.diagonal(dim1=1, dim2=2).log() - 0.5 * math.log(2 * math.pi) for _, factor, z in solved]
        sums = torch.stack(steps, dim=2).cumsum(dim=1)
        return torch.cat([torch.zeros_like(sums[:, :1]), sums], dim=1)

    def log_evidence(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n_plus_1 kinds"]:
        """log p_k(y_1, ..., y_i | x) for i = 0, ..., n and every representation k, in nats, float64."""
        return self._evidence(self._solved(x.double(), y.double()))

    def posterior(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n_plus_1 kinds"]:
        """The probability of every representation after the first i pairs, i = 0, ..., n, float64."""
        return self.log_evidence(x, y).softmax(dim=2)

    def answer(
        self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], queries: Float[Tensor, "batch n queries d"]
    ) -> Float[Tensor, "batch n queries"]:
        """See :meth:`Predictor.answer`."""
        solved, asked = self._solved(x.double(), y.double()), queries.double().flatten(1, 2)
        weights = self._evidence(solved)[:, :-1].softmax(dim=2)
        answers = torch.stack(
            [_ask(factor, z, self.prior * features @ phi(asked).mT) for phi, (features, factor, z) in zip(self.phis, solved, strict=True)],
            dim=3,
        )
        return (answers * weights[:, :, None]).sum(dim=3)
