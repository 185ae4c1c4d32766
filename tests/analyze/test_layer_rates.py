import pytest
import torch
from torch import nn

from ordinate.analyze.criticality import find_criticality
from ordinate.analyze.flow import rg_flow
from ordinate.analyze.layer_rates import layer_lr, layer_rates, layer_scale
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation
from ordinate.nn.deep_mlp import DeepMLP


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh", "sin", "elu"])
def test_the_tangent_kernel_does_not_depend_on_depth(name: str) -> None:
    report = find_criticality(name)
    found = []
    for depth in (40, 160):
        b, W = layer_rates(report, depth)
        flow = rg_flow(
            Activation.of(name), depth, report.C_b, report.C_W, first=report.K_star or 1.0, lambda_b=b.tolist(), lambda_W=W.tolist()
        )
        found.append(float(flow.Theta[-1]))
    assert found[1] == pytest.approx(found[0], rel=0.35)
    plain = [
        float(rg_flow(Activation.of(name), depth, report.C_b, report.C_W, first=report.K_star or 1.0).Theta[-1]) for depth in (40, 160)
    ]
    assert plain[1] > 2 * plain[0] or name == "elu"  # whose differences die out as depth to the -2


def test_the_rules_in_closed_form() -> None:
    b, W = layer_rates(find_criticality("relu"), 8, 2.0, 3.0)
    assert b.tolist() == [0.25] * 8 and W.tolist() == [3 / 8] * 8
    b, W = layer_rates(find_criticality("tanh"), 8, 2.0, 3.0)
    torch.testing.assert_close(b, 2.0 / torch.arange(1, 9, dtype=torch.float64))
    torch.testing.assert_close(W, torch.full((8,), 3.0, dtype=torch.float64))


def test_parameters_are_grouped_with_their_rates() -> None:
    model = nn.Sequential(DeepMLP([5, 4, 4, 2], "relu"), nn.LayerNorm(2))
    groups = layer_lr(model, find_criticality("relu"), 0.3)
    rates = {name: group["lr"] for (name, _), group in zip(model.named_parameters(), groups, strict=True)}
    assert rates["0.layers.0.weight"] == pytest.approx(0.3 / 3 / 5) and rates["0.layers.2.weight"] == pytest.approx(0.3 / 3 / 4)
    assert rates["0.layers.1.bias"] == pytest.approx(0.1) and rates["1.weight"] == 0.3
    torch.optim.SGD(groups)
    scale = layer_scale(model, find_criticality("relu"))
    assert all(scale(name) == pytest.approx(rate / 0.3) for name, rate in rates.items())


def test_what_has_no_layers_or_no_fixed_point_is_refused() -> None:
    with pytest.raises(InputError, match="no linear or convolutional layer"):
        layer_lr(nn.LayerNorm(3), find_criticality("relu"), 0.1)
    with pytest.raises(InputError, match="no learning rates make its layers equal"):
        layer_rates(find_criticality("sigmoid"), 4)
    with pytest.raises(InputError, match="at least one layer"):
        layer_rates(find_criticality("relu"), 0)
    with pytest.raises(InputError, match="0 or more"):
        layer_rates(find_criticality("relu"), 3, -1.0)
