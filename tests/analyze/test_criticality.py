import math

import pytest
import torch
from torch import nn

from ordinate.analyze.criticality import find_criticality, mismatch
from ordinate.analyze.kernels import kernel_map, susceptibilities
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation, leaky_relu, list_activations

K_GELU = (3 + math.sqrt(17)) / 2
KNOWN = {
    "linear": ("scale_invariant", 0.0, 1.0, None),
    "relu": ("scale_invariant", 0.0, 2.0, None),
    "leaky-relu": ("scale_invariant", 0.0, 2 / (1 + 0.01**2), None),
    "abs": ("scale_invariant", 0.0, 1.0, None),
    "tanh": ("zero", 0.0, 1.0, 0.0),
    "sin": ("zero", 0.0, 1.0, 0.0),
    "arctan": ("zero", 0.0, 1.0, 0.0),
    "asinh": ("zero", 0.0, 1.0, 0.0),
    "erf": ("zero", 0.0, math.pi / 4, 0.0),
    "elu": ("zero", 0.0, 1.0, 0.0),
    "softsign": ("zero", 0.0, 1.0, 0.0),
    "gelu": ("half_stable", 0.17292239, 1.98305826, K_GELU),
    "silu": ("half_stable", 0.55514317, 1.98800468, 14.32017362),
}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_critical_values_are_the_known_ones(name: str) -> None:
    kind, C_b, C_W, K = KNOWN[name]
    report = find_criticality(name)
    assert report.kind == kind
    assert (report.C_b, report.C_W) == pytest.approx((C_b, C_W), abs=1e-8)
    assert report.K_star is None if K is None else report.K_star == pytest.approx(K, abs=1e-7)


@pytest.mark.parametrize("slope", [-0.7, 0.0, 0.3, 1.0])
def test_leaky_units_of_any_slope(slope: float) -> None:
    report = find_criticality(leaky_relu(slope))
    assert report.C_W * (1 + slope**2) == pytest.approx(2, rel=1e-12)
    assert report.nu == pytest.approx(3 * (2 * (1 + slope**4)) / (1 + slope**2) ** 2 - 1)


@pytest.mark.parametrize("name", list_activations())
def test_what_is_called_critical_is(name: str) -> None:
    report = find_criticality(name)
    act = Activation.of(name)
    if report.kind == "none":
        assert report.remark and report.nu is None
        return
    for K in {"scale_invariant": (0.01, 1.0, 50.0), "zero": (1e-9,), "half_stable": (report.K_star,)}[report.kind]:
        at = torch.tensor(K, dtype=torch.float64)
        parallel, perpendicular, h = susceptibilities(act, at, report.C_W)
        loose = 1e-3 if report.kind == "zero" else 1e-9
        assert float(parallel) == pytest.approx(1.0, abs=loose) and float(perpendicular) == pytest.approx(1.0, abs=loose)
        assert float(kernel_map(act, at, report.C_b, report.C_W)) == pytest.approx(K, rel=loose)
        if report.kind == "scale_invariant":
            assert abs(float(h)) < 1e-12


def test_the_next_orders_at_zero() -> None:
    for name, a1 in {"tanh": -2.0, "sin": -1.0, "erf": -2.0, "arctan": -2.0, "asinh": -1.0}.items():
        report = find_criticality(name)
        assert (report.a1, report.b1, report.p_perp, report.decay, report.nu) == pytest.approx((a1, a1, 1.0, 1.0, 2 / 3)), name


@pytest.mark.parametrize("name", ["tanh", "sin", "elu", "softsign", "selu"])
def test_the_kernel_falls_to_zero_as_foretold(name: str) -> None:
    report, act = find_criticality(name), Activation.of(name)
    kernel, turned = torch.tensor(0.5, dtype=torch.float64), 1.0
    layers, sizes, products = (300, 1200), [], []
    for layer in range(layers[-1] + 1):
        if layer in layers:
            sizes.append(float(kernel))
            products.append(turned)
        turned *= float(susceptibilities(act, kernel, report.C_W)[1])
        kernel = kernel_map(act, kernel, 0.0, report.C_W)
    power = -math.log(sizes[1] / sizes[0]) / math.log(4)
    assert power == pytest.approx(report.decay, rel=0.1)
    assert -math.log(products[1] / products[0]) / math.log(4) == pytest.approx(report.p_perp, rel=0.1)


