import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.nn.patches import Downsample, PatchEmbed, patch_for


def test_a_patch_is_mapped_linearly() -> None:
    embed, x = PatchEmbed(3, 5, 4), torch.randn(2, 3, 8, 13)
    y = embed(x)
    assert y.shape == (2, 5, 2, 3)
    expected = torch.einsum("bchw,dchw->bd", x[:, :, 4:8, 8:12], embed.proj.weight) + embed.proj.bias
    torch.testing.assert_close(y[:, :, 1, 2], expected)


def test_a_map_is_halved() -> None:
    assert Downsample(4, 6)(torch.randn(2, 4, 5, 8)).shape == (2, 6, 2, 4)


@pytest.mark.parametrize(("image_size", "patch"), [(384, 4), (224, 4), (64, 4), (63, 2), (32, 2), (28, 1), (16, 1), (8, 1)])
def test_small_images_take_small_patches(image_size: int, patch: int) -> None:
    assert patch_for(image_size, largest=4, stride=8) == patch


def test_images_that_leave_no_map_are_refused() -> None:
    with pytest.raises(InputError, match="7x7 pixels are too small"):
        patch_for(7, largest=4, stride=8)
