"""Recorded outputs of the official code of stationary: prototypes, the two losses and their combination, and the metrics.

The kind of a case is told by what its constructor holds. The official average accuracy is in percent where the last row holds fractions, and leaves zeros out; the recorded matrices have none below the diagonal.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ordinate.analyze.compatibility import (
    accuracy_curve,
    average_accuracy,
    average_compatibility,
    compatibility_curve,
    identification,
    violations,
)
from ordinate.nn.fixed_simplex_head import FixedSimplexHead
from ordinate.nn.simplex import simplex_prototypes
from ordinate.objectives.stationary import HOCLoss, Stationary
from tests.parity.case import Case


def check(case: Case) -> None:
    constructor = case.meta["constructor"]
    if "preallocated_classes" in constructor:
        _check_losses(case, constructor)
    elif "steps" in constructor:
        _check_metrics(case)
    else:
        raise AssertionError(f"{case.slug}/{case.name} is of a kind that this adapter does not know: {sorted(constructor)}")


class _Backbone(nn.Module):
    """The stand-in for the backbone: linear, tanh, linear."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        first, second = state["backbone.net.0.weight"], state["backbone.net.2.weight"]
        self.net = nn.Sequential(nn.Linear(first.shape[1], len(first)), nn.Tanh(), nn.Linear(second.shape[1], len(second)))
        self.load_state_dict({key.removeprefix("backbone."): tensor for key, tensor in state.items() if key.startswith("backbone.")})

    def embed(self, x: Tensor) -> Tensor:
        return self.net(x)


def _version(state: dict[str, Tensor], classes: int) -> tuple[_Backbone, FixedSimplexHead]:
    backbone = _Backbone(state)
    head = FixedSimplexHead(len(state["backbone.net.2.weight"]), classes)
    if isinstance(head.junction, nn.Linear):
        head.junction.weight.data.copy_(state["fc1.weight"])
    return backbone, head


def _check_losses(case: Case, constructor: dict[str, Any]) -> None:
    tolerance = {"atol": case.tolerance("atol"), "rtol": case.tolerance("rtol")}
    classes, x, y = constructor["preallocated_classes"], case.input("x"), case.input("y")
    assert constructor["feat_size"] == classes - 1
    case.close(simplex_prototypes(classes), "dsimplex", **tolerance)
    (model, head), (old_model, old_head) = (_version(case.state(f"{which}/"), classes) for which in ("new", "old"))
    case.close(head.targets(y), "y_reversed")
    features, logits = head(model.embed(x))
    case.close(features, "features_new", **tolerance)
    case.close(logits, "logits_new", **tolerance)
    with torch.no_grad():
        old = old_head(old_model.embed(x)).features
    case.close(old, "features_old", **tolerance)
    hoc = HOCLoss(float(constructor["mu"]), same_class="zero")  # as the official code has it
    case.close(Stationary(head)(model, {"image": x, "label": y}).reshape(1), "loss_ce", **tolerance)
    unit = nn.functional.normalize(features.detach(), dim=1).requires_grad_()
    alone = hoc(unit, old, y)
    case.close(alone.reshape(1), "loss_hoc", **tolerance)
    loss = Stationary(head, previous=lambda images: old, lambda_=constructor["lambda_"], hoc=hoc)(model, {"image": x, "label": y})
    case.close(loss.reshape(1), "loss", **tolerance)
    loss.backward()
    for name, parameter in model.named_parameters():
        case.close(parameter.grad, f"grad/backbone.{name}", **tolerance)
    if isinstance(head.junction, nn.Linear):
        case.close(head.junction.weight.grad, "grad/fc1.weight", **tolerance)
    _check_gradient(case, unit, (1 - constructor["lambda_"]) * alone, tolerance)


def _check_gradient(case: Case, unit: Tensor, loss: Tensor, tolerance: dict[str, float]) -> None:
    """The recorded gradient is the whole loss's in unit features, which the cross-entropy does not read. It is compared after the projection that scaling to unit length is: ours scales inside."""
    (gradient,) = torch.autograd.grad(loss, unit)
    recorded = case.output("grad_features_new_normalised")
    projected = recorded - (recorded * unit).sum(dim=1, keepdim=True) * unit
    torch.testing.assert_close(gradient, projected.detach(), **tolerance)


def _check_metrics(case: Case) -> None:
    matrix, atol = case.input("matrix"), case.tolerance("atol")
    percent = 100.0 if bool((matrix[-1] < 1).all()) else 1.0
    assert bool((violations(matrix) == case.output("violation").bool().tril(-1)).all())
    case.close(torch.tensor([average_compatibility(matrix)], dtype=torch.float64), "AC", atol=atol)
    case.close(torch.tensor([percent * average_accuracy(matrix)], dtype=torch.float64), "AA", atol=atol)
    case.close(percent * torch.tensor(accuracy_curve(matrix), dtype=torch.float64), "AA_per_task", atol=atol)
    case.close(torch.tensor(compatibility_curve(matrix), dtype=torch.float64), "AC_per_task", atol=atol)
    found = identification(case.input("query"), case.input("gallery"), case.input("query_label"), case.input("gallery_label"))
    case.close(torch.tensor([found], dtype=torch.float64), "identification_top1", atol=atol)
