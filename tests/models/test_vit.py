import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.models.registry import create_model
from ordinate.models.vit import VisionTransformer
from ordinate.nn.multiply_adds import count_parameters, on_meta


@pytest.mark.parametrize(("name", "parameters"), [("vit-tiny", 5_717_416), ("vit-small", 22_050_664), ("vit-base", 86_567_656)])
def test_published_sizes_have_the_published_parameters(name: str, parameters: int) -> None:
    assert count_parameters(on_meta(lambda: create_model(name))) == parameters


@pytest.mark.parametrize(("image_size", "patch"), [(224, 16), (384, 16), (64, 8), (32, 4), (28, 4), (8, 1)])
def test_small_images_take_small_patches(image_size: int, patch: int) -> None:
    assert on_meta(lambda: create_model("vit-tiny", image_size=image_size)).patch == patch


@pytest.mark.parametrize(("pooling", "tokens"), [("token", 65), ("mean", 64)])
def test_the_head_reads_the_class_token_or_the_mean(pooling: str, tokens: int) -> None:
    model = VisionTransformer.small(8, image_size=32, in_chans=3, num_classes=5, pooling=pooling).eval()
    features = model.forward_features(torch.randn(2, 3, 32, 32))
    assert features.shape == (2, tokens, 8)
    assert torch.equal(model.pool(features), features[:, 0] if pooling == "token" else features.mean(1))


def test_positions_are_resized_over_the_grid() -> None:
    model = VisionTransformer.small(8, image_size=32, in_chans=3, num_classes=5).eval()
    assert model(torch.randn(1, 3, 40, 24)).shape == (1, 5)
    with torch.no_grad():
        model.positions[1:] = 3.0
    resized = model._resized(model.positions, 10, 6)
    assert resized.shape == (61, 8) and torch.equal(resized[0], model.positions[0])
    torch.testing.assert_close(resized[1:], torch.full((60, 8), 3.0))


def test_patches_have_places() -> None:
    model, x = VisionTransformer.small(8, image_size=32, in_chans=3, num_classes=5).eval(), torch.randn(1, 3, 32, 32)
    assert not torch.allclose(model(x), model(x.roll(4, 2)), atol=1e-4)
    with torch.no_grad():
        model.positions.zero_()
    torch.testing.assert_close(model(x), model(x.roll(4, 2)), atol=1e-5, rtol=1e-4)


def test_a_mixer_may_bring_positions_of_its_own() -> None:
    arguments = {"height": 8, "width": 8, "class_token": True}
    shape = {"dim": 8, "depth": 2, "heads": 2, "in_chans": 3, "num_classes": 5, "image_size": 32, "patch": 4, "init_std": None}
    model = VisionTransformer(mixer="nprf-2d", mixer_arguments=arguments, positions=False, **shape).eval()
    assert "positions" not in model.state_dict()
    x = torch.randn(1, 3, 32, 32)
    assert not torch.allclose(model(x), model(x.roll(4, 2)), atol=1e-5)
    bare = VisionTransformer(mixer="softmax", positions=False, **shape).eval()
    torch.testing.assert_close(bare(x), bare(x.roll(4, 2)), atol=1e-5, rtol=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be divided among 3 heads"):
        VisionTransformer(dim=8, heads=3)
    with pytest.raises(InputError, match="unknown pooling 'max'"):
        VisionTransformer(dim=8, heads=2, pooling="max")
    with pytest.raises(InputError, match="unknown mixer 'softmix'"):
        VisionTransformer(dim=8, heads=2, mixer="softmix")
    with pytest.raises(InputError, match="hold no patch of 16x16"):
        VisionTransformer(dim=8, heads=2, image_size=8, patch=16)
