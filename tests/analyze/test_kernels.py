import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.analyze.criticality import find_criticality
from ordinate.analyze.gaussian import gauss_avg
from ordinate.analyze.kernels import NearbyKernel, cross_averages, first_kernel, kernel_flow, kernel_map, nearby_map, susceptibilities
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation, leaky_relu

NAMES = ["tanh", "gelu", "relu", "softplus", "hard-tanh", "elu"]


def two(size: float, cosine: float) -> torch.Tensor:
    return size * torch.tensor([[1.0, cosine], [cosine, 1.0]], dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0.05, 1.0, 7.0])
def test_susceptibilities_are_derivatives_two_ways(name: str, size: float) -> None:
    act, K = Activation.of(name), torch.tensor(size, dtype=torch.float64)
    parallel, _, h = (float(value) for value in susceptibilities(act, K, 1.3))
    stein = 1.3 * gauss_avg(lambda z: act(z).square() * (z.square() - K), K, act.kinks) / (2 * K.square())
    assert parallel == pytest.approx(float(stein), rel=1e-9)
    step = 1e-5 * size
    around = [kernel_map(act, K + move, 0.0, 1.3) for move in (-step, step)]
    assert parallel == pytest.approx(float(around[1] - around[0]) / (2 * step), rel=1e-6)
    turns = [susceptibilities(act, K + move, 1.3)[1] for move in (-step, step)]
    assert h == pytest.approx(float(turns[1] - turns[0]) / (4 * step), rel=1e-5, abs=1e-9)


@given(st.floats(-1, 1), st.floats(1e-3, 1e3))
@settings(max_examples=20)
def test_scale_invariant_units_have_one_susceptibility(slope: float, size: float) -> None:
    act = leaky_relu(slope)
    parallel, perpendicular, h = (float(value) for value in susceptibilities(act, torch.tensor(size, dtype=torch.float64), 0.9))
    expected = 0.9 * (1 + slope**2) / 2
    assert (parallel, perpendicular) == pytest.approx((expected, expected), rel=1e-10) and abs(h) < 1e-10


@pytest.mark.parametrize(("name", "digits"), [("tanh", 1e-7), ("silu", 1e-7), ("gelu", 1e-7), ("elu", 1e-5), ("hard-tanh", 2e-3)])
def test_the_expansion_is_as_good_as_said(name: str, digits: float) -> None:
    act = Activation.of(name)
    cosines = torch.tensor([0.0, 0.3, 0.9, 0.99, -0.5, -1.0, 1.0], dtype=torch.float64)
    for cosine in cosines:
        for size in (0.3, 3.0):
            kernel = two(size, float(cosine))
            quadrature, expansion = cross_averages(act, kernel, "quadrature"), cross_averages(act, kernel, "hermite")
            torch.testing.assert_close(expansion[0], quadrature[0], rtol=digits, atol=digits)
            torch.testing.assert_close(expansion[1], quadrature[1], rtol=30 * digits, atol=30 * digits)


