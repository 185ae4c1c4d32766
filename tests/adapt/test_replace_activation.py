import pytest
import torch
from torch import nn

from ordinate.adapt.replace_activation import from_relu, from_squared_relu, replace_activation
from ordinate.ground.errors import InputError
from ordinate.models.sequence import Sequence
from ordinate.nn.polynomial_activations import PolyNorm, PolyReLU


def model(activation: str) -> Sequence:
    return Sequence(vocabulary=7, dim=8, depth=2, heads=2, activation=activation).eval()


@pytest.mark.parametrize(("name", "change"), [("relu", from_relu), ("squared-relu", from_squared_relu)])
def test_a_relu_network_is_a_polynomial_one_and_learns_as_one(name: str, change: object) -> None:
    before, tokens = model(name), torch.randint(0, 7, (2, 9))
    after = change(before)
    assert torch.allclose(after(tokens), before(tokens), atol=1e-6)
    learnt = [module for module in after.modules() if isinstance(module, PolyReLU)]
    assert len(learnt) == 2
    assert len({id(module.coefficients) for module in learnt}) == 2
    after(tokens).square().sum().backward()
    assert all(module.coefficients.grad.abs().sum() > 0 for module in learnt)
    assert not any(isinstance(module, PolyReLU) for module in before.modules()), "the network that was given is left as it was"


def test_modules_and_names_are_replaced_everywhere() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Sequential(nn.Linear(6, 6), nn.ReLU()))
    x = torch.randn(3, 4)
    assert torch.allclose(from_relu(network)(x), network(x))
    changed = replace_activation(network, nn.ReLU, PolyNorm)
    assert sum(isinstance(module, PolyNorm) for module in changed.modules()) == 2
    assert sum(isinstance(module, PolyNorm) for module in replace_activation(model("gelu"), "gelu", "polynorm").modules()) == 2


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match="relu"):
        from_relu(model("gelu"))
    with pytest.raises(InputError, match="SELU"):
        replace_activation(model("gelu"), nn.SELU, PolyNorm)
    with pytest.raises(InputError, match="order"):
        from_squared_relu(model("squared-relu"), order=1)
    with pytest.raises(InputError, match="swoosh"):
        replace_activation(model("gelu"), "gelu", "swoosh")
