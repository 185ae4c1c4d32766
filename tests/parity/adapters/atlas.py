"""Recorded outputs of the official code of aTLAS: composed and linearised encoders, task-vector arithmetic, and the loss of unsupervised FixMatch.

The kind of a case is told by what its constructor holds. The official partition composes matrices alone, deals blocks of one shape alike, and sums in float16: our partition is given its masks and the blocks of two dimensions.
"""

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.task_vector import TaskBank, TaskVector
from ordinate.nn.prototype_head import PrototypeHead
from ordinate.objectives.ufm import ufm_loss
from tests.parity.case import Case


def check(case: Case) -> None:
    constructor = case.meta["constructor"]
    if "coef_block_order" in constructor:
        _check_compose(case, constructor)
    elif "thresh" in constructor:
        _check_ufm(case, constructor)
    else:
        raise AssertionError(f"{case.slug}/{case.name} is of a kind that this adapter does not know: {sorted(constructor)}")


def _check_ufm(case: Case, constructor: dict[str, Any]) -> None:
    strong = case.input("logits_strong").clone().requires_grad_()
    targets, trusted = case.input("targets_onehot").argmax(dim=1), case.input("trusted")
    loss = ufm_loss(case.input("logits_weak"), strong, targets, trusted, constructor["thresh"], compat="released")
    tolerance = {"atol": case.tolerance("atol"), "rtol": case.tolerance("rtol")}
    case.close(loss.reshape(1), "loss", **tolerance)
    loss.backward()
    assert strong.grad is not None
    case.close(strong.grad, "grad_logits_strong", **tolerance)


def _encoder(case: Case, constructor: dict[str, Any]) -> nn.Module:
    hidden = constructor["hidden"]
    model = nn.Sequential(
        OrderedDict(
            fc1=nn.Linear(constructor["input"], hidden),
            first=nn.Tanh(),
            ln=nn.LayerNorm(hidden),
            fc2=nn.Linear(hidden, hidden),
            second=nn.Tanh(),
            proj=nn.Linear(hidden, constructor["out"], bias=False),
        )
    )
    model.load_state_dict(case.state("theta0/"))
    return model


def _vector(case: Case, number: int) -> TaskVector:
    prefix = f"task_vector_{number}/"
    return TaskVector({name.removeprefix(prefix): entry for name, entry in case.inputs().items() if name.startswith(prefix)})


def _check_compose(case: Case, constructor: dict[str, Any]) -> None:
    model = _encoder(case, constructor)
    bank = TaskBank([_vector(case, number) for number in range(constructor["task_vectors"])])
    order = constructor["coef_block_order"]
    known: set[str] = set()
    for kind in sorted({name.split("/")[0] for name in case.outputs()} - {"tv"}):
        tolerance = {name: float(case.meta["tolerance"][kind][name]) for name in ("atol", "rtol")}
        if kind == "partition":
            partitions = constructor["partitions"]
            composed = ComposedModel(model, bank, "partition", partitions=partitions, blocks="weights")
            for name, block in model.named_parameters():
                if block.ndim == 2:
                    composed.set_partition(name, case.input(f"partition/mask/{'x'.join(map(str, block.shape))}"))
        else:
            granularity = "scalar" if kind == "isotropic" else "block"
            assert kind in ("isotropic", "blockwise", "linearised"), f"an unknown composition: {kind}"
            composed = ComposedModel(model, bank, granularity, linearised=kind == "linearised")
        if kind != "partition":
            assert composed.names == tuple(order)
        columns = [order.index(name) for name in composed.names]
        name = f"{kind}/feat_at_zero"
        if name in case.outputs():
            case.close(composed(case.input("x")), name, **tolerance)
            known.add(name)
        _set(composed, case, "blockwise" if kind == "linearised" else kind, columns)
        features = composed(case.input("x"))
        logits = PrototypeHead(case.input("head_weight"), 1.0)(features)
        # The official head is not of unit rows: ours is scaled back to it.
        logits = logits * case.input("head_weight").norm(dim=1)
        loss = F.cross_entropy(logits, case.input("y"))
        loss.backward()
        found = {"feat": features, "logits": logits, "loss": loss.reshape(1), "grad_coef": _padded(composed, case, kind, columns)}
        for each, value in found.items():
            if f"{kind}/{each}" in case.outputs():
                case.close(value, f"{kind}/{each}", **tolerance)
                known.add(f"{kind}/{each}")
    _check_arithmetic(case, bank, known)


def _set(composed: ComposedModel, case: Case, kind: str, columns: list[int]) -> None:
    coefficients = case.input(f"{kind}/coef")
    with torch.no_grad():
        composed.coef.copy_(coefficients if coefficients.ndim == 1 else coefficients[:, columns])


def _padded(composed: ComposedModel, case: Case, kind: str, columns: list[int]) -> Tensor:
    expected = case.output(f"{kind}/grad_coef")
    assert composed.coef.grad is not None
    if expected.ndim == 1:
        return composed.coef.grad
    whole = torch.zeros_like(expected)
    whole[:, columns] = composed.coef.grad
    return whole


def _check_arithmetic(case: Case, bank: TaskBank, known: set[str]) -> None:
    vectors = [vector.to(torch.float32) for vector in bank.values()]
    found = {"tv/sum_norm": (vectors[0] + vectors[1]).norm(), "tv/dot": vectors[0].dot(vectors[1])}
    for name, value in found.items():
        if name in case.outputs():
            case.close(torch.tensor([value]), name, atol=1e-3, rtol=1e-3)
            known.add(name)
    unknown = case.outputs().keys() - known
    assert not unknown, f"outputs that the adapter does not know: {sorted(unknown)}"
