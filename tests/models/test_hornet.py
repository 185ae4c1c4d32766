import re

import pytest
import torch
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.features import FeatureMaps
from ordinate.models.horfpn import HorFPN
from ordinate.models.hornet import HorNet, HorNetIsotropic
from ordinate.models.registry import create_model, load_model, load_official, save_model
from ordinate.models.upernet import UPerHead
from ordinate.nn.global_filter import GlobalLocalFilter
from ordinate.nn.gnconv import GnConv
from ordinate.nn.multiply_adds import count_multiply_adds, count_parameters, on_meta
from ordinate.objectives.classification import Classification
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe

GF = ("dw", "dw", "gf", "gf")


def randomised(model: nn.Module) -> nn.Module:
    """Every parameter drawn, so that no branch is trivial: a layer scale of 1e-6 would hide anything."""
    for name, parameter in model.named_parameters():
        if "gamma" in name or (parameter.ndim == 1 and name.endswith("weight")):
            nn.init.normal_(parameter, 1, 0.1)
        elif parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.1)
        else:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model.eval()


def small(width: int = 8, **options: object) -> HorNet:
    return randomised(HorNet.small(width, image_size=32, in_chans=3, num_classes=5, **options))


@pytest.mark.parametrize(
    ("name", "parameters", "gigas"),
    [
        ("hornet-tiny", 22_409_512, 4.0),
        ("hornet-tiny-gf", 22_991_848, 3.9),
        ("hornet-small", 49_528_264, 8.8),
        ("hornet-small-gf", 50_401_768, 8.7),
        ("hornet-base", 87_256_680, 15.6),
        ("hornet-base-gf", 88_421_352, 15.5),
        ("hornet-base-gf-384", 92_099_560, None),
        ("hornet-large", 194_542_504, 34.8),
        ("hornet-large-gf", 196_289_512, 34.7),
        ("hornet-large-gf-384", 201_806_824, 101.8),
    ],
)
def test_published_sizes_have_the_published_parameters_and_cost(name: str, parameters: int, gigas: float | None) -> None:
    model = on_meta(lambda: create_model(name))
    assert count_parameters(model) == parameters
    if gigas:
        side = model.arguments["image_size"]
        count = count_multiply_adds(model, torch.empty(1, 3, side, side, device="meta"))
        assert count / 1e9 == pytest.approx(gigas, abs=0.1)  # the published ones leave a transform's cost open


def test_filters_have_the_published_sizes() -> None:
    def filters(name: str) -> set[tuple[int, ...]]:
        model = on_meta(lambda: create_model(name))
        return {tuple(module.spectrum.shape[1:3]) for module in model.modules() if isinstance(module, GlobalLocalFilter)}

    assert filters("hornet-tiny-gf") == {(14, 8), (7, 4)}
    assert filters("hornet-base-gf-384") == {(24, 13), (12, 7)}
    assert filters("hornet-isotropic-gf") == {(14, 8)}


def test_orders_and_scales_are_the_published_ones() -> None:
    model = on_meta(lambda: create_model("hornet-tiny", drop_path_rate=0.2))
    convolutions = [[block.spatial for block in stage] for stage in model.stages]
    assert [{conv.order for conv in stage} for stage in convolutions] == [{2}, {3}, {4}, {5}]
    assert {conv.scale for stage in convolutions for conv in stage} == {1 / 3}
    rates = [block.drop_path.rate for stage in model.stages for block in stage]
    assert rates == pytest.approx([0.2 * index / 24 for index in range(25)])


def test_weights_start_small_and_blocks_near_the_identity() -> None:
    model = HorNet(widths=16, depths=(1, 1, 1, 1), image_size=32, num_classes=5).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert 0.01 < module.weight.std().item() < 0.03
            assert module.bias is None or not module.bias.any()
    x = torch.randn(2, 16, 16, 16)
    assert (model.stages[0](x) - x).abs().max().item() < 1e-4


def test_the_heads_first_weights_are_scaled() -> None:
    model = HorNet(widths=8, depths=(1,), orders=(1,), mixers=("dw",), head_init_scale=0.001)
    assert 0 < model.head.weight.std().item() < 1e-4


@pytest.mark.parametrize("mixers", [("dw",) * 4, GF])
def test_folding_keeps_the_function_and_survives_saving(mixers: tuple[str, ...], tmp_path) -> None:
    model, x = small(mixers=mixers), torch.randn(2, 3, 32, 32)
    folded = model.fold()
    assert not any(hasattr(block, "gamma1") and block.gamma1 is not None for block in folded.modules())
    assert all(module.scale == 1 for module in folded.modules() if isinstance(module, GnConv))
    with torch.no_grad():
        torch.testing.assert_close(folded(x), model(x), atol=1e-5, rtol=1e-4)
        save_model(folded, tmp_path / "folded")
        assert torch.equal(load_model(tmp_path / "folded").eval()(x), folded(x))
    with pytest.raises(InputError, match="only blocks of GnConv"):
        small(spatial="depthwise").fold()


