import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.models.registry import create_model
from ordinate.models.swin import SwinTransformer
from ordinate.nn.multiply_adds import count_parameters, on_meta
from ordinate.nn.windows import WindowAttention


def windows(model: torch.nn.Module) -> list[tuple[int, int]]:
    return [(module.window, module.shift) for module in model.modules() if isinstance(module, WindowAttention)]


@pytest.mark.parametrize(("name", "parameters"), [("swin-tiny", 28_288_354), ("swin-small", 49_606_258), ("swin-base", 87_768_224)])
def test_published_sizes_have_the_published_parameters(name: str, parameters: int) -> None:
    assert count_parameters(on_meta(lambda: create_model(name))) == parameters


def test_windows_and_shifts_are_the_published_ones() -> None:
    assert windows(on_meta(lambda: create_model("swin-tiny"))) == [(7, 0), (7, 3)] * 6
    assert set(windows(on_meta(lambda: create_model("swin-tiny", image_size=384)))) == {(12, 0), (12, 6)}


def test_small_images_take_small_patches_and_windows() -> None:
    model = SwinTransformer.small(4, image_size=32, in_chans=3, num_classes=5)
    assert model.patch == 2 and windows(model) == [(4, 0), (4, 2), (4, 0), (4, 2), (4, 0), (4, 2), (2, 0)]


def test_stage_maps_are_those_of_a_pyramid() -> None:
    model = SwinTransformer.small(4, image_size=32, in_chans=3, num_classes=5)
    shapes = [tuple(level.shape) for level in model.feature_maps(torch.randn(2, 3, 32, 44))]
    assert shapes == [(2, 4, 16, 22), (2, 8, 8, 11), (2, 16, 4, 6), (2, 32, 2, 3)]
    assert model.feature_widths == [4, 8, 16, 32]


def test_merging_keeps_every_pixel() -> None:
    model = SwinTransformer.small(4, image_size=32, in_chans=3, num_classes=5).eval()
    x = torch.randn(1, 3, 5, 4, requires_grad=True)
    merged = model.merges[0](x.permute(0, 2, 3, 1).repeat(1, 1, 1, 2)[..., :4])
    assert merged.shape == (1, 3, 2, 8)
    (grad,) = torch.autograd.grad(merged.square().sum(), x)
    assert (grad.abs().sum(1) > 0).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="one width, depth and number of heads a stage"):
        SwinTransformer(depths=(2, 2))
    with pytest.raises(InputError, match="cannot be divided among 5 heads"):
        SwinTransformer(widths=8, depths=(1,), heads=(5,))
    with pytest.raises(InputError, match="needs images of at least 4x4"), torch.device("meta"):
        SwinTransformer(widths=6, depths=(1,), heads=(1,))(torch.empty(1, 3, 3, 9))
