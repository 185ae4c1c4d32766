r"""Activations by name, and whatever function a user brings: the scalar function :math:`\sigma`, its first two derivatives, and the points at which one of the three jumps.

What is brought is looked at before it is used. It must act on every number alone, be the same each time, be finite near zero, have no jump, a finite slope everywhere and a derivative that autograd gets
right, and grow slowly enough to have a Gaussian average. `Activation.of` says which of these fails and where; kinks (as ReLU's at 0) are found and kept, since averages are integrated between them.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), section 2.2; the names are those of the functions' own papers.
"""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose

__all__ = ["ACTIVATIONS", "Activation", "leaky_relu", "list_activations"]

_REACH = 12.0  # standard deviations over which a Gaussian average is taken
_SCANNED = 20.0
_MOST_KINKS = 64
_SQRT_2PI = math.sqrt(2 * math.pi)

Function = Callable[[Tensor], Tensor]


def _differentiate(fn: Function, z: Tensor, order: int) -> Tensor:
    """The derivative of that order, by autograd. A function that autograd finds constant has derivative 0."""
    with torch.enable_grad():
        at = z.detach().requires_grad_()
        value = fn(at)
        for _ in range(order):
            if not value.requires_grad:
                return torch.zeros_like(z)
            (value,) = torch.autograd.grad(value.sum(), at, create_graph=True, materialize_grads=True)
    return value.detach()