@pytest.mark.parametrize("mixers", [("dw",) * 4, GF])
def test_two_calls_in_evaluation_give_the_same_bits(mixers: tuple[str, ...]) -> None:
    model, x = small(mixers=mixers), torch.randn(2, 3, 40, 36)
    with torch.no_grad():
        assert torch.equal(model(x), model(x))


def test_the_flavour_for_exporters_is_the_same_function() -> None:
    model, x = small(mixers=GF), torch.randn(2, 3, 32, 32)
    exported = HorNet(**{**model.arguments, "export_friendly": True}).eval()
    exported.load_state_dict(model.state_dict())
    torch.testing.assert_close(exported(x), model(x), atol=1e-4, rtol=1e-4)


def test_stage_maps_are_those_of_a_pyramid() -> None:
    model = small(spatial="gnconv")
    shapes = [tuple(level.shape) for level in model.feature_maps(torch.randn(2, 3, 32, 48))]
    assert shapes == [(2, 8, 16, 24), (2, 16, 8, 12), (2, 32, 4, 6), (2, 64, 2, 3)]
    assert model.feature_widths == [8, 16, 32, 64]


def test_widths_need_not_double() -> None:
    model = HorNet(widths=(8, 8, 24), depths=(1, 1, 1), orders=(2, 3, 3), mixers=("dw",) * 3, num_classes=5, image_size=32)
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, 5)