def test_half_stable_points_attract_from_the_side_that_is_said() -> None:
    for name, side in {"gelu": 1.0, "silu": -1.0, "mish": -1.0}.items():
        report, act = find_criticality(name), Activation.of(name)
        assert report.c is not None and math.copysign(1.0, -report.c) == side
        K = torch.tensor(report.K_star * (1 + 0.01 * side), dtype=torch.float64)
        assert abs(float(kernel_map(act, K, report.C_b, report.C_W)) - report.K_star) < abs(float(K) - report.K_star)
        K = torch.tensor(report.K_star * (1 - 0.01 * side), dtype=torch.float64)
        assert abs(float(kernel_map(act, K, report.C_b, report.C_W)) - report.K_star) > abs(float(K) - report.K_star)
    assert find_criticality("gelu").c == pytest.approx(-1.4e-4, rel=0.05)
    assert find_criticality("silu").c == pytest.approx(2.8e-6, rel=0.05)


@pytest.mark.parametrize("name", ["softplus", "sigmoid", "exp", "square"])
def test_what_cannot_be_critical_gets_a_compromise_with_a_remark(name: str) -> None:
    report = find_criticality(name)
    assert report.kind == "none" and "cannot be made critical" in report.remark
    assert float(susceptibilities(Activation.of(name), torch.ones((), dtype=torch.float64), report.C_W)[1]) == pytest.approx(1.0)
    with pytest.raises(InputError, match="cannot be made critical"):
        report.with_residual(0.5)


def test_zero_is_not_taken_for_a_root_where_it_repels() -> None:
    assert float(mismatch(Activation.of("gelu"), torch.tensor([1e-4], dtype=torch.float64)).abs()) < 1e-3
    repelled = find_criticality(lambda z: z + 0.3 * z**2 * torch.exp(-(z**2)))
    assert repelled.kind != "zero"


def test_users_bring_their_own() -> None:
    class Squashed(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return 0.5 * torch.tanh(2 * z)

    own = find_criticality(Squashed())
    assert (own.kind, own.C_W) == ("zero", pytest.approx(1.0)) and own.activation == "Squashed"
    assert find_criticality(nn.ReLU()).C_W == find_criticality("relu").C_W
    assert find_criticality(nn.GELU()).K_star == pytest.approx(K_GELU)
    with pytest.raises(InputError, match="depends on the others"):
        find_criticality(nn.Softmax(dim=-1))


def test_residual_connections_lower_the_rate() -> None:
    relu, tanh, gelu = (find_criticality(name) for name in ("relu", "tanh", "gelu"))
    gamma = 0.8
    share = 1 - gamma**2
    assert relu.with_residual(gamma).C_W / share == pytest.approx(2)
    assert relu.with_residual(gamma, skewed=False).nu == pytest.approx(share * (share * 5 + 4 * gamma**2))
    assert relu.with_residual(gamma).nu == pytest.approx(share * (share * 5 + 4 * gamma**2) + 16 / math.pi * share**2 * gamma / (1 - gamma))
    assert find_criticality("abs").with_residual(gamma) == find_criticality("abs").with_residual(gamma, skewed=False)
    assert tanh.with_residual(gamma).nu == pytest.approx(2 / 3 * (1 - gamma**4))
    assert gelu.with_residual(gamma).C_b == pytest.approx(share * gelu.C_b) and gelu.with_residual(0.0) == gelu
    K = torch.tensor(gelu.K_star, dtype=torch.float64)
    held = gelu.with_residual(gamma)
    assert float(kernel_map(Activation.of("gelu"), K, held.C_b, held.C_W, gamma)) == pytest.approx(gelu.K_star)
    for wrong in (-0.1, 1.0):
        with pytest.raises(InputError, match=r"lies in \[0, 1\)"):
            relu.with_residual(wrong)
