"""Task addition: one model for many tasks, by composing the vectors of all of them.

Source: Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), section 4.2 and appendix C.2.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from ordinate.adapt.coefficient_learning import CoefficientPenalty, Learned, TaskData, accuracy, keep_best
from ordinate.data.task_mix import TaskMix
from ordinate.ground.errors import InputError
from ordinate.objectives.base import Objective
from ordinate.objectives.routed_classification import RoutedClassification
from ordinate.train.recipe import Recipe

__all__ = ["learn_addition", "normalised_accuracy"]


def normalised_accuracy(references: Mapping[str, float], tasks: Sequence[TaskData], device: str = "cpu") -> Callable[[nn.Module], float]:
    """A score of encoders: the mean over tasks of the accuracy on their check rows over a reference's, usually the task's own fine-tuned model's.

    Raises:
        InputError: a task without a positive reference.
    """
    lacking = [task.name for task in tasks if references.get(task.name, 0.0) <= 0]
    if lacking:
        raise InputError(f"task {lacking[0]!r} has no reference accuracy above 0")
    return lambda model: sum(accuracy(model, task.head, task.check, device) / references[task.name] for task in tasks) / len(tasks)


def learn_addition(
    model: nn.Module,
    tasks: Sequence[TaskData],
    references: Mapping[str, float],
    *,
    epochs: int = 20,
    batch_size: int = 128,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    gamma: float = 0.0,
    p: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
) -> Learned:
    """Learn coefficients for the sum of all tasks' cross-entropies, each row under its own task's head; the epoch of the best mean normalised accuracy is kept.

    Args:
        model: a composition of all tasks' vectors; or any encoder, of which whatever requires a gradient is trained.
        tasks: all tasks; the smallest defines an epoch.
        references: the accuracy of each task's fine-tuned model on its check rows, by name.
        epochs, batch_size, lr, weight_decay: AdamW without a schedule; batches are cut to a multiple of the number of tasks.
        gamma, p: of a penalty on the coefficients, see :class:`ordinate.adapt.coefficient_learning.CoefficientPenalty`; 0 is none.
        seed: of the order of rows.
        device: to learn on.

    Raises:
        InputError: no tasks, a task without reference, or nothing to train.
    """
    score = normalised_accuracy(references, tasks, device)
    batches = TaskMix([task.learn for task in tasks], max(1, batch_size // len(tasks)) * len(tasks), seed)
    objective: Objective = RoutedClassification([task.head for task in tasks])
    if gamma:
        objective = CoefficientPenalty(objective, gamma, p)
    recipe = Recipe(steps=epochs * batches.epoch, lr=lr, weight_decay=weight_decay, schedule="cosine", clip=1.0)
    return keep_best(model, objective, batches, recipe, score=score, every=batches.epoch, seed=seed, device=device)
