r"""A deep kernel whose Gram matrices are learned: the stack that exact and sparse deep kernel machines share.

With kernels :math:`K_1, \dots, K_{L+1}` there are L learned Gram matrices between them,

.. math:: G^0 \xrightarrow{K_1} \boxed{G^1} \xrightarrow{K_2} \boxed{G^2} \cdots \boxed{G^L} \xrightarrow{K_{L+1}} K(G^L),

each of which costs :math:`\nu_l\,\mathrm{KL}(\mathcal N(0, G^l) \| \mathcal N(0, K_l(G^{l-1})))`. The stack gives the last kernel matrix and the sum of the costs.

Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.nn.gram import Gram
from ordinate.nn.gram_kernels import JITTER, Jitter, make_gram_kernel
from ordinate.nn.gram_layer import GramLayer, LayerFactor, propagate
from ordinate.nn.gram_norm import GramNorm

__all__ = ["DTYPES", "DeepKernel", "Propagated", "read_dtype"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def read_dtype(name: str) -> torch.dtype:
    """The type of the numbers by name, ``"float64"`` or ``"float32"``.

    Raises:
        InputError: another name.
    """
    return DTYPES[choose("dtype", name, DTYPES)]


@dataclass(frozen=True)
class Propagated:
    """What a deep kernel gives.

    Attributes:
        kernel: of the last layer, at inducing and test points.
        grams: of every layer, first to last.
        penalty: the sum of the weighted divergences, (...), in nats.
        factors: of every layer beside the kernel below it; they do not depend on the test points and can be used again.
    """

    kernel: Gram
    grams: tuple[Gram, ...]
    penalty: Float[Tensor, "*batch"]
    factors: tuple[LayerFactor, ...]


class DeepKernel(nn.Module):
    """L learned Gram matrices at P inducing points, between L + 1 kernels; `deep(gram)` -> Propagated."""

    def __init__(
        self,
        points: int,
        kernels: Sequence[str | Mapping[str, Any]],
        *,
        nu: float | Sequence[float] = 1.0,
        prior: bool = True,
        form: str = "whitened",
        divergence: str = "kl",
        columns: int | None = None,
        normalise: bool = False,
        learned: bool = True,
        jitter: Jitter = JITTER,
        batch: tuple[int, ...] = (),
        dtype: torch.dtype = torch.float64,
    ) -> None:
        """
        Args:
            points: P.
            kernels: first to last, each as `ordinate.nn.gram_kernels.make_gram_kernel` takes it.
            nu: the relative widths, one for each of the L layers, or one for all.
            prior, form, divergence, columns: see `ordinate.nn.gram_layer.GramLayer`.
            normalise: divide every learned Gram matrix by its mean diagonal.
            learned: whether the kernels' own numbers are parameters.
            jitter: of the kernels; see `ordinate.nn.gram_kernels.EntrywiseGram`.
            batch: of independent problems.
            dtype: of the parameters.

        Raises:
            InputError: no kernels, another number of widths than layers, or what the parts refuse.
        """
        super().__init__()
        if isinstance(kernels, str) or not len(kernels):
            raise InputError(f"kernels are a list, first to last, and at least one, not {kernels!r}")
        layers = len(kernels) - 1
        widths = [float(nu)] * layers if isinstance(nu, int | float) else [float(each) for each in nu]
        if len(widths) != layers:
            raise InputError(f"{len(kernels)} kernels have {layers} Gram layers between them, and nu names {len(widths)}")
        self.kernels = nn.ModuleList(
            [make_gram_kernel(kernel, learned=learned, jitter=jitter, batch=batch, dtype=dtype) for kernel in kernels]
        )
        self.layers = nn.ModuleList(
            [
                GramLayer(
                    points,
                    nu=width,
                    prior=prior,
                    form=form,
                    divergence=divergence,
                    columns=columns,
                    name=f"the kernel of layer {number}",
                    batch=batch,
                    dtype=dtype,
                )
                for number, width in enumerate(widths, start=1)
            ]
        )
        self.norms = nn.ModuleList([GramNorm(batch=batch, dtype=dtype) if normalise else nn.Identity() for _ in widths])

    @torch.no_grad()
    def start(self, gram: Float[Tensor, "*batch points points"]) -> Float[Tensor, "*batch points points"]:
        """Set every layer to the kernel below it, which is the NNGP, and give the last kernel.

        Args:
            gram: G^0 of the inducing points, (..., P, P).
        """
        first, *others = self.kernels
        kernel = first(Gram.of_inducing(gram)).ii
        for layer, norm, above in zip(self._layers(), self.norms, others, strict=True):
            layer.start(kernel)
            kernel = above(norm(Gram.of_inducing(kernel))).ii
        return kernel

    def forward(self, gram: Gram, factors: Sequence[LayerFactor] | None = None) -> Propagated:
        """Carry G^0 through all layers.

        Args:
            gram: of the inputs, at inducing and test points.
            factors: of an earlier call with the same inducing points and parameters, which saves the factorisations.

        Raises:
            InputError: another number of inducing points, or a kernel that is not positive definite; the message names the layer.
        """
        first, *others = self.kernels
        kernel: Gram = first(gram)
        penalty = gram.ii.new_zeros(gram.ii.shape[:-2])
        used: list[LayerFactor] = []
        grams: list[Gram] = []
        for number, (layer, norm, above) in enumerate(zip(self._layers(), self.norms, others, strict=True)):
            used.append(layer.factor(kernel.ii) if factors is None else factors[number])
            penalty = penalty + used[-1].penalty
            grams.append(norm(propagate(used[-1], kernel)))
            kernel = above(grams[-1])
        return Propagated(kernel, tuple(grams), penalty, tuple(used))

    def _layers(self) -> list[GramLayer]:
        return cast(list[GramLayer], list(self.layers))
