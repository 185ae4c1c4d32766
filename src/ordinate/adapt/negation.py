"""Task negation: a model made bad at one task and kept good at another, with the first task's vector alone.

Source: Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), section 4.1 and appendix C.1.
"""

import warnings
from collections.abc import Callable

from torch import nn

from ordinate.adapt.coefficient_learning import Learned, TaskData, accuracy, keep_best
from ordinate.data.task_mix import TaskMix
from ordinate.ground.errors import InputError
from ordinate.objectives.routed_classification import RoutedClassification
from ordinate.train.recipe import Recipe

__all__ = ["forgetting_score", "learn_negation"]


def forgetting_score(
    model: nn.Module, target: TaskData, control: TaskData, keep: float = 0.95, device: str = "cpu"
) -> Callable[[nn.Module], float]:
    """A score of encoders: minus the accuracy on the target's check rows, and -inf where that on the control's falls below a fraction of `model`'s.

    Raises:
        InputError: a fraction outside (0, 1].
    """
    if not 0 < keep <= 1:
        raise InputError(f"the fraction of the control accuracy to keep lies in (0, 1], not {keep}")
    least = keep * accuracy(model, control.head, control.check, device)

    def score(judged: nn.Module) -> float:
        if accuracy(judged, control.head, control.check, device) < least:
            return float("-inf")
        return -accuracy(judged, target.head, target.check, device)

    return score


def learn_negation(
    model: nn.Module,
    target: TaskData,
    control: TaskData,
    *,
    epochs: int = 10,
    batch_size: int = 128,
    lr: float = 5e-3,
    weight_decay: float = 0.1,
    keep: float = 0.95,
    seed: int = 0,
    device: str = "cpu",
) -> Learned:
    """Learn coefficients that raise the target's cross-entropy and lower the control's, batches of equal size; the epoch of the lowest target accuracy is kept, among those whose control accuracy is at least `keep` of the start's.

    Args:
        model: a composition of the target's vector; or any encoder, of which whatever requires a gradient is trained.
        target, control: the two tasks.
        epochs: of the smaller of the two.
        batch_size: rows of each of the two.
        lr: the published rates are 1e-3 times 2 to 10, by task.
        weight_decay: of AdamW.
        keep: the fraction of the control accuracy.
        seed: of the order of rows.
        device: to learn on.

    Returns:
        `score` is minus the target accuracy. Where no epoch was allowed the model is as it was, with a warning.

    Raises:
        InputError: a fraction outside (0, 1], or nothing to train.
    """
    score = forgetting_score(model.to(device), target, control, keep, device)
    batches = TaskMix([target.learn, control.learn], 2 * batch_size, seed)
    objective = RoutedClassification([target.head, control.head], [-1.0, 1.0])
    recipe = Recipe(steps=epochs * batches.epoch, lr=lr, weight_decay=weight_decay, schedule="cosine", clip=1.0)
    learned = keep_best(model, objective, batches, recipe, score=score, every=batches.epoch, seed=seed, device=device)
    if all(value == float("-inf") for _, value in learned.history.curves["score"]):
        warnings.warn(f"no epoch kept {keep:.0%} of the control accuracy: the coefficients are as they were", stacklevel=2)
    return learned
