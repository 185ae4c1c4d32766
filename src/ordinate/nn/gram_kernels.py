r"""Kernels that need only the Gram matrix: how the Gram matrix of a layer's features becomes the kernel matrix of the next.

For many kernels :math:`K_{ij}` depends on the points only through :math:`G_{ii}, G_{jj}, G_{ij}`. With :math:`\cos\theta = G_{ij} / \sqrt{G_{ii} G_{jj}}`:

- linear: :math:`G_{ij}`;
- squared exponential: :math:`\exp(-(G_{ii} + G_{jj} - 2 G_{ij}) / 2\ell^2)`;
- ReLU (arc-cosine of order 1): :math:`\frac1\pi \sqrt{G_{ii} G_{jj}}\,(\sin\theta + (\pi - \theta)\cos\theta)`, which is :math:`2\,\mathbb E[\mathrm{relu}(f_i)\,\mathrm{relu}(f_j)]` under
  :math:`f \sim \mathcal N(0, G)` and keeps the diagonal;
- Heaviside (arc-cosine of order 0): :math:`(\pi - \theta) / \pi`;
- normalised Gaussian: :math:`\sqrt{G_{ii} G_{jj}}\, \exp(\cos\theta - 1)`;
- sums with softmax weights.

Every kernel may be scaled to :math:`w K + b` with learned logarithms, and every one is stabilised: :math:`\mathrm{diag}(K) \leftarrow (1 + \epsilon)\,\mathrm{diag}(K) + \epsilon`, in the inducing block and in the
test block alike, because exact Gram matrices have condition numbers beyond any precision.

Sources: Cho and Saul, Kernel methods for deep learning (2009); Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.nn.gram import Gram

__all__ = [
    "GRAM_KERNELS",
    "JITTER",
    "EntrywiseGram",
    "GramKernel",
    "HeavisideGram",
    "Jitter",
    "LinearGram",
    "NormalisedGaussianGram",
    "ReluGram",
    "SqExpGram",
    "SumGram",
    "make_gram_kernel",
    "read_jitter",
]

JITTER = 1e-4
Jitter = float | Sequence[float]


def read_jitter(jitter: Jitter) -> tuple[float, float]:
    """The relative and the absolute part of the stabilisation, from one number for both or two.

    Raises:
        InputError: a negative number, or another count.
    """
    parts = (jitter, jitter) if isinstance(jitter, int | float) else tuple(jitter)
    if len(parts) != 2 or min(parts) < 0:
        raise InputError(f"jitter is one number or two (relative, absolute), 0 or more, not {jitter}")
    return float(parts[0]), float(parts[1])


class GramKernel(nn.Module, ABC):
    """`kernel(gram)` -> Gram: the kernel matrix of the same points."""

    @abstractmethod
    def forward(self, gram: Gram) -> Gram:
        """The kernel matrix, block by block: (P, P), (T, P), and (T,) or (T, T)."""


class EntrywiseGram(GramKernel):
    """A kernel whose entry depends on two squared norms and an inner product: :math:`w K(G) + b`, stabilised. A subclass implements `between` and `diagonal`."""

    log_weight_var: Tensor
    log_bias_var: Tensor | None

    def __init__(
        self,
        *,
        weight_var: float = 1.0,
        bias_var: float = 0.0,
        learned: bool = True,
        jitter: Jitter = JITTER,
        batch: tuple[int, ...] = (),
        dtype: torch.dtype = torch.float64,
    ) -> None:
        """
        Args:
            weight_var: w, positive.
            bias_var: b; 0 leaves it out for good.
            learned: whether the logarithms of w and b (and of what else the kernel has) are parameters.
            jitter: the relative and the absolute part of the stabilisation, or one number for both.
            batch: of independent problems, each with its own numbers.
            dtype: of the numbers.

        Raises:
            InputError: a variance that is not positive, or negative jitter.
        """
        super().__init__()
        if not weight_var > 0 or bias_var < 0:
            raise InputError(f"a kernel needs weight_var > 0 and bias_var >= 0, not {weight_var} and {bias_var}")
        self.jitter = read_jitter(jitter)
        self.learned, self.batch, self.dtype = learned, batch, dtype
        self.hold("log_weight_var", weight_var)
        if bias_var > 0:
            self.hold("log_bias_var", bias_var)
        else:
            self.log_bias_var = None

    def hold(self, name: str, value: float) -> None:
        """Keep the logarithm of a positive number, as a parameter where the kernel is learned."""
        number = torch.full(self.batch, math.log(value), dtype=self.dtype)
        if self.learned:
            self.register_parameter(name, nn.Parameter(number))
        else:
            self.register_buffer(name, number)

    @abstractmethod
    def between(
        self, left: Float[Tensor, "*batch m"], right: Float[Tensor, "*batch n"], cross: Float[Tensor, "*batch m n"]
    ) -> Float[Tensor, "*batch m n"]:
        """The kernel between points with squared norms `left` and `right` and inner products `cross`."""

    @abstractmethod
    def diagonal(self, norms: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """The kernel of each point with itself, from the squared norms."""

    def inducing_diagonal(self, norms: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """What stands on the diagonal of the inducing block; `diagonal`, unless `between` needs more of it to stay positive definite."""
        return self.diagonal(norms)

    def forward(self, gram: Gram) -> Gram:
        """The scaled and stabilised kernel matrix."""
        weight = self.log_weight_var.exp()
        bias = torch.zeros_like(weight) if self.log_bias_var is None else self.log_bias_var.exp()
        of_rows, of_blocks = (weight[..., None], bias[..., None]), (weight[..., None, None], bias[..., None, None])
        ii = self._square(gram.ii, self.inducing_diagonal(gram.i), *of_blocks)
        ti = _affine(self.between(gram.t, gram.i, gram.ti), *of_blocks)
        if gram.full:
            return Gram(ii, ti, self._square(gram.tt, self.diagonal(gram.t), *of_blocks))
        return Gram(ii, ti, self.jittered(_affine(self.diagonal(gram.tt), *of_rows)))

    def jittered(self, norms: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """A diagonal, stabilised."""
        relative, absolute = self.jitter
        return norms * (1 + relative) + absolute

    def _square(self, gram: Tensor, diagonal: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # On the diagonal `between` is only nearly exact, and its gradient may not be finite.
        norms = gram.diagonal(dim1=-2, dim2=-1)
        kernel = _affine(self.between(norms, norms, gram), weight, bias)
        return kernel.diagonal_scatter(self.jittered(_affine(diagonal, weight[..., 0], bias[..., 0])), dim1=-2, dim2=-1)


def _affine(kernel: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return kernel * weight + bias


class LinearGram(EntrywiseGram):
    """:math:`K = G`."""

    def between(
        self, left: Float[Tensor, "*batch m"], right: Float[Tensor, "*batch n"], cross: Float[Tensor, "*batch m n"]
    ) -> Float[Tensor, "*batch m n"]:
        """The inner products themselves."""
        return cross

    def diagonal(self, norms: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """The squared norms themselves."""
        return norms


class SqExpGram(EntrywiseGram):
    r""":math:`K_{ij} = \exp(-(G_{ii} + G_{jj} - 2 G_{ij}) / 2\ell^2)`."""

    log_lengthscale: Tensor

    def __init__(
        self,
        *,
        lengthscale: float = 1.0,
        weight_var: float = 1.0,
        bias_var: float = 0.0,
        learned: bool = True,
        jitter: Jitter = JITTER,
        batch: tuple[int, ...] = (),
        dtype: torch.dtype = torch.float64,
    ) -> None:
        r"""
        Args:
            lengthscale: :math:`\ell`, positive.
            weight_var, bias_var, learned, jitter, batch, dtype: see `EntrywiseGram`.

        Raises:
            InputError: a length scale or variance that is not positive.
        """
        super().__init__(weight_var=weight_var, bias_var=bias_var, learned=learned, jitter=jitter, batch=batch, dtype=dtype)
        if not lengthscale > 0:
            raise InputError(f"lengthscale must be positive, not {lengthscale}")
        self.hold("log_lengthscale", lengthscale)

    def between(
        self, left: Float[Tensor, "*batch m"], right: Float[Tensor, "*batch n"], cross: Float[Tensor, "*batch m n"]
    ) -> Float[Tensor, "*batch m n"]:
        """Of half the squared distance over the squared length scale."""
        halves = cross - 0.5 * left[..., :, None] - 0.5 * right[..., None, :]
        return (halves * (-2 * self.log_lengthscale).exp()[..., None, None]).exp()

    def diagonal(self, norms: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """1."""
        return torch.ones_like(norms)


class _ArcCosine(torch.autograd.Function):
    """(sin a + (pi - a) cos a) / pi for a = arccos c, whose derivative in c is (pi - a) / pi: finite where those of its terms are not."""

    @staticmethod
    def forward(ctx: Any, cosine: Tensor) -> Tensor:
        cosine = cosine.clamp(-1.0, 1.0)
        ctx.save_for_backward(cosine)
        return ((1 - cosine.square()).sqrt() + (math.pi - cosine.acos()) * cosine) / math.pi

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (cosine,) = ctx.saved_tensors
        return grads[0] * (math.pi - cosine.acos()) / math.pi


class ReluGram(EntrywiseGram):
    """The arc-cosine kernel of order 1, normalised so that it keeps the diagonal. The squared norms are jittered before the angle is taken."""

    def between(
        self, left: Float[Tensor, "*batch m"], right: Float[Tensor, "*batch n"], cross: Float[Tensor, "*batch m n"]
    ) -> Float[Tensor, "*batch m n"]:
        """Of the angle, times the norms."""
        norms = (self.jittered(left)[..., :, None] * self.jittered(right)[..., None, :]).sqrt()
        return norms * _ArcCosine.apply(cross / norms)

    def diagonal(self, norms: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """The squared norms."""
        return norms

    def inducing_diagonal(self, norms: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """The jittered squared norms, as `between` has them."""
        return self.jittered(norms)


class HeavisideGram(EntrywiseGram):
    r"""The arc-cosine kernel of order 0, :math:`(\pi - \theta) / \pi`: of the directions alone. Squared norms are jittered before the angle is taken, as its slope at 0 is infinite."""

    def between(
        self, left: Float[Tensor, "*batch m"], right: Float[Tensor, "*batch n"], cross: Float[Tensor, "*batch m n"]
    ) -> Float[Tensor, "*batch m n"]:
        """Of the angle."""
        cosine = cross * (self.jittered(left)[..., :, None] * self.jittered(right)[..., None, :]).rsqrt()
        most = 1 - 4 * torch.finfo(cross.dtype).eps  # where there is no jitter
        return 1 - cosine.clamp(-most, most).acos() / math.pi

    def diagonal(self, norms: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """1."""
        return torch.ones_like(norms)


class NormalisedGaussianGram(EntrywiseGram):
    r""":math:`\sqrt{G_{ii} G_{jj}} \exp(\cos\theta - 1)`: a Gaussian of the directions, times the norms. It keeps the diagonal."""

    def between(
        self, left: Float[Tensor, "*batch m"], right: Float[Tensor, "*batch n"], cross: Float[Tensor, "*batch m n"]
    ) -> Float[Tensor, "*batch m n"]:
        """Of the cosine, times the norms."""
        least = torch.finfo(cross.dtype).tiny
        norms = (left[..., :, None] * right[..., None, :]).clamp(min=least).sqrt()
        return norms * (cross / norms - 1).exp()

    def diagonal(self, norms: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """The squared norms."""
        return norms


class SumGram(GramKernel):
    """A convex combination of kernels, with softmax weights that start equal."""

    logits: Tensor

    def __init__(
        self,
        parts: Sequence[str | Mapping[str, Any]],
        *,
        learned: bool = True,
        jitter: Jitter = JITTER,
        batch: tuple[int, ...] = (),
        dtype: torch.dtype = torch.float64,
    ) -> None:
        """
        Args:
            parts: two or more kernels, as `make_gram_kernel` takes them.
            learned: whether the weights, and the numbers of the parts, are parameters.
            jitter, batch, dtype: see `EntrywiseGram`.

        Raises:
            InputError: fewer than two parts, or one that is unknown.
        """
        super().__init__()
        if len(parts) < 2:
            raise InputError(f"a sum of kernels has at least two parts, not {len(parts)}")
        self.parts = nn.ModuleList([make_gram_kernel(part, learned=learned, jitter=jitter, batch=batch, dtype=dtype) for part in parts])
        start = torch.zeros(*batch, len(parts), dtype=dtype)
        if learned:
            self.logits = nn.Parameter(start)
        else:
            self.register_buffer("logits", start)

    def forward(self, gram: Gram) -> Gram:
        """The weighted sum of the parts, each of them stabilised."""
        weights = self.logits.softmax(dim=-1)
        made = [part(gram) for part in self.parts]

        def total(block: str, trailing: int) -> Tensor:
            shaped = weights[(..., *([None] * trailing))].movedim(-1 - trailing, 0)
            return torch.stack([weight * getattr(each, block) for weight, each in zip(shaped, made, strict=True)]).sum(dim=0)

        return Gram(total("ii", 2), total("ti", 2), total("tt", 2 if gram.full else 1))


GRAM_KERNELS: dict[str, type[GramKernel]] = {
    "heaviside": HeavisideGram,
    "linear": LinearGram,
    "normalised-gaussian": NormalisedGaussianGram,
    "relu": ReluGram,
    "sqexp": SqExpGram,
    "sum": SumGram,
}


def make_gram_kernel(
    kernel: str | Mapping[str, Any],
    *,
    learned: bool = True,
    jitter: Jitter = JITTER,
    batch: tuple[int, ...] = (),
    dtype: torch.dtype = torch.float64,
) -> GramKernel:
    """The kernel that a JSON value describes.

    Args:
        kernel: a name of `GRAM_KERNELS`, or its arguments with the name under ``"kernel"``: ``{"kernel": "relu", "bias_var": 0.1}``. They go before the ones below.
        learned, jitter, batch, dtype: see `EntrywiseGram`.

    Raises:
        InputError: an unknown name, or arguments that the kernel does not have. A kernel of features (scikit-learn's, say) is not a kernel of Gram matrices.
    """
    if not isinstance(kernel, str | Mapping) or (isinstance(kernel, Mapping) and "kernel" not in kernel):
        raise InputError(
            f"a kernel of Gram matrices is given by name ({', '.join(GRAM_KERNELS)}) or as {{'kernel': name, ...}}, not {kernel!r}"
        )
    given = {"kernel": kernel} if isinstance(kernel, str) else dict(kernel)
    name = choose("kernel", str(given.pop("kernel")), GRAM_KERNELS)
    arguments: dict[str, Any] = {"learned": learned, "jitter": jitter, "batch": batch, "dtype": dtype, **given}
    try:
        return GRAM_KERNELS[name](**arguments)
    except TypeError as error:
        raise InputError(f"kernel {name!r}: {str(error).split('()')[-1].strip()}") from None
