r"""How good a ranking of heads is: against the heads that are known, and by what the model can do with the best of them alone.

Against the known heads: the area under the ROC curve, and at the best threshold the harmonic mean of the true positive and the true negative rate, which the official code prints as "F1", and F1 itself.

By what the model can do: of the k best heads alone, the others having a mean or the negative's values in their place, for every k from none to all. With :math:`m_k` the metric, faithfulness at k is :math:`m_k / m_S` where the metric is an
accuracy, and completeness its counterpart, with the k best put out of action; what counts is the area under the curve over k / S, beside that of random orders.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from sklearn.metrics import roc_auc_score
from torch import Tensor

from ordinate.analyze.head_outputs import HeadedModel
from ordinate.analyze.head_patching import Values, gated
from ordinate.data.contrasts import Contrast
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["CircuitScores", "area", "evaluate_circuit", "faithfulness", "random_order_area"]


@dataclass(frozen=True)
class CircuitScores:
    """How scores agree with known heads.

    Attributes:
        auc: the area under the ROC curve.
        balance: the largest harmonic mean of true positive and true negative rate over all thresholds.
        f1: the largest F1 over all thresholds.
        tpr, fpr: the ROC curve, from (0, 0) to (1, 1).
    """

    auc: float
    balance: float
    f1: float
    tpr: list[float]
    fpr: list[float]


def evaluate_circuit(scores: Float[Tensor, "layers columns"], truth: Float[Tensor, "_ _"]) -> CircuitScores:
    """Hold scores against the heads that are known.

    Args:
        scores: the higher, the more likely in the circuit.
        truth: 1 in the circuit, 0 outside.

    Raises:
        InputError: another shape, scores that are not finite, or a truth that is all one class.
    """
    if scores.shape != truth.shape:
        raise InputError(f"the truth has shape {tuple(truth.shape)}, and the scores {tuple(scores.shape)}")
    if not bool(torch.isfinite(scores).all()):
        raise InputError("scores must be finite numbers, and some are not")
    inside = truth.flatten() > 0
    if bool(inside.all()) or not bool(inside.any()):
        raise InputError(
            f"the area under the ROC curve needs heads inside and outside of the circuit, and {'all' if bool(inside.all()) else 'none'} are inside"
        )
    flat = scores.flatten().double()
    tpr, fpr = [0.0], [0.0]
    balance = f1 = 0.0
    for threshold in flat.unique().flip(0):
        chosen = flat >= threshold
        hits = float((chosen & inside).sum())
        sure, false = hits / float(inside.sum()), float((chosen & ~inside).sum()) / float((~inside).sum())
        tpr.append(sure)
        fpr.append(false)
        balance = max(balance, 2 * sure * (1 - false) / (sure + 1 - false) if sure + 1 - false else 0.0)
        f1 = max(f1, 2 * hits / float(chosen.sum() + inside.sum()))
    return CircuitScores(float(roc_auc_score(inside.numpy(), flat.numpy())), balance, f1, tpr, fpr)


@torch.no_grad()
def faithfulness(
    headed: HeadedModel,
    scores: Float[Tensor, "layers columns"],
    contrast: Contrast,
    values: Values,
    *,
    accuracy: bool = True,
    complete: bool = False,
) -> Float[Tensor, " kept"]:
    """The metric on the positives with the k best nodes alone, k = 0, ..., S.

    Args:
        headed: the model.
        scores: which nodes come first; equal ones by their place.
        contrast: whose metric it is.
        values: what the other nodes have in their place: `mean_values`, or `values_of` the negatives.
        accuracy: the share of right answers, or else the preference in nats.
        complete: the k best are put out of action instead, and the others stay.

    Raises:
        InputError: scores of another shape, or prompts that do not fit the model.
    """
    if tuple(scores.shape) != headed.shape:
        raise InputError(f"there must be a score for every node, {headed.shape}, not {tuple(scores.shape)}")
    headed.check(contrast.positives)
    order = scores.flatten().argsort(descending=True, stable=True)
    gates = torch.full((len(order),), float(complete))
    found = []
    for kept in range(len(order) + 1):
        if kept:
            gates[order[kept - 1]] = float(not complete)
        with gated(headed, gates.reshape(headed.shape), values):
            logits = headed.last_logits(contrast.positives)
        found.append(contrast.accuracy(logits) if accuracy else float(contrast.preference(logits).mean()))
    return torch.tensor(found)


def random_order_area(
    headed: HeadedModel, contrast: Contrast, values: Values, *, orders: int = 10, accuracy: bool = True, seed: int = 0
) -> float:
    """The mean area under `faithfulness` of random orders of the nodes."""
    draws = generator(seed, "orders")
    areas = [
        float(area(faithfulness(headed, torch.rand(headed.shape, generator=draws), contrast, values, accuracy=accuracy)))
        for _ in range(orders)
    ]
    return math.fsum(areas) / len(areas)


def area(curve: Float[Tensor, " points"], at: Float[Tensor, " points"] | None = None) -> float:
    """The area under a curve over steps from 0 to 1, at the places `at` or, where they are not given, equal ones."""
    if at is not None:
        return float(torch.trapezoid(curve.double(), at.double()))
    return float(torch.trapezoid(curve.double(), dx=1 / (len(curve) - 1)))
