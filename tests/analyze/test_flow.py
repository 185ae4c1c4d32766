import warnings

import pytest
import torch

from ordinate.analyze.criticality import find_criticality
from ordinate.analyze.flow import QUANTITIES, check_aspect, four_point_flow, rg_flow
from ordinate.analyze.kernels import kernel_flow
from ordinate.analyze.layerwise import draw_layers, measure_moments
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation, list_activations

TANH = Activation.of("tanh")
REFERENCE = {
    "K": (0.573153, 0.455480, 0.410484),
    "V": (0.140434, 0.120424, 0.107797),
    "G1": (0.0, -0.033231, -0.052312),
    "Theta": (2.508861, 3.002830, 3.456206),
    "A": (0.303667, 0.938671, 1.983805),
    "B": (1.967093, 4.824950, 8.722902),
    "D": (-0.194186, -0.309833, -0.410098),
    "F": (0.216147, 0.318239, 0.405788),
    "P": (-0.551148, -1.555132, -3.040631),
    "Q": (-0.371026, -0.881963, -1.578794),
}


def test_the_reference_flow() -> None:
    flow = rg_flow(TANH, 4, 0.1, 1.2, first=1.0, first_tangent=2.0)
    for name, values in REFERENCE.items():
        assert getattr(flow, name)[1:].tolist() == pytest.approx(values, abs=1e-6), name


def test_one_flow_is_that_of_the_kernels() -> None:
    first = torch.tensor([[1.4]], dtype=torch.float64)
    one, many = rg_flow(TANH, 5, 0.1, 1.2, first=1.4), kernel_flow(TANH, first, 5, 0.1, 1.2)
    torch.testing.assert_close(one.K, many.kernel[:, 0, 0])
    torch.testing.assert_close(one.Theta, many.tangent[:, 0, 0])


def test_the_first_layer_is_exactly_gaussian() -> None:
    flow = rg_flow(Activation.of("gelu"), 3, 0.1, 1.2)
    for name in QUANTITIES[2:]:
        if name != "Theta":
            assert float(getattr(flow, name)[0]) == 0.0, name
    assert flow.G1[:2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("name", "nu"), [("relu", 5.0), ("linear", 2.0), ("abs", 2.0)])
