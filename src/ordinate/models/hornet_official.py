"""The checkpoints of the official HorNet repository (github.com/raoyongming/HorNet) read into our modules.

Everything but the scale s is read off the weights: widths, depths, orders, kernel sizes, which stages filter globally and at which size, whether there is a layer scale, and how many classes the head has
(1000 for ImageNet-1K; the ImageNet-22K heads have fewer rows than 21,841, so the count is never assumed). The official constructor's arguments may be given by their own names, and are then checked
against the weights by the shapes.

- ``hornet``: a classifier; files nest it under "model", "module" or "model_ema".
- ``hornet-features``: the backbone of a detector or segmenter, with its norms; "backbone." is taken off, and the other parts of the file are left.
- ``horfpn``: the pyramid of a detector ("neck."); ``upernet``: the head of a segmenter ("decode_head.").
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.features import FeatureMaps
from ordinate.models.horfpn import HorFPN
from ordinate.models.hornet import HorNet
from ordinate.models.upernet import UPerHead
from ordinate.nn.gnconv import SCALE
from ordinate.nn.official import OfficialCheckpoint, State

__all__ = ["OFFICIAL"]

# Official name -> ours, in this order. The gated convolution's are common to all parts.
_GATED = (
    (r"\bdwconv\.complex_weight$", "mixer.spectrum"),
    (r"\bdwconv\.dw\.", "mixer.local."),
    (r"\bdwconv\.", "mixer."),
    (r"\bpws\.", "pointwise."),
)
_BACKBONE = (
    (r"^downsample_layers\.0\.0\.", "stem.proj."),
    (r"^downsample_layers\.0\.1\.", "stem.norm."),
    (r"^downsample_layers\.(\d+)\.0\.", lambda found: f"downsamples.{int(found[1]) - 1}.norm."),
    (r"^downsample_layers\.(\d+)\.1\.", lambda found: f"downsamples.{int(found[1]) - 1}.proj."),
    (r"\.gnconv\.", ".spatial."),
    (r"\.pwconv1\.", ".expand."),
    (r"\.pwconv2\.", ".contract."),
    *_GATED,
)
_GATED_MODULE = r"(proj_in|proj_out|mixer|pointwise)\."
_NECK = (
    *_GATED,
    (r"^lateral_convs\.(\d+)\.conv\.", r"laterals.\1."),
    (rf"^fpn_convs\.(\d+)\.{_GATED_MODULE}", r"outputs.\1.gnconv.\2."),
    (r"^fpn_convs\.(\d+)\.conv\.", r"outputs.\1."),
)
_HEAD = (
    *_GATED,
    (rf"^fpn_bottleneck\.{_GATED_MODULE}", r"fusion.gnconv.\1."),
    (r"^fpn_bottleneck\.", "fusion."),
    (r"^psp_modules\.(\d+)\.1\.", r"pools.\1."),
    (r"^lateral_convs\.", "laterals."),
    (r"^fpn_convs\.", "levels."),
    (r"^conv_seg\.", "classifier."),
    (r"\.bn\.", ".norm."),
)


def _renamed(state: State, table: Sequence[tuple[str, Any]]) -> dict[str, Tensor]:
    renamed = {}
    for key, tensor in state.items():
        new = key
        for pattern, name in table:
            new = re.sub(pattern, name, new)
        renamed[new] = tensor
    return renamed


def _part(state: State, prefix: str) -> dict[str, Tensor]:
    """The tensors under `prefix`, without it; all of them where none has it."""
    inside = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
    return inside or dict(state)


def _count(state: State, pattern: str) -> int:
    """One more than the largest number that `pattern`'s group finds at the start of a key."""
    return 1 + max((int(found[1]) for key in state if (found := re.match(pattern, key))), default=-1)


def _gated_shape(state: State, prefix: str) -> dict[str, Any]:
    """What a gated convolution's weights under `prefix` say of its order and mixer."""
    order = _count(state, rf"{re.escape(prefix)}pws\.(\d+)\.") + 1
    spectrum = state.get(f"{prefix}dwconv.complex_weight")
    if spectrum is not None:
        return {"order": order, "mixer": "gf", "filter_size": tuple(spectrum.shape[1:3])}
    return {"order": order, "mixer": "dw", "kernel_size": state[f"{prefix}dwconv.weight"].shape[-1]}


