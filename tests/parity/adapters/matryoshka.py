"""Recorded outputs of the official code of matryoshka: heads with their loss, retrieval with its reranks, and the cascade.

The kind of a case is told by what its constructor holds. The official recall divides by 1300 whatever the class; that denominator is given here, and ours counts.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ordinate.adapt.cascade import ConfidenceCascade
from ordinate.models.registry import load_official
from ordinate.nn.nested_head import FixedFeatureHead, MatryoshkaHead
from ordinate.objectives.matryoshka import MatryoshkaLoss
from ordinate.retrieve.metrics import hit_rate, hits_of, mean_average_precision, precision, recall
from ordinate.retrieve.nested_index import NestedIndex
from tests.parity.case import Case

_OFFICIAL_RECALL_DENOMINATOR = 1300


def check(case: Case) -> None:
    constructor = case.meta["constructor"]
    if "nesting_list" in constructor:
        _check_heads(case, constructor)
    elif "retrieval_dim" in constructor:
        _check_retrieval(case, constructor)
    elif "granularities" in constructor:
        _check_cascade(case, constructor)
    else:
        raise AssertionError(f"{case.slug}/{case.name} is of a kind that this adapter does not know: {sorted(constructor)}")


def _check_heads(case: Case, constructor: dict[str, Any]) -> None:
    tolerance = {"atol": case.tolerance("atol"), "rtol": case.tolerance("rtol")}
    tags = {key.split("/")[0] for key in case.state()}
    assert tags and tags <= {"mrl", "mrl_e", "ff"}, f"unknown heads: {sorted(tags)}"
    for tag in sorted(tags - {"ff"}):
        _check_nested_head(case, constructor, tag, tolerance)
    if "ff" in tags:
        head = load_official("matryoshka-head", case.state("ff/"))
        assert isinstance(head, FixedFeatureHead) and head.in_features == constructor["ff_in_features"]
        case.close(head(case.input("x")), "ff/logits", **tolerance)


def _check_nested_head(case: Case, constructor: dict[str, Any], tag: str, tolerance: dict[str, float]) -> None:
    dims, tied = list(constructor["nesting_list"]), tag == "mrl_e"
    head = load_official("matryoshka-head", case.state(f"{tag}/"), nesting_list=dims, efficient=tied)
    assert isinstance(head, MatryoshkaHead) and (head.dims, head.tied) == (tuple(dims), tied)
    assert (head.classifiers[0].bias is not None) == constructor.get("bias", True)
    x = case.input("x").clone().requires_grad_()
    for number, logits in enumerate(head(x)):
        case.close(logits, f"{tag}/logits_{number}", **tolerance)
    criterion = nn.CrossEntropyLoss(label_smoothing=constructor.get("label_smoothing", 0.0))
    bases = [lambda z, y, size=size: criterion(head.at(z, size), y) for size in dims]
    loss = MatryoshkaLoss(bases, dims, constructor.get("relative_importance"))(x, case.input("y")).total
    case.close(loss.reshape(1), f"{tag}/loss", **tolerance)
    loss.backward()
    case.close(x.grad, f"{tag}/grad_x", **tolerance)
    for number, classifier in enumerate(head.classifiers):
        for name, parameter in classifier.named_parameters():
            case.close(parameter.grad, f"{tag}/grad/nesting_classifier_{number}.{name}", **tolerance)


def _check_retrieval(case: Case, constructor: dict[str, Any]) -> None:
    database, queries = case.input("db"), case.input("query")
    first, dims, lengths = constructor["retrieval_dim"], list(constructor["rerank_dim"]), list(constructor["shortlist"])
    index = NestedIndex(database, sorted({first, *dims, database.shape[1]}))
    shortlist = index.search(queries, constructor["shortlist_k"], first)
    case.close(shortlist.distances, "shortlist_dist2", atol=case.tolerance("dist2"))
    adaptive = index.adaptive(queries, lengths[0], shortlist=lengths[0], d_short=first, d_rerank=dims[-1])
    funnel = index.funnel(queries, dims, lengths, first)
    for name, ids, dim in (("shortlist", shortlist.ids, first), ("adaptive", adaptive.ids, dims[-1]), ("funnel", funnel.ids, dims[-1])):
        _check_ids(case, index, queries, ids, f"{name}_ids", dim)
        recorded = case.output(f"{name}_ids")  # metrics are compared on the recorded ranking, which ties may order otherwise
        hits = hits_of(recorded, case.input("query_label"), case.input("db_label"))
        k = constructor["metric_k"]
        relevant = torch.full((len(hits),), _OFFICIAL_RECALL_DENOMINATOR)
        found = [mean_average_precision(hits, k), precision(hits, k), recall(hits, k, relevant), hit_rate(hits, k)]
        case.close(torch.tensor(found, dtype=torch.float64), f"metrics/{name}", atol=case.tolerance("metrics"))
        case.close(torch.tensor([hit_rate(hits, 1)], dtype=torch.float64), f"top1/{name}", atol=case.tolerance("metrics"))


def _check_ids(case: Case, index: NestedIndex, queries: Tensor, found: Tensor, name: str, dim: int) -> None:
    """The same rows in the same order, except where two distances differ by less than 1e-6."""
    recorded = case.output(name)
    assert found.shape == recorded.shape, f"{name}: {tuple(found.shape)}, recorded {tuple(recorded.shape)}"
    differing = (found != recorded).any(dim=1)
    if differing.any():
        distances = [index.distances(queries[differing], ids[differing], dim) for ids in (found, recorded)]
        torch.testing.assert_close(*distances, atol=1e-6, rtol=0.0, msg=lambda text: f"{case.slug}/{case.name} {name}: {text}")


def _check_cascade(case: Case, constructor: dict[str, Any]) -> None:
    probabilities, labels, holdouts = case.input("softmax"), case.input("y"), case.input("holdout_idx")
    dims, classes = list(constructor["dims"]), constructor["num_classes"]
    assert constructor["grid"] == "np.linspace(0.1, 1, 100)", f"an unknown grid of thresholds: {constructor['grid']}"
    assert probabilities.shape == (constructor["granularities"], constructor["N"], classes) and len(dims) == len(probabilities)
    thresholds, expected, accuracy = [], [], []
    for held in holdouts:
        rest = torch.ones(len(labels), dtype=torch.bool).index_fill_(0, held, False)
        cascade = ConfidenceCascade(dims).fit(probabilities[:, held], labels[held])
        thresholds.append(cascade.thresholds)
        answers = [cascade.predict(probabilities[:, rest], cap) for cap in range(1, len(dims))]
        expected.append(torch.tensor([cascade.expected_dim(levels) for _, levels in answers], dtype=torch.float64))
        accuracy.append(torch.stack([(predicted == labels[rest]).double().mean() for predicted, _ in answers]))
    case.close(torch.stack(thresholds), "thresholds", atol=case.tolerance("thresholds"))
    case.close(torch.stack(expected, dim=1), "expected_dim", atol=case.tolerance("expected_dim"))
    case.close(torch.stack(accuracy, dim=1), "accuracy", atol=case.tolerance("accuracy"))
