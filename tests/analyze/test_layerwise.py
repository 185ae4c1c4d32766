import pytest
import torch

from ordinate.analyze.empirical import empirical_dntk, empirical_ntk
from ordinate.analyze.flow import rg_flow
from ordinate.analyze.layerwise import draw_layers, first_layer, measure_moments, next_layer
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation
from ordinate.nn.deep_mlp import DeepMLP
from ordinate.nn.variance_init import variance_init_

RATES = {"lambda_b": 0.7, "lambda_W": 1.3}


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu"])
def test_the_recursion_in_a_network_s_own_weights_is_automatic_differentiation(name: str) -> None:
    model = variance_init_(DeepMLP([5, 6, 4, 3], name).double(), 0.3, 1.4)
    x = torch.randn(2, 5, dtype=torch.float64)
    first, *others = model.layers
    state = first_layer(x, first.weight[None], first.bias[None], **RATES)
    for layer in others:
        state = next_layer(Activation.of(name), state, layer.weight[None], layer.bias[None], **RATES)
    torch.testing.assert_close(state.z[0], model(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state.ntk[0], empirical_ntk(model, x, method="jacobian", **RATES), rtol=1e-9, atol=1e-9)
    dntk = empirical_dntk(model, x, **RATES)
    torch.testing.assert_close(state.dntk[0], dntk, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(dntk, dntk.permute(0, 2, 1, 3, 5, 4), rtol=1e-9, atol=1e-9)
    assert dntk.abs().max() > 0.1


def test_lower_orders_are_the_same_networks() -> None:
    act, x = Activation.of("tanh"), torch.randn(2, 4)
    states = [list(draw_layers(act, x, [5, 5, 3], 0.1, 1.2, 3, torch.Generator().manual_seed(0), order=order)) for order in (0, 1, 2)]
    for layers in zip(*states, strict=True):
        assert torch.equal(layers[0].z, layers[1].z) and torch.equal(layers[1].ntk, layers[2].ntk)
    assert states[0][0].ntk is None and states[1][0].dntk is None


def test_moments_come_from_the_generator_alone_and_hold_what_was_asked_for() -> None:
    act, x = Activation.of("tanh"), torch.ones(1, 6)
    one, other = (measure_moments(act, x, [6, 6], 0.1, 1.2, 40, torch.Generator().manual_seed(0), order=1, at_once=7) for _ in "ab")
    assert torch.equal(one.A, other.A) and len(one.P) == 0 and len(one.K) == 2
    plain = measure_moments(act, x, [6, 6], 0.1, 1.2, 40, torch.Generator().manual_seed(0), order=0, at_once=7)
    assert torch.equal(plain.V, one.V) and len(plain.Theta) == 0


def test_the_variance_of_a_layer_s_mean_square_is_as_foretold() -> None:
    n, nets = 40, 3000
    *_, last = draw_layers(Activation.of("relu"), torch.ones(1, n), [n] * 5, 0.0, 2.0, nets, torch.Generator().manual_seed(0), order=0)
    flow = rg_flow(Activation.of("relu"), 5, 0.0, 2.0, first=2.0)
    mean, spread = flow.at_width(n)
    found = last.z[:, 0].square().mean(dim=1).double()
    assert float(found.mean()) == pytest.approx(float(mean[-1]), rel=0.06)
    assert float(found.std()) == pytest.approx(float(spread[-1]), rel=0.2)


def test_what_cannot_be_drawn_is_refused() -> None:
    act, x, generator = Activation.of("tanh"), torch.ones(1, 4), torch.Generator()
    with pytest.raises(InputError, match="order of 0, 1 or 2"):
        next(draw_layers(act, x, [3], 0.0, 1.0, 2, generator, order=3))
    with pytest.raises(InputError, match="variances are finite"):
        next(draw_layers(act, x, [3], 0.0, -1.0, 2, generator))
    with pytest.raises(InputError, match="two neurons or more"):
        measure_moments(act, x, [4, 1], 0.0, 1.0, 2, generator)
    with pytest.raises(InputError, match="not followed through residual"):
        list(draw_layers(act, x, [4, 4], 0.0, 1.0, 2, generator, residual=0.5, order=1))
