"""Recorded outputs of the official code of rich-representations: networks side by side, their merged head, the probe before and after a training step, and the cosine head."""

import torch
from torch import nn

from ordinate.adapt.concat import merge_heads
from ordinate.models.encoding import Classifier
from ordinate.models.registry import load_official
from ordinate.nn.cosine_head import CosineHead
from ordinate.nn.probe_head import ProbeHead
from tests.parity.case import Case


def check(case: Case) -> None:
    constructor = case.meta["constructor"]
    assert constructor.get("block") == "Bottleneck" and "n_networks" in constructor, f"an unknown kind of case: {sorted(constructor)}"
    tolerance = {"atol": case.tolerance("atol"), "rtol": case.tolerance("rtol")}
    classes, x = constructor["num_classes"], case.input("x")
    classifier = load_official("rich-concat", case.state("kmodel/")).eval()
    assert isinstance(classifier, Classifier)
    members = classifier.encoder.members
    assert len(members) == constructor["n_networks"]
    for number, member in enumerate(members):
        assert member.num_features == constructor["feature_dim_each"] and member.small_images == constructor["smallimage"]
        alone = load_official("rich-resnet", {f"module.{key}": t for key, t in case.state(f"kmodel/model{number}.").items()}).eval()
        assert torch.equal(alone(x), member(x))
    with torch.no_grad():
        rep = classifier.encoder(x)
        case.close(rep, "rep", **tolerance)
        case.close(classifier(x), "cat_logits", **tolerance)
        heads = []
        for number, where in enumerate(classifier.encoder.slices):
            head = nn.Linear(where.stop - where.start, classes)
            head.load_state_dict(case.state(f"head_{number}/"))
            case.close(head(rep[:, where]), f"head_logits_{number}", **tolerance)
            heads.append(head)
        case.close(merge_heads(heads)(rep), "cat_logits", **tolerance)
        probe = ProbeHead(rep.shape[1], classes, use_bn=constructor["probe_use_bn"])
        probe.load_state_dict(case.state("probe_before/"))
        case.close(probe.train()(rep), "probe_train_logits", **tolerance)
        for name, tensor in case.state("probe_after/").items():
            torch.testing.assert_close(probe.state_dict()[name], tensor, **tolerance)
        case.close(probe.eval()(rep), "probe_eval_logits", **tolerance)
        weight, bias = probe.folded()
        case.close(rep @ weight.T + bias, "probe_eval_logits", **tolerance)
        cosine = CosineHead(rep.shape[1], classes)
        cosine.load_state_dict({name.removeprefix("L."): tensor for name, tensor in case.state("cosine/").items()})
        case.close(cosine(rep), "cosine_logits", **tolerance)
