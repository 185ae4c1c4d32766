"""The contract of a vision encoder, over every registered one in its shape for small images: timm's verbs, saving and loading, half precision, gradients, and errors in one line."""

import inspect
from pathlib import Path

import pytest
import torch
from torch import nn

from ordinate.ground.errors import InputError
from ordinate.models.base import VisionEncoder
from ordinate.models.registry import list_models, load_model, model_class, published_arguments, save_model

SIDE, CHANNELS, CLASSES = 16, 2, 5
_WIDTH = 16


def _flavour(name: str) -> dict[str, object]:
    """What the published size says beyond its widths and depths, which `small` sets itself."""
    known = inspect.signature(model_class(name).small).parameters
    return {key: value for key, value in published_arguments(name).items() if key in known.keys() - {"image_size"}}


def _small(name: str, num_classes: int = CLASSES) -> VisionEncoder:
    family = model_class(name)
    assert issubclass(family, VisionEncoder)
    width = -(-_WIDTH // family.width_multiple) * family.width_multiple
    return family.small(width, image_size=SIDE, in_chans=CHANNELS, num_classes=num_classes, **_flavour(name))


def _declares_small(name: str) -> bool:
    family = model_class(name)
    return issubclass(family, VisionEncoder) and family.small.__func__ is not VisionEncoder.small.__func__


# Sizes of one flavour have one small shape: the shortest name stands for them.
NAMES = list(
    {
        (model_class(name), repr(_flavour(name))): name for name in sorted(list_models(), key=len, reverse=True) if _declares_small(name)
    }.values()
)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(name: str) -> VisionEncoder:
    return _small(name).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, CHANNELS, SIDE, SIDE)


def test_the_families_that_every_comparison_needs_are_there() -> None:
    assert {"hornet-tiny", "hornet-tiny-gf", "vit-tiny", "resnet", "swin-tiny"} <= {name for name in list_models() if _declares_small(name)}
    assert len(NAMES) >= 8


def test_forward_is_the_head_on_the_features(model: VisionEncoder, images: torch.Tensor) -> None:
    features = model.forward_features(images)
    assert model.num_features in features.shape[1:]
    assert torch.equal(model(images), model.forward_head(features))
    assert model(images).shape == (3, CLASSES)


def test_the_embedding_is_what_the_head_reads(model: VisionEncoder, images: torch.Tensor) -> None:
    embedding = model.embed(images)
    assert embedding.shape == (3, model.num_features)
    assert torch.equal(model.get_classifier()(embedding), model(images))


def test_without_classes_the_embedding_is_the_output(name: str, images: torch.Tensor) -> None:
    model = _small(name, num_classes=0)
    assert model.num_classes == 0
    assert torch.equal(model.eval()(images), model.embed(images))


def test_the_classifier_can_be_replaced(model: VisionEncoder, images: torch.Tensor) -> None:
    embedding = model.embed(images)
    model.reset_classifier(7)
    assert model.num_classes == 7 and model(images).shape == (3, 7)
    model.reset_classifier(0)
    assert torch.equal(model(images), embedding)
    with pytest.raises(InputError, match="must be 0"):
        model.reset_classifier(-1)


def test_images_do_not_see_each_other(model: VisionEncoder, images: torch.Tensor) -> None:
    torch.testing.assert_close(model(images)[1:2], model(images[1:2]), atol=1e-5, rtol=1e-4)


def test_every_parameter_gets_a_gradient(model: VisionEncoder, images: torch.Tensor) -> None:
    model.train()(images).square().sum().backward()
    without = [key for key, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.isfinite().all()]
    assert not without


def test_it_is_finite_in_bfloat16(model: VisionEncoder, images: torch.Tensor) -> None:
    logits = model.bfloat16()(images.bfloat16())
    assert logits.dtype == torch.bfloat16 and logits.isfinite().all()


def test_it_is_finite_under_autocast(model: VisionEncoder, images: torch.Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert model(images).isfinite().all()


def test_its_state_and_its_folder_bring_it_back(model: VisionEncoder, images: torch.Tensor, name: str, tmp_path: Path) -> None:
    twin = _small(name)
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin.eval()(images), model(images))
    save_model(model, tmp_path / "saved")
    assert torch.equal(load_model(tmp_path / "saved").eval()(images), model(images))


def test_two_calls_in_evaluation_give_the_same_bits(model: VisionEncoder, images: torch.Tensor) -> None:
    with torch.no_grad():
        assert torch.equal(model(images), model(images))


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (3, SIDE, SIDE, CHANNELS), (3, CHANNELS + 1, SIDE, SIDE), (CHANNELS, SIDE, SIDE)])
def test_images_of_another_layout_are_told(model: VisionEncoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=rf"takes images \(batch, {CHANNELS}, height, width\), channels first, not") as caught:
        (model.forward_features if len(shape) == 4 else model.check_images)(torch.zeros(shape))
    assert "\n" not in str(caught.value)


def test_images_of_one_pixel_are_taken_or_refused_in_one_line(model: VisionEncoder) -> None:
    try:
        assert model(torch.zeros(2, CHANNELS, 1, 1)).shape == (2, CLASSES)
    except InputError as error:
        assert "needs images of at least" in str(error) and "\n" not in str(error)


def test_a_head_is_linear_or_absent(model: VisionEncoder) -> None:
    assert isinstance(model.get_classifier(), nn.Linear | nn.Identity)