@dataclass(frozen=True)
class Activation:
    """A scalar function with what the theory asks of it.

    Attributes:
        name: for tables and messages.
        fn: (...) -> (...), each number on its own, any floating dtype.
        d1: its derivative, or None for autograd.
        d2: its second derivative where it has one (the mass of a kink left out), or None for autograd.
        kinks: where the function's first or second derivative jumps, ascending.
    """

    name: str
    fn: Function
    d1: Function | None = None
    d2: Function | None = None
    kinks: tuple[float, ...] = ()

    def __call__(self, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """σ(z)."""
        return self.fn(z)

    def derivative(self, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """σ'(z), without a graph."""
        return _differentiate(self.fn, z, 1) if self.d1 is None else self.d1(z.detach())

    def second_derivative(self, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """σ''(z), without a graph."""
        return _differentiate(self.fn, z, 2) if self.d2 is None else self.d2(z.detach())

    def third_derivative(self, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """σ'''(z), by five-point differences of σ'' (to about 1e-11), away from kinks."""
        step = 1e-3
        near, far = (self.second_derivative(z + k * step) - self.second_derivative(z - k * step) for k in (1, 2))
        return (8 * near - far) / (12 * step)

    @classmethod
    def of(cls, activation: "str | Activation | Function") -> "Activation":
        """The activation that is meant.

        Args:
            activation: a name (see `list_activations`), an `Activation`, an `nn.Module` (copied, in evaluation mode and double precision) or any function of a tensor.

        Raises:
            InputError: an unknown name, or a function that the theory cannot take; the message says why.
        """
        if isinstance(activation, Activation):
            return activation
        if isinstance(activation, str):
            return ACTIVATIONS[choose("activation", activation, ACTIVATIONS)]
        if not callable(activation):
            raise InputError(f"an activation is a name, a module or a function, not {type(activation).__name__}")
        if isinstance(activation, nn.Module):
            name, fn = type(activation).__name__, _plain_module(activation)
        else:
            name, fn = getattr(activation, "__name__", type(activation).__name__), activation
        _check_function(name, fn)
        kinks = _find_kinks(name, fn)
        _check_slopes(name, fn, kinks)
        return cls(
            name, fn, d2=None if _has_curvature(fn, kinks) else lambda z: _difference(lambda at: _differentiate(fn, at, 1), z), kinks=kinks
        )


def _plain_module(module: nn.Module) -> Function:
    twin = deepcopy(module).double().eval().requires_grad_(False)

    def apply(z: Tensor) -> Tensor:
        if z.dtype == torch.float64:
            return twin(z)
        return twin(z.double()).to(z.dtype)

    return apply


def _check_function(name: str, fn: Function) -> None:
    """Raise `InputError` unless `fn` is a scalar function, the same each time, finite near 0, and slow enough to be averaged."""
    z = torch.linspace(-3.0, 3.0, 14, dtype=torch.float64)
    try:
        value: Any = fn(z)
    except Exception as error:
        raise InputError(f"{name} cannot be applied to a tensor of numbers ({' '.join(str(error).split())[:160]})") from None
    if not isinstance(value, Tensor) or value.shape != z.shape or not value.is_floating_point():
        given = f"{tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"{name} is not an activation: it turns 14 numbers into {given} (gated units and the like take several inputs)")
    if value.dtype != z.dtype:
        raise InputError(
            f"{name} turns {z.dtype} into {value.dtype}: the theory is computed in double precision, let it keep the dtype of its input"
        )
    if not torch.equal(value.nan_to_num(), fn(z).nan_to_num()):
        raise InputError(f"{name} is not a function: it gives another value each time (dropout or noise in training mode?)")
    alone = torch.cat([fn(part) for part in z.flip(0).split(1)]).flip(0)
    if not torch.allclose(alone, fn(z), rtol=1e-9, atol=1e-12, equal_nan=True):
        raise InputError(f"{name} is not a scalar activation: what it gives for one number depends on the others (as softmax does)")
    zero = torch.zeros(1, dtype=torch.float64)
    if not torch.isfinite(fn(zero)).all():
        raise InputError(f"{name} is {float(fn(zero))} at 0, where preactivations are centred: define it there")
    wide = torch.linspace(-_REACH, _REACH, 2402, dtype=torch.float64)
    values = fn(wide)
    if not torch.isfinite(values).all():
        where = float(wide[~torch.isfinite(values)].abs().min())
        raise InputError(f"{name} is not finite at |z| = {where:.3g}: a Gaussian average needs it up to {_REACH:g}")
    integrand = values.square() * torch.exp(-wide.square() / 2)
    if float(integrand[[0, -1]].max()) > 1e-12 * float(integrand.sum()) > 0:
        raise InputError(
            f"{name} grows without bound faster than a Gaussian can average: its mean square under unit variance does not exist"
        )
    if not values.sub(values.mean()).any():
        raise InputError(f"{name} is constant: nothing passes through it")
    try:
        slopes = _differentiate(fn, wide, 1)
        at_zero = _differentiate(fn, zero, 1)
    except RuntimeError as error:
        raise InputError(f"{name} cannot be differentiated by autograd ({' '.join(str(error).split())[:160]})") from None
    ratios = [float(((fn(zero + step) - fn(zero)) / step).abs()) for step in (1e-4, 1e-8, 1e-12)]
    ratios_below = [float(((fn(zero - step) - fn(zero)) / step).abs()) for step in (1e-4, 1e-8, 1e-12)]
    for side in (ratios, ratios_below):
        if side[2] > 3 * side[1] > 9 * side[0] and side[2] > 1e3:
            raise InputError(f"{name} is not differentiable at 0: its slope there has no bound")
    if not torch.isfinite(at_zero).all():
        raise InputError(
            f"the derivative of {name} is {float(at_zero)} at 0: networks would get no usable gradient (a torch.where over a branch that is infinite there?)"
        )
    if not torch.isfinite(slopes).all():
        raise InputError(f"the derivative of {name} is not finite at |z| = {float(wide[~torch.isfinite(slopes)].abs().min()):.3g}")


def _jumps(curve: Function, scale_floor: float = 1e-12) -> tuple[Tensor, Tensor]:
    """Where a function of one number jumps, and by how much: intervals of a grid are halved towards the larger difference until only a jump is left."""
    edges = torch.linspace(-_SCANNED, _SCANNED, 4002, dtype=torch.float64) + 0.0013
    values = curve(edges)
    scale = max(float(values[torch.isfinite(values)].abs().median()), float(values[(edges.abs() < 3)].abs().max()), scale_floor)
    low, high, at_low, at_high = edges[:-1], edges[1:], values[:-1], values[1:]
    for _ in range(36):
        middle = (low + high) / 2
        at_middle = curve(middle)
        right = (at_high - at_middle).abs() > (at_middle - at_low).abs()
        low, at_low = torch.where(right, middle, low), torch.where(right, at_middle, at_low)
        high, at_high = torch.where(right, high, middle), torch.where(right, at_high, at_middle)
    size = (at_high - at_low).abs() / scale
    found = size > 1e-5
    return ((low + high) / 2)[found], size[found]


def _find_kinks(name: str, fn: Function) -> tuple[float, ...]:
    """Where σ' or σ'' jumps. Raises `InputError` where σ itself jumps, or σ' has no bound."""
    places, _ = _jumps(fn)
    if len(places):
        raise InputError(f"{name} jumps at z = {_round(float(places[0])):g}: it has no derivative there to carry a signal back")
    first, sizes = _jumps(lambda z: _differentiate(fn, z, 1))
    if len(sizes) and float(sizes.max()) > 1e4:
        raise InputError(f"{name} is not differentiable at z = {_round(float(first[sizes.argmax()])):g}: its slope there has no bound")
    try:
        second, _ = _jumps(lambda z: _differentiate(fn, z, 2))
    except (RuntimeError, NotImplementedError):
        second = first
    kinks = sorted({_round(float(place)) for place in torch.cat([first, second])})
    if len(kinks) > _MOST_KINKS:
        raise InputError(
            f"{name} has more than {_MOST_KINKS} kinks between -{_SCANNED:g} and {_SCANNED:g}: it is treated as a smooth function or not at all"
        )
    return tuple(kinks)


def _difference(curve: Function, z: Tensor) -> Tensor:
    return (curve(z + 1e-5) - curve(z - 1e-5)) / 2e-5


def _apart(kinks: tuple[float, ...]) -> Tensor:
    """Points away from the kinks."""
    z = torch.linspace(-4.0, 4.0, 211, dtype=torch.float64) + 0.00071
    return z[(z[:, None] - torch.tensor(kinks)).abs().amin(dim=1) > 1e-3] if kinks else z


def _check_slopes(name: str, fn: Function, kinks: tuple[float, ...]) -> None:
    """Raise `InputError` where autograd's derivative is another function's."""
    z = _apart(kinks)
    measured, given = _difference(fn, z), _differentiate(fn, z, 1)
    wrong = (measured - given).abs() > 1e-4 * (1 + given.abs())
    if wrong.any():
        raise InputError(
            f"autograd's derivative of {name} is not its derivative (at z = {float(z[wrong][0]):.3g} it says {float(given[wrong][0]):.4g}, and it is"
            f" {float(measured[wrong][0]):.4g}): a detached part, or a straight-through estimator?"
        )


def _has_curvature(fn: Function, kinks: tuple[float, ...]) -> bool:
    """Whether autograd knows the second derivative: a backward pass written by hand often cannot be differentiated, or says 0."""
    z = _apart(kinks)
    try:
        given = _differentiate(fn, z, 2)
    except (RuntimeError, NotImplementedError):
        return False
    measured = _difference(lambda at: _differentiate(fn, at, 1), z)
    return bool(((measured - given).abs() <= 1e-3 * (1 + given.abs())).all())


def _round(place: float) -> float:
    """A kink's place without the noise of the search."""
    return round(place, 9) + 0.0


def _phi(z: Tensor) -> Tensor:
    return torch.exp(-z.square() / 2) / _SQRT_2PI


def _gelu_1(z: Tensor) -> Tensor:
    return torch.special.ndtr(z) + z * _phi(z)


def _silu_1(z: Tensor) -> Tensor:
    gate = torch.sigmoid(z)
    return gate * (1 + z * (1 - gate))


def _silu_2(z: Tensor) -> Tensor:
    gate = torch.sigmoid(z)
    return gate * (1 - gate) * (2 + z * (1 - 2 * gate))


def _sigmoid_1(z: Tensor) -> Tensor:
    gate = torch.sigmoid(z)
    return gate * (1 - gate)


def _tanh_1(z: Tensor) -> Tensor:
    return 1 - torch.tanh(z).square()


def _steps(below: float, above: float) -> Function:
    return lambda z: torch.where(z >= 0, torch.full_like(z, above), below)


def leaky_relu(slope: float, name: str = "") -> Activation:
    """z for z >= 0 and slope · z below: ReLU (0), leaky ReLU, the identity (1), the absolute value (-1).

    Raises:
        InputError: a slope that is not finite.
    """
    if not math.isfinite(slope):
        raise InputError(f"the slope of a leaky ReLU must be finite, not {slope}")
    return Activation(
        name or f"leaky-relu({slope:g})",
        lambda z: F.leaky_relu(z, slope),
        _steps(slope, 1.0),
        torch.zeros_like,
        () if slope == 1 else (0.0,),
    )


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

_SMOOTH = (
    Activation("tanh", torch.tanh, _tanh_1, lambda z: -2 * torch.tanh(z) * _tanh_1(z)),
    Activation("sin", torch.sin, torch.cos, lambda z: -torch.sin(z)),
    Activation(
        "erf",
        torch.erf,
        lambda z: 2 / math.sqrt(math.pi) * torch.exp(-z.square()),
        lambda z: -4 / math.sqrt(math.pi) * z * torch.exp(-z.square()),
    ),
    Activation("arctan", torch.atan, lambda z: 1 / (1 + z.square()), lambda z: -2 * z / (1 + z.square()).square()),
    Activation("asinh", torch.asinh, lambda z: (1 + z.square()).rsqrt(), lambda z: -z * (1 + z.square()).pow(-1.5)),
    Activation("gelu", F.gelu, _gelu_1, lambda z: (2 - z.square()) * _phi(z)),
    Activation("silu", F.silu, _silu_1, _silu_2),
    Activation("mish", F.mish),
    Activation("softplus", F.softplus, torch.sigmoid, _sigmoid_1),
    Activation("sigmoid", torch.sigmoid, _sigmoid_1, lambda z: _sigmoid_1(z) * (1 - 2 * torch.sigmoid(z))),
    Activation("exp", torch.exp, torch.exp, torch.exp),
    Activation("square", torch.square, lambda z: 2 * z, lambda z: torch.full_like(z, 2.0)),
)
_KINKED = (
    leaky_relu(1.0, "linear"),
    leaky_relu(0.0, "relu"),
    leaky_relu(0.01, "leaky-relu"),
    leaky_relu(-1.0, "abs"),
    Activation("elu", F.elu, lambda z: torch.exp(z.clamp(max=0)), lambda z: torch.where(z < 0, torch.exp(z.clamp(max=0)), 0.0), (0.0,)),
    Activation(
        "selu",
        F.selu,
        lambda z: _SELU_SCALE * torch.where(z < 0, _SELU_ALPHA * torch.exp(z.clamp(max=0)), 1.0),
        lambda z: _SELU_SCALE * torch.where(z < 0, _SELU_ALPHA * torch.exp(z.clamp(max=0)), 0.0),
        (0.0,),
    ),
    Activation("softsign", F.softsign, lambda z: (1 + z.abs()).pow(-2), lambda z: -2 * z.sign() * (1 + z.abs()).pow(-3), (0.0,)),
    Activation("hard-tanh", F.hardtanh, lambda z: (z.abs() < 1).to(z.dtype), torch.zeros_like, (-1.0, 1.0)),
    Activation("relu6", F.relu6, lambda z: ((z >= 0) & (z < 6)).to(z.dtype), torch.zeros_like, (0.0, 6.0)),
)

ACTIVATIONS: dict[str, Activation] = {activation.name: activation for activation in (*_SMOOTH, *_KINKED)}
"""Activations by name."""


def list_activations() -> list[str]:
    """The names that `Activation.of` takes, sorted."""
    return sorted(ACTIVATIONS)
