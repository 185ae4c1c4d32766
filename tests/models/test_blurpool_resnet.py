import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.blurpool_resnet import BlurPoolConv, BlurPoolResNet, official_settings
from ordinate.models.registry import create_model, load_official
from ordinate.nn.nested_head import FixedFeatureHead, MatryoshkaHead

TINY = {"num_classes": 5, "layers": [1, 1, 1, 1], "width": 8}


def _official_keys(layers: tuple[int, ...] = (3, 4, 6, 3)) -> set[str]:
    """The keys of torchvision's ResNet50 with blurred strided convolutions, without its head."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    keys = {"conv1.weight", *(f"bn1.{name}" for name in norm)}
    for stage, blocks in enumerate(layers, start=1):
        for block in range(blocks):
            prefix, strided = f"layer{stage}.{block}", stage > 1 and block == 0
            keys |= {f"{prefix}.bn{number}.{name}" for number in (1, 2, 3) for name in norm}
            keys |= {f"{prefix}.conv1.weight", f"{prefix}.conv3.weight"}
            keys |= {f"{prefix}.conv2.conv.weight", f"{prefix}.conv2.blur_filter"} if strided else {f"{prefix}.conv2.weight"}
            if block == 0:
                keys |= {f"{prefix}.downsample.1.{name}" for name in norm}
                keys |= (
                    {f"{prefix}.downsample.0.conv.weight", f"{prefix}.downsample.0.blur_filter"}
                    if strided
                    else {f"{prefix}.downsample.0.weight"}
                )
    return keys


def _as_released(model: BlurPoolResNet, generation: str) -> dict[str, Tensor]:
    """The state as the official files hold it: under DDP's prefix, with the head called fc."""
    state = {}
    for key, tensor in model.state_dict().items():
        if key.startswith("head.classifiers."):
            _, _, number, name = key.split(".")
            key = f"fc.{name}" if generation == "tied of old" else f"fc.nesting_classifier_{number}.{name}"
        elif key.startswith("head."):
            key = key.replace("head.", "fc.")
        state[f"module.{key}"] = tensor
    return state


def test_the_resnet50_has_the_official_keys_and_number_of_parameters() -> None:
    with torch.device("meta"):
        model = create_model("resnet50-blurpool")
    assert {key for key in model.state_dict() if not key.startswith("head.")} == _official_keys()
    assert sum(parameter.numel() for parameter in model.parameters()) == 25_557_032
    assert model.num_features == 2048


def test_the_blur_is_the_binomial_filter_before_the_convolution() -> None:
    conv = nn.Conv2d(16, 4, 3, 2, padding=1, bias=False)
    x = torch.randn(2, 16, 8, 8)
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    blurred = torch.cat([F.conv2d(x[:, channel : channel + 1], kernel[None, None], padding=1) for channel in range(16)], dim=1)
    torch.testing.assert_close(BlurPoolConv(conv)(x), conv(blurred), atol=1e-5, rtol=1e-5)


def test_only_strided_convolutions_of_16_channels_or_more_are_blurred() -> None:
    model = BlurPoolResNet(**TINY)
    blurred = {name for name, module in model.named_modules() if isinstance(module, BlurPoolConv)}
    assert blurred == {f"layer{stage}.0.{part}" for stage in (2, 3, 4) for part in ("conv2", "downsample.0")}
    narrow = BlurPoolResNet(num_classes=5, layers=[1, 1, 1, 1], width=4)
    blurred = {name for name, module in narrow.named_modules() if isinstance(module, BlurPoolConv)}
    assert blurred == {"layer2.0.downsample.0", "layer3.0.conv2", "layer3.0.downsample.0", "layer4.0.conv2", "layer4.0.downsample.0"}
    assert not any(isinstance(module, BlurPoolConv) for module in BlurPoolResNet(**TINY, blur=False).modules())


def test_shapes_and_timms_verbs() -> None:
    model, x = BlurPoolResNet(**TINY).eval(), torch.randn(2, 3, 64, 64)
    features = model.forward_features(x)
    assert features.shape == (2, 256, 2, 2) and model.embed(x).shape == (2, 256)
    assert torch.equal(model(x), model.forward_head(features))
    torch.testing.assert_close(model.embed(x), features.mean((2, 3)))


@pytest.mark.parametrize("tied", [False, True])
def test_a_nested_head_gives_every_size_and_the_full_one_as_the_output(tied: bool) -> None:
    model, x = BlurPoolResNet(**TINY, dims=[8, 32, 256], tied=tied).eval(), torch.randn(2, 3, 32, 32)
    assert isinstance(model.head, MatryoshkaHead) and model.head.tied == tied
    logits = model.nested_logits(x)
    assert logits.shape == (3, 2, 5)
    torch.testing.assert_close(logits[-1], model(x), atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match="not nested"):
        BlurPoolResNet(**TINY).nested_logits(x)


@pytest.mark.parametrize(
    ("head", "generation", "name"),
    [
        ({}, "plain", "r50_mrl0_e0_ff2048.pt"),
        ({"fixed_feature": 16}, "plain", "r50_mrl0_e0_ff16.pt"),
        ({"dims": [8, 16, 32, 64, 128, 256]}, "new", "r50_mrl1_e0_ff2048.pt"),
        ({"dims": [8, 16, 32, 64, 128, 256], "tied": True}, "new", "r50_mrl1_e1_ff2048.pt"),
        ({"dims": [8, 16, 32, 64, 128, 256], "tied": True}, "tied of old", "r50_mrl1_e1_ff2048.pt"),
    ],
)
def test_released_checkpoints_of_both_generations_are_read(head: dict[str, object], generation: str, name: str) -> None:
    model = BlurPoolResNet(**TINY, **head).eval()
    for module in model.modules():  # statistics that a checkpoint would lose if they were not read
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
    read = load_official("matryoshka-resnet50", _as_released(model, generation), **official_settings(name)).eval()
    x = torch.randn(2, 3, 32, 32)
    assert type(read.head) is type(model.head) and torch.equal(read(x), model(x))
    if isinstance(model.head, MatryoshkaHead):
        assert torch.equal(read.nested_logits(x), model.nested_logits(x))
    if isinstance(model.head, FixedFeatureHead):
        assert read.head.in_features == 16


def test_a_checkpoint_that_does_not_fit_says_what_is_wrong() -> None:
    state = _as_released(BlurPoolResNet(**TINY), "plain")
    del state["module.layer2.0.conv2.blur_filter"]
    with pytest.raises(InputError, match=r"missing: layer2.0.conv2.blur_filter"):
        load_official("matryoshka-resnet50", state)
    with pytest.raises(InputError, match="not named"):
        official_settings("resnet50.pt")
    with pytest.raises(InputError, match="checkpoint of another model"):
        load_official("matryoshka-resnet50", {"fc.weight": torch.zeros(2, 3), "fc.bias": torch.zeros(2)})


@pytest.mark.parametrize(
    ("options", "message"),
    [({"layers": [1, 1, 1]}, "four stages"), ({"dims": [8, 16]}, "own width 256"), ({"dims": [8, 256], "fixed_feature": 8}, "not both")],
)
def test_wrong_arguments_are_one_clear_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BlurPoolResNet(**{**TINY, **options})
