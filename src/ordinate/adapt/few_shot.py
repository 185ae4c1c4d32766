"""Few-shot adaptation: coefficients on other tasks' vectors, learned from a few labelled examples of a new one.

Source: Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), section 5 and appendix C.3.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.adapt.coefficient_learning import Learned, TaskData, accuracy, keep_best
from ordinate.data.augment import Augmentation
from ordinate.data.batches import Batch, Shuffled
from ordinate.ground.errors import InputError
from ordinate.train.recipe import Recipe

__all__ = ["LEAST_STEPS", "learn_few_shot"]

LEAST_STEPS = 10
"""Steps of an epoch, however few the examples are: they are repeated."""


def learn_few_shot(
    model: nn.Module,
    task: TaskData,
    *,
    epochs: int = 10,
    batch_size: int = 128,
    lr: float = 0.1,
    weight_decay: float = 0.1,
    augment: Augmentation | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Learned:
    """Learn coefficients by cross-entropy on a task's few rows; the best epoch by the check rows is kept, the start included.

    Args:
        model: a composition of other tasks' vectors; or any encoder, of which whatever requires a gradient is trained.
        task: `learn` holds the few rows.
        epochs: of at least `LEAST_STEPS` steps; 30 for convolutional networks in the paper.
        batch_size: rows a step; at most as many as there are.
        lr, weight_decay: of AdamW with a cosine schedule.
        augment: of the few rows; crops of half the area and more, and flips where classes allow them, in the paper.
        seed: of the order of rows and their augmentation.
        device: to learn on.

    Raises:
        InputError: no rows, or nothing to train.
    """
    if not len(task.learn):
        raise InputError(f"task {task.name!r} has no rows to learn from")
    size = min(batch_size, len(task.learn))
    every = max(LEAST_STEPS, len(task.learn) // size)
    task.head.requires_grad_(False).to(device)

    def objective(judged: nn.Module, batch: Batch) -> Tensor:
        return F.cross_entropy(task.head(judged(batch["image"])), batch["label"])

    return keep_best(
        model,
        objective,
        Shuffled(task.learn, size, seed, augment),
        Recipe(steps=epochs * every, lr=lr, weight_decay=weight_decay, schedule="cosine", clip=1.0),
        score=lambda judged: accuracy(judged, task.head, task.check, device),
        every=every,
        seed=seed,
        device=device,
    )
