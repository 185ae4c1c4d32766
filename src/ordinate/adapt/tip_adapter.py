r"""Tip-Adapter-F: a cache of few-shot features beside a zero-shot head, fine-tuned, and here trained together with the coefficients of a composition.

.. math:: \ell(x) = \ell_0(x) + \alpha \exp\!\big(-\beta\,(1 - K f(x))\big)\, Y

for unit features f, keys K that start as the training features (N, d), their one-hot labels Y, and :math:`\alpha, \beta` learned from (2, 1).

Sources: Zhang et al., Tip-Adapter (ECCV 2022), equations 3 to 6; Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), section 5 and appendix C.3. In the released code of the
latter the adapter's loop takes no backward pass, so that it stays as it began.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.adapt.coefficient_learning import Learned, TaskData, accuracy, keep_best
from ordinate.adapt.few_shot import LEAST_STEPS
from ordinate.data.augment import Augmentation
from ordinate.data.batches import Batch, Shuffled
from ordinate.ground.errors import InputError
from ordinate.train.recipe import Recipe

__all__ = ["TipAdapter", "learn_tip_adapter"]

_AT_ONCE = 512


class TipAdapter(nn.Module):
    """Embeddings (B, d) to logits (B, C).

    Attributes:
        head: the zero-shot head, frozen.
        keys: (N, d), trained.
        alpha, beta: (), trained.
        values: (N, C), one-hot.
    """

    values: Tensor

    def __init__(
        self,
        head: nn.Module,
        features: Float[Tensor, "shots dim"],
        labels: Int64[Tensor, " shots"],
        classes: int,
        alpha: float = 2.0,
        beta: float = 1.0,
    ) -> None:
        """
        Args:
            head: embeddings to logits (B, C).
            features: (N, d), of the training images; scaled to unit length.
            labels: (N,), in 0 to C - 1.
            classes: C.
            alpha, beta: where they start.

        Raises:
            InputError: no rows, another number of labels, or a label outside the classes.
        """
        super().__init__()
        if not len(features) or len(features) != len(labels) or int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise InputError(f"a cache holds one label in 0 to {classes - 1} a feature, not {len(labels)} for {len(features)}")
        self.head = head.requires_grad_(False)
        self.keys = nn.Parameter(F.normalize(features.detach(), dim=1).clone())
        self.alpha, self.beta = nn.Parameter(torch.tensor(float(alpha))), nn.Parameter(torch.tensor(float(beta)))
        self.register_buffer("values", F.one_hot(labels, classes).to(features))

    def forward(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """The logits of embeddings of any length."""
        affinity = F.normalize(x, dim=1) @ self.keys.T
        return self.head(x) + self.alpha * (-self.beta * (1 - affinity)).exp() @ self.values


def learn_tip_adapter(
    encoder: nn.Module,
    task: TaskData,
    classes: int,
    *,
    epochs: int = 20,
    batch_size: int = 128,
    lr: float = 0.1,
    keys_lr: float = 1e-3,
    weight_decay: float = 0.1,
    augment: Augmentation | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> tuple[TipAdapter, Learned]:
    """Learn a cache together with whatever of the encoder requires a gradient (nothing, for the plain adapter); the best epoch by the check rows is kept.

    Args:
        encoder: a composition, or a frozen encoder.
        task: `learn` holds the few rows.
        classes: C.
        epochs, batch_size, augment, seed, device: see :func:`ordinate.adapt.few_shot.learn_few_shot`.
        lr: of coefficients, alpha and beta.
        keys_lr: of the keys.
        weight_decay: of AdamW with a cosine schedule.

    Returns:
        The adapter, to be put behind the encoder, and what learning gave.

    Raises:
        InputError: no rows, or labels outside the classes.
    """
    if not len(task.learn):
        raise InputError(f"task {task.name!r} has no rows to learn from")
    encoder.to(device).eval()
    with torch.no_grad():
        batches = [task.learn.take(rows) for rows in torch.arange(len(task.learn)).split(_AT_ONCE)]
        features = torch.cat([encoder(batch["image"].to(device)) for batch in batches])
    adapter = TipAdapter(task.head, features, torch.cat([batch["label"] for batch in batches]).to(device), classes).to(device)
    model = nn.ModuleDict({"encoder": encoder, "adapter": adapter})
    size = min(batch_size, len(task.learn))
    every = max(LEAST_STEPS, len(task.learn) // size)

    def objective(judged: nn.Module, batch: Batch) -> Tensor:
        return F.cross_entropy(adapter(encoder(batch["image"])), batch["label"])

    learned = keep_best(
        model,
        objective,
        Shuffled(task.learn, size, seed, augment),
        Recipe(steps=epochs * every, lr=lr, weight_decay=weight_decay, schedule="cosine", clip=1.0),
        score=lambda judged: accuracy(encoder, adapter, task.check, device),
        every=every,
        seed=seed,
        device=device,
        scale=lambda name: keys_lr / lr if name == "adapter.keys" else 1.0,
    )
    return adapter, learned
