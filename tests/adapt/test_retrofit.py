from inspect import unwrap

import pytest
import torch

from ordinate.adapt.retrofit import retrofit
from ordinate.ground.errors import InputError
from ordinate.models.blurpool_resnet import BlurPoolResNet
from ordinate.models.mlp import MLP


def _trained(train: str, last: int = 1) -> set[str]:
    model = MLP(num_classes=3, image_size=4, hidden=[6, 5], num_features=8)
    retrofit(model, [2, 8], train, last)
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_as_much_as_asked_for_is_trained() -> None:
    head = {"head.weight", "head.bias"}
    last = {"body.4.weight", "body.4.bias"}
    middle = {"body.2.weight", "body.2.bias"}
    assert _trained("head") == head
    assert _trained("last") == head | last
    assert _trained("last", 2) == head | last | middle
    assert _trained("last", 3) == _trained("all") == head | last | middle | {"body.0.weight", "body.0.bias"}


def test_the_head_is_new_and_the_body_is_kept() -> None:
    model = MLP(num_classes=3, image_size=4, num_features=8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    objective = retrofit(model, [2, 8], "head", weights="8boost", label_smoothing=0.1)
    after = model.state_dict()
    assert torch.equal(before["body.0.weight"], after["body.0.weight"]) and not torch.equal(before["head.weight"], after["head.weight"])
    assert objective.dims == (2, 8) and objective.weights == {2: 2.0, 8: 1.0} and objective.label_smoothing == 0.1


def test_frozen_normalisation_keeps_its_statistics_and_the_trained_one_does_not() -> None:
    model = BlurPoolResNet(num_classes=3, layers=(1, 1, 1, 1), width=2)
    objective = retrofit(model, [8, 64], "last", 1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()
    loss = objective(model, {"image": torch.randn(4, 3, 32, 32), "label": torch.tensor([0, 1, 2, 0])})
    loss.backward()
    after = model.state_dict()
    assert torch.equal(before["bn1.running_mean"], after["bn1.running_mean"])
    # The last layer with weights is the shortcut's convolution, whose normalisation follows it.
    assert not torch.equal(before["layer4.0.downsample.1.running_mean"], after["layer4.0.downsample.1.running_mean"])
    assert model.conv1.weight.grad is None and model.layer4[0].downsample[0].conv.weight.grad is not None


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="unknown part to train"):
        unwrap(retrofit)(MLP(), [8, 64], "body")
    with pytest.raises(InputError, match="own width 64, not 128"):
        retrofit(MLP(), [8, 128])
    with pytest.raises(InputError, match="no head to renew"):
        retrofit(MLP(num_classes=0), [8, 64])
    with pytest.raises(InputError, match="2 layers with weights, not 3"):
        retrofit(MLP(), [8, 64], "last", 3)
