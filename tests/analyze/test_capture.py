import pytest
import torch
from torch import Tensor, nn

from ordinate.analyze.capture import Activations, collect, named_module, replaced
from ordinate.ground.errors import InputError


class Recurrent(nn.Module):
    """A module that returns more than a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0])


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))


def test_activations_are_what_the_modules_compute_and_inputs_are_what_they_are_given():
    model, x = network(), torch.randn(4, 3)
    with Activations(model, ["0", "2:input", "2"]) as seen:
        y = model(x)
    assert torch.equal(seen["0"], model[0](x))
    assert torch.equal(seen["2:input"], model[0](x).relu())
    assert torch.equal(seen["2"], y)
    assert not seen["0"].requires_grad


def test_activations_can_keep_their_graph():
    model, x = network(), torch.randn(4, 3)
    with Activations(model, ["0"], gradients=True) as seen:
        y = model(x)
    (gradient,) = torch.autograd.grad(y.sum(), seen["0"])
    assert gradient.abs().sum() > 0


def test_hooks_are_gone_afterwards_even_after_an_error():
    model, x = network(), torch.randn(4, 3)
    before = model(x)
    with pytest.raises(RuntimeError), Activations(model, ["0"]), replaced(model, {"1": torch.zeros_like}):
        model(torch.randn(4, 7))
    assert torch.equal(model(x), before)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())


def test_the_first_tensor_of_several_is_taken_and_replaced():
    model, x = Recurrent(), torch.randn(2, 6, 3)
    with Activations(model, ["lstm"]) as seen, replaced(model, {"lstm": lambda a: a * 0}):
        y = model(x)
    assert seen["lstm"].shape == (2, 6, 4)
    assert torch.equal(y, model.out.bias.expand(2, 6, 2))


def test_replacing_by_itself_changes_nothing_and_at_the_input_is_as_at_the_output_before():
    model, x = network(), torch.randn(4, 3)
    with replaced(model, {"1": lambda a: a}):
        assert torch.equal(model(x), model(x))
    with replaced(model, {"2:input": lambda a: a + 1}):
        at_input = model(x)
    with replaced(model, {"1": lambda a: a + 1}):
        assert torch.equal(model(x), at_input)


def test_collecting_batches_is_one_pass_over_all_of_them():
    model, x = network(), torch.randn(10, 3)
    parts = collect(model, ["1"], x.split(3), reduce=lambda a: a.mean(1, keepdim=True))
    assert torch.allclose(parts["1"], model[0](x).relu().mean(1, keepdim=True))


def test_errors_say_what_to_do():
    model, x = network(), torch.randn(4, 3)
    with pytest.raises(InputError, match=r"no module 'heads'; there is 0, 1, 2"):
        Activations(model, ["heads"])
    with Activations(model, ["0"]) as seen, pytest.raises(InputError, match="has not run yet"):
        seen["0"]
    with replaced(model, {"0": lambda a: a[:2]}), pytest.raises(InputError, match=r"must keep its shape \(4, 5\), not \(2, 5\)"):
        model(x)
    with pytest.raises(InputError, match="no batch"):
        collect(model, ["0"], [])
    assert named_module(model, "1:input") == (model[1], True)