def test_fluctuations_of_scale_invariant_units_grow_linearly(name: str, nu: float) -> None:
    report = find_criticality(name)
    flow = rg_flow(Activation.of(name), 30, report.C_b, report.C_W, first=0.7)
    torch.testing.assert_close(flow.V / flow.K.square(), nu * torch.arange(30, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    assert not flow.P.abs().max() > 1e-10  # no second derivative, no such part of learning


def test_fluctuations_of_tanh_reach_two_thirds_slowly() -> None:
    flow = rg_flow(TANH, 1000, 0.0, 1.0)
    ratio = flow.V / flow.K.square() / torch.arange(1, 1001, dtype=torch.float64)
    assert (float(ratio[99]), float(ratio[999])) == pytest.approx((0.648040, 0.664148), abs=1e-6)


@pytest.mark.parametrize("name", [name for name in list_activations() if find_criticality(name).kind == "half_stable"])
def test_the_rate_of_half_stable_activations(name: str) -> None:
    report = find_criticality(name)
    flow = rg_flow(Activation.of(name), 20, report.C_b, report.C_W, first=report.K_star)
    assert float(flow.V[-1] / flow.K[-1] ** 2) == pytest.approx(19 * report.nu, rel=1e-3)


def test_unequal_widths_rescale_what_is_inherited() -> None:
    narrow = rg_flow(Activation.of("linear"), 3, 0.0, 1.0, widths=(10, 40))
    # exact to first order: V^3 / n_2 = 2 (1/n_1 + 1/n_2) K²
    assert float(narrow.V[2]) / 40 == pytest.approx(2 * (1 / 10 + 1 / 40))
    same = rg_flow(TANH, 4, 0.1, 1.2, widths=(8, 8, 8))
    torch.testing.assert_close(same.A, rg_flow(TANH, 4, 0.1, 1.2).A)


def test_deep_linear_networks_are_known_at_any_width() -> None:
    widths = (6, 9, 4)
    x = torch.ones(1, 5, dtype=torch.float64)
    moments = measure_moments(Activation.of("linear"), x, (*widths, 30), 0.0, 1.0, 4000, torch.Generator().manual_seed(0), order=0)
    exact = 1.0
    for layer, before in enumerate([1e30, *widths]):
        exact *= 1 + 2 / before
        if layer:
            found = float(moments.V[layer]) / before + 1.0
            assert found == pytest.approx(exact, rel=0.1), layer


@pytest.mark.parametrize(("name", "residual"), [("relu", 0.6), ("tanh", 0.6)])
def test_the_vertex_with_residual_connections_is_what_networks_show(name: str, residual: float) -> None:
    act, n, depth = Activation.of(name), 60, 4
    C_W = find_criticality(name).with_residual(residual).C_W
    x = torch.ones(1, n, dtype=torch.float64) / C_W**0.5
    moments = measure_moments(act, x, [n] * depth, 0.0, C_W, 5000, torch.Generator().manual_seed(1), residual=residual, order=0)
    flow = rg_flow(act, depth, 0.0, C_W, residual=residual)
    assert float(moments.V[-1]) == pytest.approx(float(flow.V[-1]), rel=0.15)
    assert float(moments.K[-1]) == pytest.approx(float(flow.K[-1] + flow.G1[-1] / n), rel=0.02)
    assert torch.isnan(flow.A[1:]).all() and not torch.isnan(flow.Theta).any()


@pytest.mark.parametrize("name", ["relu", "gelu", "abs", "selu"])
def test_the_rate_with_residual_connections_is_what_the_flow_settles_to(name: str) -> None:
    report = find_criticality(name)
    held = report.with_residual(0.5)
    assert report.nu is not None and held.nu is not None
    flow = rg_flow(Activation.of(name), 400, held.C_b, held.C_W, first=report.K_star or 1e-9, residual=0.5)
    ratio = flow.V / flow.K.square()
    if report.kind != "zero":
        assert float(ratio[399] - ratio[398]) == pytest.approx(held.nu, rel=2e-3)
    else:
        assert float(ratio[399]) / 399 == pytest.approx(3 * held.nu, rel=0.1)  # so near to 0 that K has not begun to fall


def test_the_vertex_of_two_inputs_holds_that_of_each_and_has_its_symmetries() -> None:
    first = torch.tensor([[1.0, 0.3], [0.3, 1.5]], dtype=torch.float64)
    for name in ("tanh", "relu"):
        act = Activation.of(name)
        V = four_point_flow(act, first, 4, 0.1, 1.2)
        torch.testing.assert_close(V[:, 0, 0, 0, 0], rg_flow(act, 4, 0.1, 1.2, first=1.0).V)
        torch.testing.assert_close(V[:, 1, 1, 1, 1], rg_flow(act, 4, 0.1, 1.2, first=1.5).V)
        torch.testing.assert_close(V, V.permute(0, 3, 4, 1, 2))
        torch.testing.assert_close(V, V.permute(0, 2, 1, 3, 4))


def test_the_vertex_of_two_inputs_is_what_networks_show() -> None:
    x = torch.tensor([[1.0, 1.0], [1.0, -0.2]], dtype=torch.float64)
    n, nets = 30, 8000
    *_, last = draw_layers(TANH, x, [n] * 3, 0.1, 1.2, nets, torch.Generator().manual_seed(2), order=0)
    products = torch.einsum("eai,ebi->eabi", last.z, last.z)
    total = products.sum(-1)
    pairs = (torch.einsum("eab,ecd->abcd", total, total) - torch.einsum("eabi,ecdi->abcd", products, products)) / (nets * n * (n - 1))
    mean = products.mean((0, 3))
    measured = n * (pairs - torch.einsum("ab,cd->abcd", mean, mean))
    predicted = four_point_flow(TANH, 0.1 + 1.2 * x @ x.mT / 2, 3, 0.1, 1.2)[-1]
    torch.testing.assert_close(measured, predicted, rtol=0.2, atol=0.02)
    assert float(predicted[0, 1, 0, 1]) != pytest.approx(float(predicted[0, 0, 1, 1]), rel=0.1)  # the order of indices matters


def test_networks_show_what_is_predicted_of_their_tangent_kernels() -> None:
    n = 24
    moments = measure_moments(TANH, torch.ones(1, n), [n] * 3, 0.05, 1.3, 1200, torch.Generator().manual_seed(3))
    flow = rg_flow(TANH, 3, 0.05, 1.3, first=1.35)
    for name, tolerance in {"Theta": 0.03, "B": 0.12, "F": 0.15, "P": 0.12, "Q": 0.12, "A": 0.25}.items():
        assert float(getattr(moments, name)[-1]) == pytest.approx(float(getattr(flow, name)[-1]), rel=tolerance), name


def test_the_spread_of_one_network() -> None:
    flow = rg_flow(Activation.of("relu"), 6, 0.0, 2.0)
    mean, spread = flow.at_width(50)
    torch.testing.assert_close(mean, torch.ones(6, dtype=torch.float64))
    assert float(spread[0]) == pytest.approx((2 / 50) ** 0.5) and float(spread[5]) == pytest.approx(((2 + 49 / 50 * 25) / 50) ** 0.5)


def test_too_deep_for_the_width_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"above 0\.5"):
        check_aspect(60, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_aspect(50, 100)
    with pytest.raises(InputError, match="two neurons"):
        check_aspect(5, 1)


def test_what_cannot_flow_is_refused() -> None:
    with pytest.raises(InputError, match="at least one layer"):
        rg_flow(TANH, 0, 0.0, 1.0)
    with pytest.raises(InputError, match="positive first kernel"):
        rg_flow(TANH, 3, 0.0, 1.0, first=0.0)
    with pytest.raises(InputError, match="each of the 3 layers"):
        rg_flow(TANH, 3, 0.0, 1.0, lambda_b=[1.0, 2.0])
    with pytest.raises(InputError, match="2 hidden layers, each 2 or more"):
        rg_flow(TANH, 3, 0.0, 1.0, widths=(1, 5))
    with pytest.raises(InputError, match="equal width"):
        rg_flow(TANH, 3, 0.0, 0.5, residual=0.5, widths=(4, 5))
    with pytest.raises(InputError, match="beyond all bounds"):
        rg_flow(Activation.of("square"), 30, 0.0, 2.0, first=5.0)
    with pytest.raises(InputError, match="died out"):
        rg_flow(Activation.of("square"), 30, 0.0, 0.2, first=0.5)
    ones = torch.ones(2, 2, dtype=torch.float64)
    with pytest.raises(InputError, match="singular"):
        four_point_flow(TANH, ones, 3, 0.0, 1.0)
