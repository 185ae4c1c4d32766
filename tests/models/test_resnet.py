import pytest
import torch
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.models.registry import create_model
from ordinate.models.resnet import ResNet
from ordinate.nn.multiply_adds import count_parameters, on_meta


@pytest.mark.parametrize(("name", "parameters"), [("resnet", 11_689_512), ("resnet-34", 21_797_672), ("resnet-50", 25_557_032)])
def test_published_sizes_have_the_published_parameters(name: str, parameters: int) -> None:
    assert count_parameters(on_meta(lambda: create_model(name))) == parameters


@pytest.mark.parametrize(("image_size", "first", "last"), [(224, 56, 7), (64, 64, 8), (32, 32, 4), (8, 8, 1)])
def test_small_images_are_read_at_full_resolution(image_size: int, first: int, last: int) -> None:
    maps = ResNet(widths=4, depths=(1, 1, 1, 1), image_size=image_size).eval().feature_maps(torch.randn(1, 3, image_size, image_size))
    assert maps[0].shape == (1, 4, first, first) and maps[-1].shape == (1, 32, last, last)


def test_a_block_adds_to_its_shortcut() -> None:
    model, x = ResNet.small(4, image_size=32, in_chans=3, num_classes=5).eval(), torch.randn(2, 4, 6, 6)
    block = model.stages[0][0]
    first, second = block.convolutions
    torch.testing.assert_close(block(x), F.relu(x + second(F.relu(first(x)))))


def test_bottlenecks_are_four_times_as_wide_outside() -> None:
    model = ResNet(widths=4, depths=(1, 2), block="bottleneck", image_size=32, num_classes=0)
    assert model.num_features == 32 and model(torch.randn(1, 3, 32, 32)).shape == (1, 32)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="one width and one depth a stage"):
        ResNet(widths=(4, 8), depths=(1, 1, 1))
    with pytest.raises(InputError, match="unknown block 'wide'"):
        ResNet(block="wide")