def test_every_way_gives_the_same_kernels_of_many_inputs() -> None:
    x = torch.randn(12, 6, dtype=torch.float64) * torch.linspace(0.2, 3, 12, dtype=torch.float64)[:, None]
    kernel = first_kernel(x, 0.1, 1.5)
    gelu = Activation.of("gelu")
    closed, quadrature, expansion = (cross_averages(gelu, kernel, method) for method in ("closed", "quadrature", "hermite"))
    for one, other, third in zip(closed, quadrature, expansion, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(one, third, rtol=1e-7, atol=1e-7)


def test_the_kernel_of_a_linear_network_is_its_input_s_and_the_tangent_kernel_is_depth_times_it() -> None:
    kernel = two(2.0, 0.4)
    flow = kernel_flow(Activation.of("linear"), kernel, 6, 0.0, 1.0, lambda_b=0.0, lambda_W=0.7)
    for layer in range(6):
        torch.testing.assert_close(flow.kernel[layer], kernel)
        torch.testing.assert_close(flow.tangent[layer], 0.7 * (layer + 1) * kernel)


def test_reference_flows() -> None:
    tanh = Activation.of("tanh")
    assert float(kernel_flow(tanh, two(1.0, 0.2), 12, 0.1, 1.0).cosine[10, 0, 1]) == pytest.approx(0.975, abs=2e-3)
    held = kernel_flow(tanh, two(1.0, 0.2), 120, 0.0, 1.0).cosine[:, 0, 1]
    assert 0.165 < float(held[-1]) < float(held[10]) < 0.2
    assert float(kernel_flow(tanh, two(1.0, 0.2), 120, 0.0, 1.5).cosine[-1, 0, 1]) < 0.07
    report = find_criticality("gelu")
    kernel = two(report.K_star, 0.2)
    dying = kernel_flow(Activation.of("gelu"), kernel, 101, 0.0, 2.0).kernel[:, 0, 0]
    assert float(dying[-1]) == pytest.approx(3.1e-24, rel=0.05)
    living = kernel_flow(Activation.of("gelu"), kernel, 101, report.C_b, report.C_W)
    assert float(living.kernel[-1, 0, 0]) == pytest.approx(report.K_star, rel=1e-6) and float(living.cosine[-1, 0, 1]) == pytest.approx(
        0.98, abs=5e-3
    )


def test_tanh_from_one_at_criticality() -> None:
    kernel, act = torch.ones((), dtype=torch.float64), Activation.of("tanh")
    for layer in range(2, 1001):
        kernel = kernel_map(act, kernel, 0.0, 1.0)
        if layer in (100, 1000):
            assert 2 * layer * float(kernel) == pytest.approx({100: 1.024143, 1000: 1.003333}[layer], abs=1e-6)


def test_nearby_inputs_follow_their_expansion() -> None:
    act, C_b, C_W = Activation.of("tanh"), 0.1, 1.3
    for distance in (0.1, 0.05):
        kernel = torch.tensor([[1.0 + distance, 1.0 - 0.8 * distance**2], [1.0 - 0.8 * distance**2, 1.0 - distance]], dtype=torch.float64)
        near = nearby_map(act, NearbyKernel.of(kernel), C_b, C_W)
        exact = NearbyKernel.of(kernel_flow(act, kernel, 2, C_b, C_W).kernel[1])
        assert near.k1 == pytest.approx(exact.k1, rel=3 * distance**2)
        assert near.k2 == pytest.approx(exact.k2, rel=0.6 * distance, abs=3 * distance**4)
    kernel = two(1.5, 0.8)
    parts = NearbyKernel.of(kernel)
    assert (parts.k0 + parts.k2, parts.k0 - parts.k2, parts.k1) == pytest.approx((1.5, 1.2, 0.0))


def test_residual_connections_add_their_share() -> None:
    flow = kernel_flow(Activation.of("tanh"), two(1.0, 0.2), 2, 0.1, 1.2, residual=0.5)
    plain = kernel_flow(Activation.of("tanh"), two(1.0, 0.2), 2, 0.1, 1.2)
    torch.testing.assert_close(flow.kernel[1] - plain.kernel[1], 0.25 * flow.kernel[0])
    torch.testing.assert_close(flow.tangent[1] - plain.tangent[1], 0.25 * flow.tangent[0])


def test_numbers_out_of_range_are_refused() -> None:
    act, one = Activation.of("tanh"), torch.ones((), dtype=torch.float64)
    with pytest.raises(InputError, match="variances are finite"):
        kernel_map(act, one, -0.1, 1.0)
    with pytest.raises(InputError, match="variances are finite"):
        kernel_map(act, one, 0.0, math.inf)
    with pytest.raises(InputError, match=r"\[0, 1\)"):
        kernel_map(act, one, 0.0, 1.0, residual=1.0)
    with pytest.raises(InputError, match="K > 0"):
        susceptibilities(act, 0 * one, 1.0)
    with pytest.raises(InputError, match="no closed form"):
        cross_averages(act, two(1.0, 0.1), "closed")
    with pytest.raises(InputError, match="unknown method"):
        cross_averages(act, two(1.0, 0.1), "magic")
    with pytest.raises(InputError, match="negative eigenvalues"):
        cross_averages(act, two(1.0, 1.2))
    with pytest.raises(InputError, match="at least one layer"):
        kernel_flow(act, two(1.0, 0.1), 0, 0.0, 1.0)
    with pytest.raises(InputError, match="not all finite"):
        first_kernel(torch.full((2, 3), math.nan), 0.0, 1.0)