def test_orders_can_be_the_same_everywhere() -> None:
    assert {m.order for m in small(orders=(3, 3, 3, 3)).modules() if isinstance(m, GnConv)} == {3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depths": (1, 1)}, "one width, depth and order a stage"),
        ({"widths": (8, 16)}, "one width, depth and order a stage"),
        ({"mixers": ("dw",)}, "one mixer and one filter size a stage"),
        ({"mixers": ("dw", "dw", "gf", "fft")}, "unknown mixer 'fft'"),
        ({"widths": 9}, "dim=9 is not divisible by 2"),
        ({"spatial": "attention"}, "unknown spatial mixing"),
        ({"image_size": 7}, "7x7 pixels are too small"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message), torch.device("meta"):
        HorNet(**{"depths": (1, 1, 1, 1), **arguments})


def test_images_that_leave_no_last_map_are_refused() -> None:
    with pytest.raises(InputError, match="at least 32x32 pixels, not 31x40"), torch.device("meta"):
        HorNet(widths=8, depths=(1, 1, 1, 1))(torch.empty(1, 3, 31, 40))


def test_layers_are_the_published_ones() -> None:
    model = on_meta(lambda: create_model("hornet-tiny"))
    expected = {
        "stem.proj.weight": 0,
        "stages.0.1.gamma1": 1,
        "downsamples.0.proj.weight": 2,
        "stages.1.2.norm1.weight": 2,
        "downsamples.1.norm.bias": 3,
        "stages.2.0.expand.weight": 3,
        "stages.2.1.expand.weight": 3,
        "stages.2.2.expand.weight": 4,
        "stages.2.15.expand.weight": 10,
        "stages.2.17.expand.weight": 11,
        "downsamples.2.proj.bias": 12,
        "stages.3.0.expand.weight": 12,
        "norm.weight": 13,
        "head.bias": 13,
    }
    assert {name: model.layer_of(name) for name in expected} == expected
    rate = model.rate_by_layer(0.7)
    assert rate("head.weight") == 1.0 and rate("stem.proj.weight") == pytest.approx(0.7**13)
    assert all(0 <= model.layer_of(name) <= 13 for name, _ in model.named_parameters())


def test_the_training_loop_takes_rates_by_layer() -> None:
    model = HorNet.small(8, image_size=32, in_chans=3, num_classes=5)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    batch = {"image": torch.randn(4, 3, 32, 32), "label": torch.tensor([0, 1, 2, 3])}
    fit(model, Classification(), lambda step, rank=0, world=1: batch, Recipe(steps=1, lr=1e-2), scale=model.rate_by_layer(0.0))
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {"norm.weight", "norm.bias", "head.weight", "head.bias"}


def test_classes_of_a_large_head_are_selected() -> None:
    model, x = small(), torch.randn(2, 3, 32, 32)
    logits = model(x)
    model.select_classes(torch.tensor([4, 0]))
    torch.testing.assert_close(model(x), logits[:, [4, 0]])
    assert model.num_classes == 2
    with pytest.raises(InputError, match="rows 0 to 1"):
        model.select_classes(torch.tensor([2]))
    model.reset_classifier(0)
    with pytest.raises(InputError, match="no head"):
        model.select_classes(torch.tensor([0]))


@pytest.mark.parametrize("mixer", ["dw", "gf"])
def test_the_isotropic_network_keeps_its_resolution(mixer: str) -> None:
    model = HorNetIsotropic.small(32, image_size=32, in_chans=3, num_classes=5, mixer=mixer)
    x = torch.randn(2, 3, 32, 32)
    assert model.patch == 4 and model.forward_features(x).shape == (2, 32, 8, 8) and model(x).shape == (2, 5)


# Official names, written from the published layout of the keys.
def official(model: HorNet) -> dict[str, Tensor]:
    renamed = {}
    for key, tensor in model.state_dict().items():
        key = re.sub(r"^stem\.proj", "downsample_layers.0.0", key)
        key = re.sub(r"^stem\.norm", "downsample_layers.0.1", key)
        key = re.sub(r"^downsamples\.(\d)\.norm", lambda found: f"downsample_layers.{int(found[1]) + 1}.0", key)
        key = re.sub(r"^downsamples\.(\d)\.proj", lambda found: f"downsample_layers.{int(found[1]) + 1}.1", key)
        for ours, theirs in (
            ("spatial.mixer.spectrum", "gnconv.dwconv.complex_weight"),
            ("spatial.mixer.local", "gnconv.dwconv.dw"),
            ("spatial.mixer", "gnconv.dwconv"),
            ("spatial.pointwise", "gnconv.pws"),
            ("spatial.", "gnconv."),
            ("expand", "pwconv1"),
            ("contract", "pwconv2"),
        ):
            key = key.replace(ours, theirs)
        renamed[key] = tensor
    return renamed


def test_official_files_have_as_many_entries_as_the_published_ones() -> None:
    for name, entries in (("hornet-tiny", 560), ("hornet-tiny-gf", 640)):
        with torch.device("meta"):
            assert len(official(create_model(name))) == entries


@pytest.mark.parametrize("mixers", [("dw",) * 4, GF])
def test_an_official_classifier_is_read_off_its_weights(mixers: tuple[str, ...]) -> None:
    model, x = small(mixers=mixers), torch.randn(2, 3, 32, 32)
    read = load_official("hornet", {"model": official(model), "epoch": 3}).eval()
    assert torch.equal(read(x), model(x))
    assert read.num_classes == 5 and read.arguments["depths"] == [1, 1, 2, 1] and read.arguments["orders"] == [2, 3, 4, 5]


def test_a_22k_head_is_sized_by_its_rows() -> None:
    model = small()
    model.reset_classifier(10_459)
    assert load_official("hornet", official(model)).num_classes == 10_459


def test_a_checkpoint_without_layer_scale_is_read() -> None:
    model = randomised(HorNet(widths=8, depths=(1, 1, 1, 1), layer_scale=0, num_classes=5, image_size=32))
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(load_official("hornet", official(model)).eval()(x), model(x))


def test_other_scales_are_asked_for() -> None:
    model = small()
    state = official(model)
    assert load_official("hornet", state, s=0.5).arguments["scale"] == 0.5
    assert load_official("hornet", state, gnconv=[{"order": order, "s": 0.5} for order in (2, 3, 4, 5)]).arguments["scale"] == 0.5
    assert load_official("hornet", state).arguments["scale"] == 1 / 3
    # as the official constructor, which has 1 where it is given none
    assert load_official("hornet", state, gnconv=[{"order": order} for order in (2, 3, 4, 5)]).arguments["scale"] == 1
    with pytest.raises(InputError, match="different scales"):
        load_official("hornet", state, gnconv=[{"order": order, "s": 1 / order} for order in (2, 3, 4, 5)])
    with pytest.raises(InputError, match="unknown arguments of gnconv: gflayer"):
        load_official("hornet", state, gnconv={"order": 2, "gflayer": "x"})
    with pytest.raises(InputError, match=r"does not fit HorNet\(base_dim=16\).*mis-shaped"):
        load_official("hornet", state, base_dim=16)


def test_a_detectors_backbone_is_read_with_its_norms() -> None:
    encoder = small()
    backbone = randomised(FeatureMaps(encoder, (0, 2)))
    state = official(encoder) | {
        f"norm{index}.{key}": tensor for index, norm in backbone.norms.items() for key, tensor in norm.state_dict().items()
    }
    x = torch.randn(1, 3, 32, 32)
    for given in (state, {f"backbone.{key}": tensor for key, tensor in state.items()} | {"rpn_head.rpn_cls.bias": torch.zeros(3)}):
        read = load_official("hornet-features", given).eval()
        assert all(torch.equal(a, b) for a, b in zip(read(x), backbone(x), strict=True))
    with pytest.raises(InputError, match=r"unexpected: encoder\.oddity"):
        load_official("hornet-features", state | {"oddity": torch.zeros(1)})


def test_feature_maps_are_normalised_over_channels() -> None:
    encoder = small()
    raw = encoder.feature_maps(x := torch.randn(1, 3, 32, 32))
    maps = FeatureMaps(encoder)(x)
    assert [level.shape for level in maps] == [level.shape for level in raw]
    for level in maps:
        torch.testing.assert_close(level.mean(1), torch.zeros_like(level.mean(1)), atol=1e-5, rtol=0)
    assert not any(name.startswith(("encoder.norm.", "encoder.head.")) for name in FeatureMaps(small()).state_dict())


@pytest.mark.parametrize("out_indices", [(), (4,), (-1,)])
def test_stages_that_are_not_there_are_refused(out_indices: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="stages 0 to 3"):
        FeatureMaps(small(), out_indices)
    with pytest.raises(InputError, match="has one resolution"):
        FeatureMaps(HorNetIsotropic.small(32, image_size=32, in_chans=3, num_classes=5))


def pyramid_maps(channels: tuple[int, ...] = (8, 16, 32, 64), side: int = 16) -> list[Tensor]:
    return [torch.randn(2, width, side >> level, side >> level) for level, width in enumerate(channels)]


@pytest.mark.parametrize("options", [{}, {"mixer": "gf", "filter_size": (8, 5)}, {"fusion": "conv"}, {"project_out": False, "order": 3}])
def test_the_pyramid_gives_its_levels(options: dict[str, object]) -> None:
    neck = HorFPN(in_channels=(8, 16, 32, 64), out_channels=16, num_outs=6, **options)
    assert [tuple(level.shape[1:]) for level in neck(pyramid_maps())] == [(16, side, side) for side in (16, 8, 4, 2, 1, 1)]


def test_extra_levels_are_every_second_pixel() -> None:
    neck = HorFPN(in_channels=(8,), out_channels=4, num_outs=2)
    first, second = neck([torch.randn(1, 8, 5, 7)])
    assert torch.equal(second, nn.functional.max_pool2d(first, 1, stride=2))


@pytest.mark.parametrize("options", [{}, {"mixer": "gf", "filter_size": (8, 5)}, {"fusion": "conv"}, {"project_out": False}])
def test_the_segmentation_head_classifies_every_pixel_of_the_finest_map(options: dict[str, object]) -> None:
    head = UPerHead(in_channels=(8, 16, 32, 64), channels=16, num_classes=7, **options)
    assert head(pyramid_maps()).shape == (2, 7, 16, 16)


def test_maps_of_another_pyramid_are_refused() -> None:
    for module in (HorFPN(in_channels=(8, 16), out_channels=4, num_outs=2), UPerHead(in_channels=(8, 16), channels=4, num_classes=2)):
        with pytest.raises(InputError, match=r"takes 2 maps .* of \[8, 16\] channels"):
            module(pyramid_maps((8, 16, 32)))
        with pytest.raises(InputError, match="takes 2 maps"):
            module(pyramid_maps((16, 8)))
    with pytest.raises(InputError, match="at least one output an input"):
        HorFPN(in_channels=(8, 16), num_outs=1)
    with pytest.raises(InputError, match="unknown fusion 'sum'"):
        HorFPN(fusion="sum")


def test_official_necks_and_heads_are_read_off_their_weights() -> None:
    neck = HorFPN(in_channels=(8, 16), out_channels=8, num_outs=3, order=3, kernel_size=5, dim_ratio=2)
    state = {}
    for key, tensor in neck.state_dict().items():
        key = re.sub(r"laterals\.(\d)\.", r"neck.lateral_convs.\1.conv.", key)
        key = re.sub(r"outputs\.(\d)\.gnconv\.", r"neck.fpn_convs.\1.", key)
        state[key.replace("mixer", "dwconv").replace("pointwise", "pws")] = tensor
    maps = pyramid_maps((8, 16))
    for config in ({}, {"gn_conv_cfg": {"kernel_size": 5, "type": "gnconv", "proj_out": True, "order": 3, "dim_ratio": 2}}):
        read = load_official("horfpn", state, **config)
        assert all(torch.equal(a, b) for a, b in zip(read(maps), neck(maps), strict=True))
    with pytest.raises(InputError, match="unknown type of GNConvModule"):
        load_official("horfpn", state, gn_conv_cfg={"type": "gnx"})
    with pytest.raises(InputError, match="unknown arguments of GNConvModule: stride"):
        load_official("horfpn", state, gn_conv_cfg={"stride": 2})
    with pytest.raises(InputError, match="has no 'lateral_convs"):
        load_official("horfpn", {"head.weight": torch.zeros(1)})
    with pytest.raises(InputError, match="has no 'stages"):
        load_official("hornet", {"head.weight": torch.zeros(1)})
