import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.models.base import VisionEncoder
from ordinate.models.budget import TOLERANCE, sized
from ordinate.models.registry import list_models, model_class
from ordinate.nn.global_filter import GlobalLocalFilter
from ordinate.nn.multiply_adds import count_parameters

# Families that declare no shape for small images are told so by name; every other one meets every budget.
NAMES = [name for name in list_models() if issubclass(model_class(name), VisionEncoder) and "small" in vars(model_class(name))]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("parameters", "image_size", "in_chans"), [(40_000, 32, 3), (200_000, 28, 1), (100_000, 8, 1)])
def test_every_family_meets_the_budget(name: str, parameters: int, image_size: int, in_chans: int) -> None:
    model = sized(name, parameters, image_size=image_size, in_chans=in_chans, num_classes=7)
    assert abs(count_parameters(model) / parameters - 1) < TOLERANCE
    assert isinstance(model, model_class(name)) and not next(model.parameters()).is_meta
    assert model.eval()(torch.zeros(1, in_chans, image_size, image_size)).shape == (1, 7)


def test_the_flavour_of_a_published_size_is_kept() -> None:
    model = sized("hornet-tiny-gf", 100_000, image_size=32, in_chans=3, num_classes=10)
    assert any(isinstance(module, GlobalLocalFilter) for module in model.modules())
    plain = sized("hornet-tiny", 100_000, image_size=32, in_chans=3, num_classes=10, spatial="depthwise")
    assert plain.arguments["spatial"] == "depthwise"


def test_counting_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    model = sized("hornet-tiny", 100_000, image_size=32, in_chans=3, num_classes=10)
    torch.manual_seed(3)
    again = type(model)(**model.arguments)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_what_cannot_be_met_is_refused() -> None:
    shape = {"image_size": 32, "in_chans": 3, "num_classes": 10}
    with pytest.raises(InputError, match=r"cannot be brought to 500 parameters at 32 pixels: its nearest shape is \d+% off"):
        sized("hornet-tiny", 500, **shape)
    with pytest.raises(InputError, match="has no option attention"):
        sized("hornet-tiny", 100_000, **shape, attention=True)
    with pytest.raises(InputError, match="not an image network"):
        sized("upernet", 100_000, **shape)
    with pytest.raises(InputError, match="7x7 pixels are too small"):
        sized("hornet-tiny", 100_000, image_size=7, in_chans=3, num_classes=10)
