r"""A deep Gaussian process of finite width, as a density that can be sampled: what the infinitely wide limits describe.

Layer l has :math:`N_l` features, independent columns of :math:`F^l \mid F^{l-1} \sim \mathcal N(0, K_l(G^{l-1}))` with :math:`G^l = F^l F^{l\top} / N_l`, and the targets are observed under Gaussian noise.
In whitened coordinates :math:`F^l = \mathrm{chol}(K_l(G^{l-1}))\, V^l`, with V standard normal before the data,

.. math:: \log p(V \mid Y) = -\tfrac12 \sum_l \|V^l\|^2 + N \sum_c \log \mathcal N(y_c; 0, K_{L+1}(G^L) + \sigma^2 I) + \mathrm{const}.

Replicating the targets N times, with :math:`N_l = N \nu_l`, gives the limit in which the representation learns: the posterior of G concentrates on the optimum of the deep kernel machine, and the columns of F become Gaussian
with that covariance. Without replication (N = 1 beside growing widths) it concentrates on the kernel of the layer below, which is the NNGP.

Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023), the sections on the Bayesian representation learning limit and on wide but finite deep Gaussian processes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.models.deep_kernel_machine import gp_log_likelihood
from ordinate.nn.cholesky import check_symmetric, factor
from ordinate.nn.gram import Gram
from ordinate.nn.gram_kernels import make_gram_kernel

__all__ = ["DeepGaussianProcess"]


class DeepGaussianProcess:
    """The posterior of the whitened features, as a log-density of flat states (chains, D): `process(state)` -> (chains,)."""

    def __init__(
        self,
        gram: Float[Tensor, "points points"],
        y: Float[Tensor, "points outputs"],
        *,
        kernels: Sequence[str | Mapping[str, Any]],
        widths: Sequence[int],
        noise: float = 0.1,
        replicate: int = 1,
    ) -> None:
        """
        Args:
            gram: G^0 of the inputs, (P, P).
            y: (P, C).
            kernels: L + 1 of them, with fixed numbers; see `ordinate.nn.gram_kernels.make_gram_kernel`.
            widths: N_l of the L layers.
            noise: the variance of the targets' noise.
            replicate: N, how many times the targets are observed.

        Raises:
            InputError: another number of kernels, or a number out of range.
        """
        check_symmetric(gram, "G^0")
        if len(kernels) != len(widths) + 1 or not widths:
            raise InputError(f"{len(widths)} layers stand between {len(widths) + 1} kernels, not {len(kernels)}, and there is at least one")
        if min(widths) < 1 or replicate < 1 or not noise > 0:
            raise InputError(f"widths and replicate must be at least 1 and noise positive, not {list(widths)}, {replicate} and {noise}")
        self.y, self.noise, self.replicate, self.widths = y, noise, replicate, tuple(widths)
        self._kernels = [make_gram_kernel(kernel, learned=False, dtype=gram.dtype) for kernel in kernels]
        self._first = factor(self._kernels[0](Gram.of_inducing(gram)).ii, "the kernel of layer 1")

    @property
    def size(self) -> int:
        """D: the whitened features of all layers together."""
        return len(self.y) * sum(self.widths)

    def prior_state(self, chains: int, generator: torch.Generator) -> Float[Tensor, "chains size"]:
        """States drawn before the data, (chains, D)."""
        return torch.randn(chains, self.size, generator=generator, dtype=self.y.dtype)

    def features(self, state: Float[Tensor, "chains size"]) -> list[Float[Tensor, "chains points width"]]:
        """F^1 .. F^L, (chains, P, N_l)."""
        return self._unfold(state)[0]

    def grams(self, state: Float[Tensor, "chains size"]) -> list[Float[Tensor, "chains points points"]]:
        """G^1 .. G^L, (chains, P, P)."""
        return [features @ features.mT / features.shape[-1] for features in self.features(state)]

    def __call__(self, state: Float[Tensor, "chains size"]) -> Float[Tensor, "chains"]:
        """The log-density of each state up to a constant, in nats.

        Raises:
            InputError: another size, or a kernel that is not positive definite.
        """
        if state.shape[-1] != self.size:
            raise InputError(f"a state holds {self.size} numbers, not {state.shape[-1]}")
        _, last = self._unfold(state)
        noisy = last + self.noise * torch.eye(len(self.y), dtype=last.dtype)
        likelihood = gp_log_likelihood(noisy, self.y.expand(len(state), -1, -1))
        return self.replicate * likelihood - 0.5 * state.square().sum(dim=-1)

    def _unfold(self, state: Tensor) -> tuple[list[Tensor], Tensor]:
        """The features of every layer, and the kernel on top."""
        points = len(self.y)
        parts = state.split([points * width for width in self.widths], dim=-1)
        root = self._first
        found = []
        for number, (part, width, kernel) in enumerate(zip(parts, self.widths, self._kernels[1:], strict=True), start=2):
            found.append(root @ part.view(len(state), points, width))
            above = kernel(Gram.of_inducing(found[-1] @ found[-1].mT / width)).ii
            if number <= len(self.widths):
                root = factor(above, f"the kernel of layer {number}")
        return found, above
