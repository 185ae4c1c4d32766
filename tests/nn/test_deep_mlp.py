import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.nn.deep_mlp import DeepMLP
from ordinate.nn.variance_init import fan_in, untouched, variance_init_, weight_layers


def test_layers_are_those_of_the_formula() -> None:
    model, x = DeepMLP([3, 4, 4, 2], "tanh", residual=0.5), torch.randn(5, 3)
    one = model.layers[0](x)
    two = model.layers[1](torch.tanh(one)) + 0.5 * one
    torch.testing.assert_close(model(x), model.layers[2](torch.tanh(two)))  # the width changes: no connection
    torch.testing.assert_close(DeepMLP([6, 2], "relu")(torch.ones(1, 1, 2, 3)).shape, torch.Size([1, 2]))


def test_shared_weights_are_one_layer() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    model[1].weight = model[0].weight
    assert [name for name, _ in weight_layers(model)] == ["0"] and fan_in(model[0]) == 3
    assert untouched(model) == ["1.bias", "2.weight", "2.bias"]


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="at least one layer"):
        DeepMLP([3], "tanh")
    with pytest.raises(InputError, match=r"\[0, 1\)"):
        DeepMLP([3, 3], "tanh", residual=-0.5)
    with pytest.raises(InputError, match="depends on the others"):
        DeepMLP([3, 3], torch.nn.Softmax(dim=-1))
    with pytest.raises(InputError, match="variances are finite"):
        variance_init_(torch.nn.Linear(2, 2), 0.0, -1.0)
