"""An encoder brought to another width, and the released networks that are read into it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.models.projected import Projected
from ordinate.models.registry import create_model, load_model, load_official, save_model


def _small(**overrides: object) -> Projected:
    model = create_model(
        "projected", encoder="mlp", num_features=6, image_size=4, in_chans=1, arguments={"hidden": [5], "num_features": 3}, **overrides
    )
    assert isinstance(model, Projected)
    return model.eval()


def test_the_embedding_is_a_linear_map_of_the_encoder_s() -> None:
    model, images = _small(num_classes=4), torch.randn(2, 1, 4, 4)
    torch.testing.assert_close(model.embed(images), model.encoder.embed(images) @ model.junction.weight.t())
    assert model.num_features == 6 and model(images).shape == (2, 4) and model.junction.bias is None
    assert _small(num_classes=0)(images).shape == (2, 6)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    model, images = _small(), torch.randn(2, 1, 4, 4)
    save_model(model, tmp_path / "model")
    assert torch.equal(load_model(tmp_path / "model").eval()(images), model(images))


def _released() -> dict[str, Tensor]:
    """The keys and shapes of a released network."""
    found: dict[str, Tensor] = {"fc1.weight": torch.randn(7, 512), "fc2.weight": torch.randn(8, 7)}

    def convolution(conv: str, norm: str, shape: tuple[int, ...]) -> None:
        found[f"{conv}.weight"] = 0.05 * torch.randn(shape)
        found.update({f"{norm}.{part}": torch.rand(shape[0]) + 0.5 for part in ("weight", "bias", "running_mean", "running_var")})
        found[f"{norm}.num_batches_tracked"] = torch.tensor(3)

    convolution("backbone.conv1", "backbone.bn1", (64, 3, 7, 7))
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            place = f"backbone.layer{stage}.{'blocks.' if stage == 2 else ''}{block}"
            convolution(f"{place}.conv1", f"{place}.bn1", (width, before, 3, 3))
            convolution(f"{place}.conv2", f"{place}.bn2", (width, width, 3, 3))
            if before != width:
                convolution(f"{place}.downsample.0", f"{place}.downsample.1", (width, before, 1, 1))
            before = width
    return found


def test_a_released_network_is_read() -> None:
    state = _released()
    model = load_official("stationary-resnet18", {"net": state}).eval()
    assert isinstance(model, Projected) and model.num_features == 7 and model.num_classes == 0
    assert torch.equal(model.encoder.stem[0][0].weight, state["backbone.conv1.weight"])
    assert torch.equal(model.encoder.stages[1][0].shortcut[1].running_var, state["backbone.layer2.blocks.0.downsample.1.running_var"])
    assert model.embed(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    del state["backbone.layer4.1.conv2.weight"]
    with pytest.raises(InputError, match="missing"):
        load_official("stationary-resnet18", state)


def test_what_does_not_fit_is_one_line() -> None:
    with pytest.raises(InputError, match="at least one feature"):
        Projected("mlp", 0)
    with pytest.raises(InputError, match="not an image network"):
        Projected("pointer")
    with pytest.raises(InputError, match="unknown model"):
        Projected("resnot")
