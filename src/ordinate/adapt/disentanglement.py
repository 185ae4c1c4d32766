r"""Disentanglement of composed tasks: how much another task's vector disturbs what a task's own one does.

.. math:: \xi(i, j) = \Pr_{x \in D_i}\big[\hat y(x; \theta_0 + \Lambda_i\tau_i) \ne \hat y(x; \theta_0 + \Lambda_i\tau_i + \Lambda_j\tau_j)\big]

0 on the diagonal by definition.

Sources: Ortiz-Jimenez, Favero and Frossard, Task Arithmetic in the Tangent Space (NeurIPS 2023), section 4; Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), equation 8.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.adapt.coefficient_learning import TaskData
from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.task_vector import TaskVector
from ordinate.ground.errors import InputError

__all__ = ["disentanglement_matrix"]

_AT_ONCE = 512


@torch.no_grad()
def disentanglement_matrix(
    model: nn.Module, scaled: Sequence[TaskVector], tasks: Sequence[TaskData], *, linearised: bool = False, device: str = "cpu"
) -> Float[Tensor, "tasks tasks"]:
    """The matrix of xi (n, n), float64, rows the data sets.

    Args:
        model: theta_0.
        scaled: Lambda_i tau_i, one a task: `ComposedModel.part(name)`, or alpha tau.
        tasks: in the same order; their check rows are used.
        linearised: compose the expansion of the model.
        device: to predict on.

    Raises:
        InputError: another number of vectors than of tasks.
    """
    if len(scaled) != len(tasks) or not tasks:
        raise InputError(f"there must be one scaled vector a task, not {len(scaled)} for {len(tasks)}")
    composed = ComposedModel(model, list(scaled), "scalar", linearised=linearised).to(device).eval()
    found = torch.zeros(len(tasks), len(tasks), dtype=torch.float64)
    for i, task in enumerate(tasks):
        alone = _predictions(composed, [i], task, device)
        for j in range(len(tasks)):
            if i != j:
                found[i, j] = (_predictions(composed, [i, j], task, device) != alone).double().mean()
    return found


def _predictions(composed: ComposedModel, chosen: Sequence[int], task: TaskData, device: str) -> Tensor:
    composed.coef.zero_()
    composed.coef[list(chosen)] = 1.0
    batches = (task.check.take(rows)["image"].to(device) for rows in torch.arange(len(task.check)).split(_AT_ONCE))
    return torch.cat([task.head(composed(images)).argmax(dim=1) for images in batches])
