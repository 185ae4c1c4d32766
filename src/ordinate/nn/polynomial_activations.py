r"""Polynomial compositions: activations that are low-order polynomials, with coefficients that are learnt, of a simple function.

.. math:: \text{I:}\quad y = a_0 + \sum_{i=1}^{r} a_i\, \rho(x)^i, \qquad \text{II:}\quad y = a_0 + \sum_{i=1}^{r} a_i\, \rho(x^i) .

- *PolyReLU* is of type I with :math:`\rho = \mathrm{ReLU}`. With :math:`a = (0, 1, 0, \dots)` it is ReLU, so that any ReLU network is a PolyReLU network of the same size.
- *PolyNorm* is of type II with :math:`\rho = N`, division by the root mean square over a token's whole hidden vector: :math:`N(t) = t\,/\sqrt{\overline{t^2} + \varepsilon}`. (The paper divides by the Euclidean
  norm; its code, and this, by the root mean square.)

Both keep nothing for the backward pass but x (and r + 1 numbers a token), and are computed in float32 at least: with :math:`s_i = (\overline{x^{2i}} + \varepsilon)^{-1/2}` PolyNorm is the polynomial
:math:`a_0 + \sum_i a_i s_i x^i` of a token's own coefficients, and from the gradient g

.. math:: \frac{\partial L}{\partial x} = g \sum_i i\, a_i s_i x^{i-1} - \sum_i i\, a_i s_i^3\, \overline{g x^i}\, x^{2i-1}, \qquad
   \frac{\partial L}{\partial a_i} = \sum_{\text{tokens}} s_i \sum g x^i .

On a CPU blocks of tokens that fit the cache are worked on one after another; `compiled=True` hands the formulas to `torch.compile`, whose kernels are faster still after a first call of some seconds. Powers are taken of
:math:`x / \max(1, \max|x|)`, so that no moment overflows.

Source: Zhuo et al., Polynomial Composition Activations: Unleashing the Dynamics of Large Language Models (ICLR 2025), sections 2 and 3. The gradient is derived here.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError, choose
from ordinate.nn.activations import ACTIVATIONS

__all__ = ["ACTIVATION_MODULES", "PolyCom", "PolyNorm", "PolyReLU", "poly_norm", "poly_relu"]

_BLOCK = 1 << 17  # numbers at a time: a few arrays of them fit the second-level cache


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _polynomial(x: Tensor, coefficients: Sequence[Tensor]) -> Tensor:
    """c_0 + c_1 x + ..., in a new tensor; a coefficient is a number, a column or a row."""
    if len(coefficients) == 1:
        return coefficients[0].expand_as(x).clone()
    y = x * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        y.add_(coefficient).mul_(x)
    return y.add_(coefficients[0])


def _slopes(coefficients: Sequence[Tensor]) -> list[Tensor]:
    """The coefficients of the derivative."""
    return [power * coefficient for power, coefficient in enumerate(coefficients)][1:]


def _sizes(x: Tensor, relative: bool) -> Tensor:
    """What a token is divided by before powers are taken, (rows, 1)."""
    size = x.detach().abs().amax(-1, keepdim=True)
    return torch.where(size > 0, size, 1.0) if relative else size.clamp(min=1.0)


def _inverse_roots(u: Tensor, size: Tensor, order: int, eps: float, relative: bool) -> list[Tensor]:
    """s_1, ..., s_r of tokens u = x / size, (rows, 1) each."""
    square = u * u
    power, found = square, []
    for i in range(1, order + 1):
        found.append((power.mean(-1, keepdim=True) + (eps if relative else eps / size ** (2 * i))).rsqrt())
        if i < order:
            power = power * square
    return found


# The formulas work on rows (n, m) and give what is written a row, then what is summed over rows.


def _relu_forward(x: Tensor, a: Tensor) -> tuple[Tensor]:
    return (_polynomial(_wide(x).relu(), a.unbind(0)).to(x.dtype),)


def _relu_backward(g: Tensor, x: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    wide, upstream = _wide(x), _wide(g)
    h = wide.relu()
    dx = _polynomial(h, _slopes(a.unbind(0))).mul_(upstream).mul_(wide > 0)
    over = 0 if a.ndim == 2 else (0, 1)
    power, sums = upstream, [upstream.sum(over)]
    for _ in range(len(a) - 1):
        power = power * h
        sums.append(power.sum(over))
    return dx.to(x.dtype), torch.stack(sums)


def _norm_forward(x: Tensor, a: Tensor, eps: float, relative: bool) -> tuple[Tensor, Tensor]:
    wide = _wide(x)
    size = _sizes(wide, relative)
    u = wide / size
    roots = _inverse_roots(u, size, len(a) - 1, eps, relative)
    y = _polynomial(u, [a[0], *(a[i + 1] * s for i, s in enumerate(roots))])
    return y.to(x.dtype), torch.cat([*roots, size], dim=-1)


def _norm_backward(g: Tensor, x: Tensor, kept: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    *roots, size = kept.split(1, -1)
    u, upstream = _wide(x) / size, _wide(g)
    power, sums = upstream, [upstream.sum(-1, keepdim=True)]
    for _ in roots:
        power = power * u
        sums.append(power.sum(-1, keepdim=True))
    dx = _polynomial(u, _slopes([a[0], *(a[i + 1] * s for i, s in enumerate(roots))])).mul_(upstream)
    pulls = [(i + 1) * a[i + 1] * s**3 * sums[i + 1] / x.shape[-1] for i, s in enumerate(roots)]
    dx = dx.sub_(_polynomial(u * u, pulls).mul_(u)).div_(size)
    return dx.to(x.dtype), torch.stack([sums[0].sum(), *((s * sums[i + 1]).sum() for i, s in enumerate(roots))])


@cache
def _compiled(formula: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(formula, dynamic=True, fullgraph=True)


def _run(formula: Callable[..., tuple[Tensor, ...]], rows: Sequence[Tensor], rest: Sequence[Any], compiled: bool) -> tuple[Tensor, ...]:
    """A formula that writes rows, on blocks of them."""
    if compiled:
        return _compiled(formula)(*rows, *rest)
    at_once = max(1, len(rows[0]) if rows[0].device.type != "cpu" else _BLOCK // rows[0].shape[-1])
    parts = [formula(*block, *rest) for block in zip(*(tensor.split(at_once) for tensor in rows), strict=True)]
    return tuple(torch.cat(part) if len(part) > 1 else part[0] for part in zip(*parts, strict=True))


def _run_backward(
    formula: Callable[..., tuple[Tensor, Tensor]], rows: Sequence[Tensor], a: Tensor, compiled: bool
) -> tuple[Tensor, Tensor]:
    """A formula that writes rows and sums over them."""
    if compiled:
        return _compiled(formula)(*rows, a)
    at_once = max(1, len(rows[0]) if rows[0].device.type != "cpu" else _BLOCK // rows[0].shape[-1])
    parts = [formula(*block, a) for block in zip(*(tensor.split(at_once) for tensor in rows), strict=True)]
    return torch.cat([dx for dx, _ in parts]), torch.stack([da for _, da in parts]).sum(0)


def _plain_relu(x: Tensor, a: Tensor) -> Tensor:
    h = _wide(x).relu()
    return torch.stack([a[0].expand_as(h), *(a[i] * h**i for i in range(1, len(a)))]).sum(0).to(x.dtype)


def _plain_norm(x: Tensor, a: Tensor, eps: float, relative: bool) -> Tensor:
    wide = _wide(x)
    size = _sizes(wide, relative)
    u = wide / size
    roots = _inverse_roots(u, size, len(a) - 1, eps, relative)
    return sum((a[i + 1] * s * u ** (i + 1) for i, s in enumerate(roots)), a[0]).to(x.dtype)


class _Relu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, compiled: bool) -> Tensor:
        ctx.save_for_backward(x, a)
        ctx.compiled = compiled
        return _run(_relu_forward, [x], [a], compiled)[0]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, a = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiate(_plain_relu(x, a), x, a, g), None
        return *_run_backward(_relu_backward, [g, x], a, ctx.compiled), None


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, eps: float, relative: bool, compiled: bool) -> Tensor:
        y, kept = _run(_norm_forward, [x], [a, eps, relative], compiled)
        ctx.save_for_backward(x, a, kept)
        ctx.options = eps, relative, compiled
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, a, kept = ctx.saved_tensors
        eps, relative, compiled = ctx.options
        if torch.is_grad_enabled():
            return *_differentiate(_plain_norm(x, a, eps, relative), x, a, g), None, None, None
        return *_run_backward(_norm_backward, [g, x, kept], a, compiled), None, None, None


def _differentiate(y: Tensor, x: Tensor, a: Tensor, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """The gradient with a graph of its own, for derivatives of higher order."""
    wanted = [tensor for tensor in (x, a) if tensor.requires_grad]
    found = iter(torch.autograd.grad(y, wanted, g, create_graph=True))
    return next(found) if x.requires_grad else None, next(found) if a.requires_grad else None


def _check(name: str, x: Tensor, a: Tensor, by_channel: bool) -> None:
    if not x.is_floating_point():
        raise InputError(f"{name} takes floating-point numbers, not {x.dtype}")
    if not x.ndim or not x.shape[-1]:
        raise InputError(f"{name} works on a token's hidden vector, and the last axis is empty")
    if len(a) < 2 or (a.ndim > 1 and not (by_channel and a.shape[1:] == x.shape[-1:])):
        raise InputError(
            f"{name} needs two or more coefficients a_0, ..., a_r{', or so many a channel' if by_channel else ''}, not {tuple(a.shape)}"
        )


def poly_relu(x: Float[Tensor, "*batch width"], a: Float[Tensor, "order ..."], *, compiled: bool = False) -> Float[Tensor, "*batch width"]:
    """a_0 + a_1 ReLU(x) + ... + a_r ReLU(x)^r.

    Args:
        x: (..., m), floating point.
        a: (r + 1,), ascending, or (r + 1, m), a polynomial a channel.
        compiled: through `torch.compile`.

    Raises:
        InputError: integers, an empty last axis, or fewer than two coefficients.
    """
    _check("PolyReLU", x, a, True)
    if torch.compiler.is_compiling():
        return _plain_relu(x, a)
    return _Relu.apply(x.reshape(-1, x.shape[-1]), _wide(a), compiled).view(x.shape)


def poly_norm(
    x: Float[Tensor, "*batch width"], a: Float[Tensor, " order"], eps: float = 1e-6, *, relative: bool = False, compiled: bool = False
) -> Float[Tensor, "*batch width"]:
    """a_0 + a_1 N(x) + ... + a_r N(x^r), N over the last axis.

    Args:
        x: (..., m), floating point.
        a: (r + 1,), ascending.
        eps: added to mean squares.
        relative: eps is relative to a token's largest number, and the function free of scale near zero too (no gradient flows through that number).
        compiled: through `torch.compile`.

    Raises:
        InputError: integers, an empty last axis, or fewer than two coefficients.
    """
    _check("PolyNorm", x, a, False)
    if torch.compiler.is_compiling():
        return _plain_norm(x, a, eps, relative)
    return _Norm.apply(x.reshape(-1, x.shape[-1]), _wide(a), eps, relative, compiled).view(x.shape)


def _initial(order: int, init: Sequence[float] | None) -> Tensor:
    if order < 1:
        raise InputError(f"the order of a polynomial must be at least 1, not {order}")
    if init is None:
        return torch.tensor([0.0, *[1 / order] * order])
    if len(init) != order + 1:
        raise InputError(f"a polynomial of order {order} has {order + 1} coefficients a_0, ..., a_{order}, not {len(init)}")
    return torch.tensor(list(map(float, init)))


class _Learnt(nn.Module):
    """Coefficients a_0, ..., a_r, ascending, without weight decay unless it is asked for."""

    def __init__(self, start: Tensor, decay: bool) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(start)
        self.coefficients.decayed = decay  # type: ignore[attr-defined]  # read by the optimizers

    @property
    def order(self) -> int:
        """r."""
        return len(self.coefficients) - 1


class PolyReLU(_Learnt):
    """a_0 + a_1 ReLU(x) + ... + a_r ReLU(x)^r, each number on its own: any shape to the same."""

    def __init__(
        self,
        order: int = 3,
        *,
        init: Sequence[float] | None = None,
        channels: int | None = None,
        dim: int = -1,
        decay: bool = False,
        compiled: bool = False,
    ) -> None:
        """
        Args:
            order: r.
            init: a_0, ..., a_r; 0 and 1 / r by default.
            channels: a polynomial for each of so many channels; by default one for all.
            dim: the axis of the channels.
            decay: the coefficients are decayed with the weights (the authors' runs decayed everything).
            compiled: through `torch.compile`.

        Raises:
            InputError: an order below 1, or a number of coefficients that does not fit.
        """
        start = _initial(order, init)
        super().__init__(start if channels is None else start[:, None].repeat(1, channels), decay)
        self.dim, self.compiled = dim, compiled

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """See :func:`poly_relu`."""
        return poly_relu(x.movedim(self.dim, -1), self.coefficients, compiled=self.compiled).movedim(-1, self.dim)


class PolyNorm(_Learnt):
    """a_0 + a_1 N(x) + ... + a_r N(x^r), N over one axis: any shape to the same."""

    def __init__(
        self,
        order: int = 3,
        *,
        eps: float = 1e-6,
        dim: int = -1,
        relative: bool = False,
        init: Sequence[float] | None = None,
        decay: bool = False,
        compiled: bool = False,
    ) -> None:
        """
        Args:
            order: r.
            eps: added to mean squares.
            dim: the axis of a token's hidden vector (1 for images, channels first).
            relative: see :func:`poly_norm`.
            init: a_0, ..., a_r; 0 and 1 / r by default.
            decay: the coefficients are decayed with the weights.
            compiled: through `torch.compile`.

        Raises:
            InputError: an order below 1, eps that is not positive, or a number of coefficients that does not fit.
        """
        if not eps > 0:
            raise InputError(f"eps must be positive, not {eps}")
        super().__init__(_initial(order, init), decay)
        self.eps, self.dim, self.relative, self.compiled = eps, dim, relative, compiled

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """See :func:`poly_norm`.

        Warns:
            UserWarning: an axis of one number, of which nothing but the sign is left.
        """
        if x.ndim and x.shape[self.dim] == 1:
            warnings.warn("PolyNorm over an axis of one number leaves its sign alone: normalise over the hidden axis", stacklevel=2)
        moved = x.movedim(self.dim, -1)
        return poly_norm(moved, self.coefficients, self.eps, relative=self.relative, compiled=self.compiled).movedim(-1, self.dim)


class PolyCom(_Learnt):
    """The family with any function: (..., m) to the same."""

    def __init__(
        self,
        order: int = 3,
        *,
        function: str | Callable[[Tensor], Tensor] = "gelu",
        kind: str = "I",
        init: Sequence[float] | None = None,
        decay: bool = False,
    ) -> None:
        """
        Args:
            order: r.
            function: rho: the name of an activation, ``"prelu"`` (which learns a slope), or any function or module.
            kind: ``"I"``: powers of rho(x); ``"II"``: rho of powers.
            init: a_0, ..., a_r; 0 and 1 / r by default.
            decay: the coefficients are decayed with the weights.

        Raises:
            InputError: an order below 1, an unknown function or kind, or a number of coefficients that does not fit.
        """
        super().__init__(_initial(order, init), decay)
        self.kind = choose("kind of composition", kind, ("I", "II"))
        if isinstance(function, str):
            function = nn.PReLU() if function == "prelu" else ACTIVATIONS[choose("activation", function, ACTIVATIONS)].fn
        self.function = function

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The composition, term by term.

        Raises:
            InputError: integers.
        """
        if not x.is_floating_point():
            raise InputError(f"PolyCom takes floating-point numbers, not {x.dtype}")
        wide = _wide(x)
        powers = range(1, self.order + 1)
        terms = [self.function(wide) ** i for i in powers] if self.kind == "I" else [self.function(wide**i) for i in powers]
        return sum((a * term for a, term in zip(self.coefficients[1:], terms, strict=True)), self.coefficients[0]).to(x.dtype)


class _PolyReLUNorm(PolyNorm):
    """Normalised powers of ReLU(x): the ablation between the two."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return super().forward(F.relu(x))


ACTIVATION_MODULES: dict[str, Callable[[], nn.Module]] = {
    "polyrelu": PolyReLU,
    "polynorm": PolyNorm,
    "polyprelu": partial(PolyCom, function="prelu"),
    "polyrelunorm": _PolyReLUNorm,
    **{f"polyrelu-{order}": partial(PolyReLU, order) for order in (2, 4)},
    **{f"polynorm-{order}": partial(PolyNorm, order) for order in (2, 4)},
    "polygelu": partial(PolyCom, function="gelu"),
    "polysilu": partial(PolyCom, function="silu"),
}
