r"""Linearised models: a network replaced by its first-order expansion around its weights.

.. math:: g(x; \theta) = f(x; \theta_0) + J_\theta f(x; \theta_0)\,(\theta - \theta_0)

by one Jacobian-vector product, about twice the work of a forward pass. Fine-tuning g instead of f gives task vectors that disturb each other less.

Sources: Ortiz-Jimenez, Favero and Frossard, Task Arithmetic in the Tangent Space (NeurIPS 2023), equation 4; Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from ordinate.adapt.task_vector import TaskVector

__all__ = ["LinearisedModel", "expanded"]


def expanded(model: nn.Module, shift: Mapping[str, Tensor], *inputs: Any, **options: Any) -> Any:
    """The expansion of `model` around its own weights, at weights that are `shift` away.

    Args:
        model: f at theta_0; its output is a tensor.
        shift: theta - theta_0 by the names of parameters, each of its parameter's shape and dtype; 0 for those that are left out. Gradients flow to it.
        inputs, options: of the model.
    """
    parameters = dict(model.named_parameters())
    origin = {name: parameters[name].detach() for name in shift}
    with _plain_attention():
        found = jvp(lambda theta: functional_call(model, theta, inputs, options), (origin,), (dict(shift),))
    return found[0] + found[1]


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Without fused kernels of attention, which have no forward-mode derivative."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class LinearisedModel(nn.Module):
    """A model to be fine-tuned as its own expansion.

    Attributes:
        origin: f at theta_0, frozen.
        model: holds theta, which is trained; its forward pass is not used.
    """

    def __init__(self, model: nn.Module) -> None:
        """
        Args:
            model: f at theta_0; it is copied.
        """
        super().__init__()
        self.origin = deepcopy(model).requires_grad_(False)
        self.model = deepcopy(model)

    def shift(self) -> dict[str, Tensor]:
        """theta - theta_0, by the names of the parameters."""
        origin = dict(self.origin.named_parameters())
        return {name: parameter - origin[name] for name, parameter in self.model.named_parameters()}

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """g, on the inputs of f."""
        return expanded(self.origin, self.shift(), *inputs, **options)

    def task_vector(self) -> TaskVector:
        """theta - theta_0 as it stands."""
        return TaskVector({name: change.detach() for name, change in self.shift().items()})
