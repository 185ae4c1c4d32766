"""The encoder of the official code: bucket matrices, features, logits and gradients."""

import re

import torch

from ordinate.models.registry import load_official
from ordinate.models.urpe_encoder import URPEEncoder
from ordinate.nn.offset_tables import OffsetTable, official_buckets
from tests.parity.case import Case


def check(case: Case) -> None:
    constructor = case.meta["constructor"]
    forward, relative, gradient, gradient_relative = map(
        float, re.fullmatch(r"atol (\S+) rtol (\S+) \(float32\); gradients atol (\S+) rtol (\S+)", case.meta["tolerance"]).groups()
    )
    model = load_official("urpe", case.state(), **constructor)
    assert isinstance(model, URPEEncoder)
    tokens = case.input("tokens")
    real = tokens != constructor["padding_idx"]
    mask = None if bool(real.all()) else real
    for name in ("bucket", "ur_bucket"):
        if name in case.outputs():
            _check_buckets(case, name)
    features = model.forward_features(tokens, padding_mask=mask)
    logits = model(tokens, padding_mask=mask)
    for name, value in (("features", features), ("logits", logits)):
        expected = case.output(name)
        assert value.shape == expected.shape
        torch.testing.assert_close(value[real], expected[real], atol=forward, rtol=relative)
    if "loss_weight" not in case.inputs() or mask is not None:
        return  # with padding the recorded loss counts outputs at padded positions, which are zero here
    (logits * case.input("loss_weight"))[real].sum().backward()
    mixer = model.backbone.blocks[0].mixer
    for name in case.outputs():
        if name.endswith("q_proj.weight"):
            case.close(mixer.heads.qkv.weight.grad[: model.num_features], name, atol=gradient, rtol=gradient_relative)
        elif name.endswith("ur_rp_bias.weight"):
            case.close(mixer.scale_table.table.grad.T, name, atol=gradient, rtol=gradient_relative)
        elif name.endswith("rp_bias.weight"):
            case.close(mixer.bias_table.table.grad.T, name, atol=gradient, rtol=gradient_relative)
        else:
            assert not name.startswith("grad/"), f"a gradient that the adapter does not know: {name}"


def _check_buckets(case: Case, name: str) -> None:
    constructor, recorded = case.meta["constructor"], case.output(name)
    length, prefix = len(recorded), "ur_" if name.startswith("ur_") else ""
    offsets = torch.arange(length) - torch.arange(length)[:, None]
    if constructor["ur_attn_unique" if prefix else "rel_pos_unique"]:
        ours = OffsetTable(1, constructor["max_seq_len"]).places(offsets)
    else:
        ours = official_buckets(offsets, constructor[f"{prefix}rp_bucket"], constructor[f"{prefix}max_rp"], constructor["max_seq_len"])
    assert torch.equal(ours, recorded)
