import warnings

import pytest
import torch
from torch import nn

from ordinate.analyze.critical_init import critical_init_, first_variance
from ordinate.analyze.criticality import find_criticality
from ordinate.analyze.empirical import layer_outputs
from ordinate.ground.errors import InputError
from ordinate.nn.deep_mlp import DeepMLP


@pytest.mark.parametrize("name", ["gelu", "relu", "silu", "tanh"])
def test_signals_of_a_wide_network_stay_where_they_should(name: str) -> None:
    report = find_criticality(name)
    x = 0.3 * torch.randn(8, 64)
    model = critical_init_(DeepMLP([64, *[1024] * 6], name), name, batch=x)
    sizes = [float(z.square().mean()) for z in layer_outputs(model, x)]
    if report.K_star:
        assert sizes == pytest.approx([report.K_star] * 6, rel=0.25)
    elif report.kind == "scale_invariant":
        assert sizes == pytest.approx([sizes[0]] * 6, rel=0.25)
    else:
        assert sizes[0] == pytest.approx(0.09, rel=0.25) and sizes == sorted(sizes, reverse=True)


def test_variances_are_those_of_every_layer_s_own_inputs() -> None:
    model = nn.Sequential(nn.Conv2d(8, 64, 3), nn.GELU(), nn.Conv2d(64, 128, 3), nn.GELU(), nn.Flatten(), nn.Linear(128 * 16, 300))
    report = find_criticality("gelu")
    critical_init_(model, nn.GELU(), last_C_W=0.5)
    for index, fan, C_W in ((0, 72, report.K_star - report.C_b), (2, 576, report.C_W), (5, 2048, 0.5)):
        assert float(model[index].weight.var()) * fan == pytest.approx(C_W, rel=0.06)
    assert float(model[5].bias.var()) == pytest.approx(report.C_b, rel=0.3)


def test_norms_are_left_alone_and_named() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2))
    nn.init.constant_(model[1].weight, 3.0)
    with pytest.warns(UserWarning, match=r"outside the theory: 1\.weight, 1\.bias"):
        critical_init_(model, "tanh")
    assert (model[1].weight == 3.0).all() and not model[0].bias.any()


def test_residual_connections_take_their_share() -> None:
    wide = DeepMLP([512, 512, 512], "tanh", residual=0.8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        critical_init_(wide, "tanh", residual=0.8)
    assert float(wide.layers[1].weight.var()) * 512 == pytest.approx(1 - 0.64, rel=0.03)


def test_the_variances_may_be_given_and_the_draw_seeded() -> None:
    one, other = (
        critical_init_(DeepMLP([6, 5, 4], "silu"), "silu", C_b=0.0, C_W=2.0, generator=torch.Generator().manual_seed(3)) for _ in "ab"
    )
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not one.layers[0].bias.any()


def test_what_cannot_be_made_critical_is_said() -> None:
    with pytest.warns(UserWarning, match="softplus cannot be made critical"):
        critical_init_(DeepMLP([4, 4], "softplus"), "softplus")
    with pytest.warns(UserWarning), pytest.raises(InputError, match="with a residual connection or without"):
        critical_init_(DeepMLP([4, 4], "softplus"), "softplus", residual=0.5)
    with pytest.raises(InputError, match="no linear or convolutional layer"):
        critical_init_(nn.Tanh(), "tanh")
    with pytest.raises(InputError, match="variances are finite"):
        critical_init_(DeepMLP([4, 4], "tanh"), "tanh", C_b=-1.0)
    with pytest.raises(InputError, match="mean square must be positive"):
        first_variance(find_criticality("gelu"), 0.0)
    with pytest.raises(InputError, match=r"\[0, 1\)"):
        critical_init_(DeepMLP([4, 4], "tanh"), "tanh", residual=1.0)
