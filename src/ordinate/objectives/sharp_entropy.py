r"""Sharpness-aware and reliable entropy: making a model surer of unlabelled images without letting it collapse.

Rows whose entropy H is below :math:`E_0 = 0.4 \ln C` are reliable. The gradient of their mean entropy is taken not at the trained values w but at the worst point near by,

.. math:: \hat\epsilon = \rho\, \nabla_w L / \lVert \nabla_w L \rVert, \qquad L_{SAR} = L(w + \hat\epsilon),

over those of the reliable rows that are still below :math:`E_0` there. The published method besides resets a model whose loss runs to 0; that is not part of the objective.

Source: Niu et al., Towards Stable Test-Time Adaptation in Dynamic Wild World (ICLR 2023), equations 2 to 5.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from ordinate.ground.errors import InputError
from ordinate.objectives.base import Objective

__all__ = ["SharpEntropy", "entropies"]


def entropies(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """The entropy of each row's softmax, in nats."""
    log = logits.log_softmax(dim=1)
    return -(log.exp() * log).sum(dim=1)


class SharpEntropy(Objective):
    """The loss of unlabelled batches ``"image"``, for models from images to logits; its gradient in whatever of the model requires one is that at the sharp point."""

    def __init__(self, rho: float = 0.05, margin: float = 0.4) -> None:
        """
        Args:
            rho: how far the worst point is looked for; 0 is plain entropy.
            margin: a row is reliable below this fraction of ln C.

        Raises:
            InputError: a negative distance, or a margin that is not positive.
        """
        super().__init__()
        if rho < 0 or margin <= 0:
            raise InputError(f"rho is 0 or more and the margin positive, not {rho} and {margin}")
        self.rho, self.margin = rho, margin

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The mean entropy of the reliable rows at the sharp point; 0 where there are none."""
        logits = model(batch["image"])
        each = entropies(logits)
        least = self.margin * math.log(logits.shape[1])
        reliable = each.detach() < least
        mean = (each * reliable).sum() / reliable.sum().clamp(min=1)
        if self.rho == 0 or not mean.requires_grad:
            return mean
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        gradients = torch.autograd.grad(mean, list(trained.values()), allow_unused=True)
        known = [
            torch.zeros_like(value) if gradient is None else gradient for value, gradient in zip(trained.values(), gradients, strict=True)
        ]
        length = torch.stack([gradient.norm() for gradient in known]).norm().clamp(min=1e-12)
        sharp = {name: value + self.rho * gradient / length for (name, value), gradient in zip(trained.items(), known, strict=True)}
        second = entropies(functional_call(model, sharp, (batch["image"],)))
        still = reliable & (second.detach() < least)
        return (second * still).sum() / still.sum().clamp(min=1)