def _trunk(
    state: State,
    depths: Sequence[int] | None,
    base_dim: int | None,
    s: float | None,
    gnconv: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    layer_scale: float | None,
) -> dict[str, Any]:
    """Our constructor's arguments for the stem and the stages, read off the weights where they are not given."""
    stages = _count(state, r"stages\.(\d+)\.")
    if not stages:
        raise KeyError("stages.0.0.norm1.weight")
    if gnconv is None:
        found = [_gated_shape(state, f"stages.{stage}.0.gnconv.") for stage in range(stages)]
    else:
        gnconv = [gnconv] * stages if isinstance(gnconv, Mapping) else gnconv
        unknown = {key for stage in gnconv for key in stage} - {"order", "gf", "h", "w", "s"}
        if unknown:
            raise InputError(f"unknown arguments of gnconv: {', '.join(sorted(unknown))}")
        found = [
            {"order": stage.get("order", 5), "mixer": "gf", "filter_size": (stage.get("h", 14), stage.get("w", 8))}
            if stage.get("gf")
            else {"order": stage.get("order", 5), "mixer": "dw", "kernel_size": 7}
            for stage in gnconv
        ]
    scales = {stage["s"] for stage in gnconv or () if "s" in stage} | ({s} if s is not None else set())
    if len(scales) > 1:
        raise InputError(f"the stages have different scales: {sorted(scales)}")
    kernels = {stage["kernel_size"] for stage in found if stage["mixer"] == "dw"}
    if len(kernels) > 1:
        raise InputError(f"the stages have kernels of different sizes: {sorted(kernels)}")
    stem = state["downsample_layers.0.0.weight"]
    first_gamma = state.get("stages.0.0.gamma1")
    widths = [state[f"stages.{stage}.0.norm1.weight"].shape[0] for stage in range(stages)]
    return {
        "widths": widths if base_dim is None else base_dim,
        "depths": [_count(state, rf"stages\.{stage}\.(\d+)\.") for stage in range(stages)] if depths is None else depths,
        "orders": [stage["order"] for stage in found],
        "mixers": [stage["mixer"] for stage in found],
        "filter_sizes": [stage.get("filter_size") for stage in found],
        "kernel_size": kernels.pop() if kernels else 7,
        # the released networks have 1/3, and a constructor that is given no scale has 1
        "scale": scales.pop() if scales else SCALE if gnconv is None else 1.0,
        "in_chans": stem.shape[1],
        "patch": stem.shape[-1],
        "layer_scale": (0.0 if first_gamma is None else 1e-6) if layer_scale is None else layer_scale,
    }


def _build_classifier(
    state: State,
    *,
    in_chans: int | None = None,
    num_classes: int | None = None,
    depths: Sequence[int] | None = None,
    base_dim: int | None = None,
    s: float | None = None,
    gnconv: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    drop_path_rate: float = 0.0,
    layer_scale_init_value: float | None = None,
) -> nn.Module:
    shape = _trunk(state, depths, base_dim, s, gnconv, layer_scale_init_value)
    classes = state["head.weight"].shape[0] if num_classes is None else num_classes
    return HorNet(
        **{**shape, "in_chans": shape["in_chans"] if in_chans is None else in_chans}, num_classes=classes, drop_path_rate=drop_path_rate
    )


def _build_features(
    state: State,
    *,
    depths: Sequence[int] | None = None,
    base_dim: int | None = None,
    s: float | None = None,
    gnconv: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    drop_path_rate: float = 0.0,
    layer_scale_init_value: float | None = None,
    out_indices: Sequence[int] | None = None,
) -> nn.Module:
    state = _part(state, "backbone.")
    shape = _trunk(state, depths, base_dim, s, gnconv, layer_scale_init_value)
    if out_indices is None:
        out_indices = [index for index in range(len(shape["depths"])) if f"norm{index}.weight" in state]
    return FeatureMaps(HorNet(**shape, num_classes=0, drop_path_rate=drop_path_rate), out_indices)


def _translate_features(state: State, module: nn.Module) -> dict[str, Tensor]:
    renamed = _renamed(_part(state, "backbone."), _BACKBONE)
    return {
        re.sub(r"^norm(\d+)\.", r"norms.\1.", key) if re.match(r"norm\d+\.", key) else f"encoder.{key}": tensor
        for key, tensor in renamed.items()
    }


