"""HorNet, its pyramid and its segmentation head, against the official code. A case is told by its constructor's arguments."""

import re
from typing import Any

import torch

from ordinate.models.hornet import HorNet
from ordinate.models.registry import load_official
from tests.parity.case import Case


def check(case: Case) -> None:
    constructor = _plain(case.meta["constructor"])
    if "gnconv" in constructor:
        _check_classifier(case, constructor)
    elif "gn_conv_cfg" in constructor:
        _check_maps(case, "horfpn", constructor, lambda outputs: {f"p{level}": output for level, output in enumerate(outputs)})
    elif "pool_scales" in constructor or "conv_cfg" in constructor:
        norm = constructor.pop("norm", "BatchNorm2d")
        assert norm.startswith(("BatchNorm2d", "BN", "SyncBN")), f"a head with another norm: {norm}"
        assert constructor.pop("align_corners", False) is False, "a head that aligns corners"
        _check_maps(case, "upernet", constructor, lambda output: {"logits": output})
    else:
        raise AssertionError(f"an unknown kind of HorNet case: {sorted(constructor)}")


def _plain(value: Any) -> Any:
    """The constructor's arguments, with formulas that were recorded beside their value ("h//2+1=4") read as the value."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str) and (found := re.fullmatch(r".*=\s*(-?\d+)", value)):
        return int(found[1])
    return value


def _load(case: Case, name: str, constructor: dict[str, Any]) -> torch.nn.Module:
    assert not case.meta.get("mode", "eval").startswith("train"), "a case recorded in training mode"
    usual = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, case.meta.get("dtype", "float32")))
    try:
        return load_official(name, case.state(), **constructor).eval()
    finally:
        torch.set_default_dtype(usual)


def _check_classifier(case: Case, constructor: dict[str, Any]) -> None:
    for only_initial in ("uniform_init", "head_init_scale"):
        constructor.pop(only_initial, None)
    model = _load(case, "hornet", constructor)
    assert isinstance(model, HorNet)
    forward = case.tolerance("forward_rel")
    block = model.stages[-1][0]
    known = {}
    for name, x in case.inputs().items():
        x = x.clone().requires_grad_()
        if name == "gn_in":
            known |= {"gn_out": (block.spatial(x), forward), "block_out": (block(x), forward)}
            continue
        assert name.startswith("x"), f"an unknown input: {name}"
        index = name.removeprefix("x")
        logits = model(x)
        weights = torch.linspace(-1, 1, logits.numel(), dtype=x.dtype).view_as(logits)
        (grad,) = torch.autograd.grad((logits * weights).sum(), x)
        known[f"logits{index}"] = (logits, forward)
        known[f"grad_x{index}"] = (grad, case.tolerance("grad_rel"))
        known |= {f"stage{stage}_{index}": (found, forward) for stage, found in enumerate(model.feature_maps(x))}
    _compare(case, known)


def _check_maps(case: Case, name: str, constructor: dict[str, Any], named: Any) -> None:
    inputs = case.inputs()
    maps = [inputs.pop(f"c{level}") for level in range(len(inputs))]
    assert not inputs, f"unknown inputs: {sorted(inputs)}"
    start = constructor.pop("start_level", 0)  # the levels below it are passed over: ours is not given them
    maps, constructor["in_channels"] = maps[start:], constructor["in_channels"][start:]
    module = _load(case, name, constructor)
    _compare(case, {key: (output, case.tolerance("forward_rel")) for key, output in named(module(maps)).items()})


def _compare(case: Case, known: dict[str, tuple[torch.Tensor, float]]) -> None:
    unknown = case.outputs().keys() - known.keys()
    assert not unknown, f"outputs that the adapter does not know: {sorted(unknown)}"
    for name in case.outputs():
        found, rel = known[name]
        case.close(found, name, rel=rel)
