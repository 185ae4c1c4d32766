import pytest
import torch
from torch import nn

from ordinate.ground.errors import InputError
from ordinate.models.concatenated import Concat
from ordinate.models.encoding import Classifier
from ordinate.models.registry import load_official
from ordinate.models.swav_resnet import SwavResNet


def _network(classes: int = 0, small: bool = True, width: int = 8) -> SwavResNet:
    return SwavResNet(classes, (1, 2, 1, 1), width, 64, small).eval()


def _official(network: nn.Module, prefix: str, head: str = "") -> dict[str, torch.Tensor]:
    return {
        f"{prefix}{key.replace('head.', head) if key.startswith('head.') else key}": tensor for key, tensor in network.state_dict().items()
    }


@pytest.mark.parametrize("head", ["fc.", "classifier.", "classifier.linear."])
@pytest.mark.parametrize("small", [True, False])
def test_a_released_network_is_read_with_its_head(head: str, small: bool) -> None:
    network, x = _network(3, small), torch.randn(2, 3, 40, 40)
    loaded = load_official("rich-resnet", {"state_dict": _official(network, "module.", head)}).eval()
    assert torch.equal(loaded(x), network(x)) and torch.equal(loaded.embed(x), network.embed(x))


def test_a_network_by_its_number_is_read_without_a_head() -> None:
    network, x = _network(width=16), torch.randn(2, 3, 12, 12)
    loaded = load_official("rich-resnet", _official(network, "module.model0.")).eval()
    assert loaded.num_classes == 0 and torch.equal(loaded(x), network(x))


@pytest.mark.parametrize("twice", [False, True])
def test_networks_side_by_side_are_read_with_their_probe(twice: bool) -> None:
    networks, x = [_network(width=width) for width in (8, 16)], torch.randn(2, 3, 12, 12)
    state = {key: t for i, network in enumerate(networks) for key, t in _official(network, f"model{i}.").items()}
    if twice:
        state |= {key: t for i, network in enumerate(networks) for key, t in _official(network, f"net.models.{i}.").items()}
    bare = load_official("rich-concat", state).eval()
    assert isinstance(bare, Concat) and torch.equal(bare(x), torch.cat([network(x) for network in networks], dim=1))
    linear, bn = nn.Linear(768, 5), nn.BatchNorm1d(768).eval()
    state |= {f"classifier.linear.{key}": t for key, t in linear.state_dict().items()}
    state |= {f"classifier.bn.{key}": t for key, t in bn.state_dict().items()}
    probed = load_official("rich-concat", state).eval()
    assert isinstance(probed, Classifier)
    torch.testing.assert_close(probed(x), linear(bn(bare(x))))


def test_a_widened_network_has_its_channels_everywhere() -> None:
    network = SwavResNet(0, (1, 1, 1, 1), 128)
    assert network.layer1[0].conv2.weight.shape[:2] == (128, 128) and network.num_features == 4096


def test_what_does_not_fit_is_one_line() -> None:
    several = {key: t for i in range(2) for key, t in _official(_network(), f"model{i}.").items()}
    with pytest.raises(InputError, match="read it as rich-concat"):
        load_official("rich-resnet", several)
    with pytest.raises(InputError, match=r"layer9\.weight"):
        load_official("rich-resnet", {**_official(_network(), ""), "layer9.weight": torch.zeros(1)})
    with pytest.raises(InputError, match=r"conv1\.weight"):
        load_official("rich-resnet", {"weight": torch.zeros(2, 2)})
    with pytest.raises(InputError, match="four stages"):
        SwavResNet(layers=(1, 1))
    with pytest.raises(InputError, match="channels first"):
        _network()(torch.zeros(1, 1, 8, 8))