def _module_shape(state: State, prefix: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Our arguments for an official `GNConvModule`, from its weights or from its own arguments."""
    if given is None:
        shape = _gated_shape(state, prefix)
        projected = state.get(f"{prefix}proj_out.weight")
        inner = state[f"{prefix}proj_in.weight"].shape[0] // 2
        return {**shape, "project_out": projected is not None, "dim_ratio": 1 if projected is None else inner // projected.shape[0]}
    # the neck and the head set norm, activation and the latter's memory themselves, whatever is given here
    unknown = set(given) - {"kernel_size", "type", "proj_out", "order", "dim_ratio", "h", "w", "norm_cfg", "act_cfg", "inplace"}
    if unknown:
        raise InputError(f"unknown arguments of GNConvModule: {', '.join(sorted(unknown))}")
    if given.get("type", "gnconv") not in ("gnconv", "gngf"):
        raise InputError(f"unknown type of GNConvModule: {given['type']!r}: it is gnconv or gngf")
    shape = {"order": given.get("order", 2), "project_out": given.get("proj_out", False), "dim_ratio": given.get("dim_ratio", 1)}
    if given.get("type") == "gngf":
        height = given.get("h", 32)
        return {**shape, "mixer": "gf", "filter_size": (height, given.get("w", height // 2 + 1))}
    return {
        **shape,
        "mixer": "dw",
        "kernel_size": given["kernel_size"] if "kernel_size" in given else state[f"{prefix}dwconv.weight"].shape[-1],
    }


def _build_neck(
    state: State,
    *,
    in_channels: Sequence[int] | None = None,
    out_channels: int | None = None,
    num_outs: int | None = None,
    gn_conv_cfg: Mapping[str, Any] | None = None,
) -> nn.Module:
    state = _part(state, "neck.")
    laterals = [state[f"lateral_convs.{level}.conv.weight"] for level in range(_count(state, r"lateral_convs\.(\d+)\."))]
    if not laterals:
        raise KeyError("lateral_convs.0.conv.weight")
    plain = "fpn_convs.0.conv.weight" in state
    return HorFPN(
        in_channels=[lateral.shape[1] for lateral in laterals] if in_channels is None else in_channels,
        out_channels=laterals[0].shape[0] if out_channels is None else out_channels,
        num_outs=len(laterals) + 1 if num_outs is None else num_outs,
        fusion="conv" if plain else "gnconv",
        **({} if plain else _module_shape(state, "fpn_convs.0.", gn_conv_cfg)),
    )


def _build_head(
    state: State,
    *,
    in_channels: Sequence[int] | None = None,
    channels: int | None = None,
    num_classes: int | None = None,
    pool_scales: Sequence[int] = (1, 2, 3, 6),
    conv_cfg: Mapping[str, Any] | None = None,
    dropout_ratio: float = 0.1,
) -> nn.Module:
    state = _part(state, "decode_head.")
    classifier = state["conv_seg.weight"]
    laterals = [state[f"lateral_convs.{level}.conv.weight"].shape[1] for level in range(_count(state, r"lateral_convs\.(\d+)\."))]
    plain = "fpn_bottleneck.conv.weight" in state
    return UPerHead(
        in_channels=[*laterals, state["psp_modules.0.1.conv.weight"].shape[1]] if in_channels is None else in_channels,
        channels=classifier.shape[1] if channels is None else channels,
        num_classes=classifier.shape[0] if num_classes is None else num_classes,
        pool_scales=pool_scales,
        fusion="conv" if plain else "gnconv",
        dropout=dropout_ratio,
        **({} if plain else _module_shape(state, "fpn_bottleneck.", conv_cfg)),
    )


OFFICIAL = {
    "hornet": OfficialCheckpoint(_build_classifier, lambda state, module: _renamed(state, _BACKBONE)),
    "hornet-features": OfficialCheckpoint(_build_features, _translate_features),
    "horfpn": OfficialCheckpoint(_build_neck, lambda state, module: _renamed(_part(state, "neck."), _NECK)),
    "upernet": OfficialCheckpoint(_build_head, lambda state, module: _renamed(_part(state, "decode_head."), _HEAD)),
}
