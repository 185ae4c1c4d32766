"""A small architecture and vectors of it."""

import torch
from torch import Tensor, nn

from ordinate.adapt.coefficient_learning import TaskData
from ordinate.adapt.task_vector import TaskBank, TaskVector
from ordinate.data.batches import TensorSource
from ordinate.nn.prototype_head import PrototypeHead


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 3))


def bank_of(model: nn.Module, count: int = 3, size: float = 0.3) -> TaskBank:
    theta0 = model.state_dict()
    return TaskBank(
        {
            f"task {number}": TaskVector(
                {name: size * torch.randn_like(entry) for name, entry in theta0.items() if entry.is_floating_point()}
            )
            for number in range(count)
        }
    )


def clusters(rows: int = 60, classes: int = 3, shift: float = 0.0) -> TensorSource:
    """Points (rows, 4) about one centre a class."""
    labels = torch.arange(rows) % classes
    centres = 2 * torch.eye(4)[:classes] + shift
    return TensorSource(image=centres[labels] + 0.2 * torch.randn(rows, 4), label=labels)


def head_of(classes: int = 3) -> PrototypeHead:
    return PrototypeHead(torch.eye(3)[:classes], 10.0)


def task_of(name: str, shift: float = 0.0) -> TaskData:
    return TaskData(name, clusters(shift=shift), clusters(30, shift=shift), head_of())


def set_coefficients(composed: nn.Module, values: Tensor | float) -> None:
    with torch.no_grad():
        composed.coef.copy_(torch.as_tensor(values).expand_as(composed.coef))
