import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation, leaky_relu, list_activations

Z = torch.linspace(-5, 5, 801, dtype=torch.float64) + 0.0003


def by_autograd(activation: Activation) -> Activation:
    return Activation(activation.name, activation.fn)


@pytest.mark.parametrize("name", list_activations())
def test_written_derivatives_are_those_of_autograd(name: str) -> None:
    named = Activation.of(name)
    torch.testing.assert_close(named.derivative(Z), by_autograd(named).derivative(Z), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(named.second_derivative(Z), by_autograd(named).second_derivative(Z), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", list_activations())
def test_the_kinks_of_a_named_function_are_found_when_it_comes_without_its_name(name: str) -> None:
    assert Activation.of(Activation.of(name).fn).kinks == pytest.approx(Activation.of(name).kinks, abs=1e-8)


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=4, unique_by=lambda x: round(x)))
@settings(max_examples=20)
def test_kinks_are_found_wherever_they_are(places: list[float]) -> None:
    def broken(z: Tensor) -> Tensor:
        return 0.1 * z + sum((0.3 + index) * F.relu(z - place) for index, place in enumerate(places))

    assert Activation.of(broken).kinks == pytest.approx(sorted(places), abs=1e-7)


def test_modules_are_taken_in_evaluation_mode_and_double_precision() -> None:
    leaky = Activation.of(nn.RReLU(0.1, 0.3).train())
    torch.testing.assert_close(leaky(Z), F.leaky_relu(Z, 0.2))
    assert Activation.of(nn.PReLU()).derivative(Z).dtype == torch.float64
    assert Activation.of(nn.Softshrink()).kinks == (-0.5, 0.5)


@pytest.mark.parametrize("known", [True, False])
def test_curvature_that_a_handwritten_backward_pass_hides_is_taken_by_differences(known: bool) -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z: Tensor) -> Tensor:
            ctx.save_for_backward(z)
            return z**3

        @staticmethod
        def backward(ctx, grad: Tensor) -> Tensor:
            (z,) = ctx.saved_tensors
            return grad * 3 * (z if known else z.detach()) ** 2

    cube = Activation.of(Cube.apply)
    assert (cube.d2 is None) == known
    torch.testing.assert_close(cube.second_derivative(Z), 6 * Z, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(cube.third_derivative(Z), torch.full_like(Z, 6.0), rtol=1e-6, atol=1e-4)


def test_third_derivatives_at_zero() -> None:
    zero = torch.zeros(1, dtype=torch.float64)
    for name, third in {"tanh": -2.0, "sin": -1.0, "arctan": -2.0, "asinh": -1.0, "gelu": 0.0, "sigmoid": -0.125}.items():
        assert float(Activation.of(name).third_derivative(zero)) == pytest.approx(third, abs=1e-9), name


def infinite_where_dead(z: Tensor) -> Tensor:
    return torch.where(z > 0, z * z.abs().sqrt(), z)  # the root's derivative at 0 is infinite, and times 0 it is NaN


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda z: z.sign() * z.abs().sqrt(), "not differentiable at 0"),
        (lambda z: (z - 1).abs().sqrt(), "not differentiable at z = 1"),
        (lambda z: torch.sin(z) / z, "nan at 0"),
        (torch.log, "-inf at 0"),
        (infinite_where_dead, "derivative of infinite_where_dead is nan at 0"),
        (lambda z: torch.exp(z * z), "grows without bound faster than a Gaussian"),
        (lambda z: torch.exp(z**4), "not finite at"),
        (lambda z: z.softmax(-1), "depends on the others"),
        (F.glu, "takes? several inputs|14 numbers into"),
        (lambda z: F.dropout(z), "another value each time"),
        (torch.round, "jumps at"),
        (lambda z: z * (z > 0.3), "jumps at z = 0.3"),
        (lambda z: z * 0 + 2, "constant"),
        (lambda z: z.detach() ** 2, "detached part"),
        (lambda z: z + (torch.tanh(z) - z).detach(), "straight-through"),
        (lambda z: F.gelu(z.float()), "double precision"),
        (lambda z: "no", "into str"),
        (nn.Linear(3, 3), "cannot be applied"),
        (3.0, "a name, a module or a function"),
        ("gellu", "did you mean gelu"),
    ],
)
def test_what_is_no_usable_activation_is_refused_with_why(function: object, why: str) -> None:
    with pytest.raises(InputError, match=why):
        Activation.of(function)  # type: ignore[arg-type]


def test_slopes_must_be_finite() -> None:
    assert leaky_relu(0.2)(torch.tensor([-1.0, 2.0])).tolist() == pytest.approx([-0.2, 2.0])
    with pytest.raises(InputError, match="finite"):
        leaky_relu(math.inf)
