r"""Subnetwork probing: a gate for every node, learnt so that few are open and the metric stays.

Gates are drawn from the hard-concrete distribution: with u uniform, temperature β = 2/3 and the stretch (γ, ζ) = (-0.1, 1.1),

.. math:: g = \mathrm{clip}\bigl(\sigma\bigl((\log u - \log(1 - u) + \alpha)/\beta\bigr)(\zeta - \gamma) + \gamma,\, 0, 1\bigr), \qquad
    P(g > 0) = \sigma\bigl(\alpha - \beta \log(-\gamma/\zeta)\bigr),

and α is trained, by Adam, on minus the metric (or on the divergence from the whole model) plus λ times the expected share of open gates. A closed gate puts the node's values on the negative in place. The score of a node is P(g > 0).

Sources: Cao et al., Low-Complexity Probing via Finding Subnetworks (NAACL 2021); Louizos et al., Learning Sparse Neural Networks through L0 Regularization (ICLR 2018); with patched values, Conmy et al. (2023).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.analyze.edge_pruning import DIVERGENCES
from ordinate.analyze.head_outputs import HeadedModel
from ordinate.analyze.head_patching import check_aligned, gated, values_of
from ordinate.data.contrasts import Contrast
from ordinate.ground.errors import choose
from ordinate.train.fit import Batch, fit
from ordinate.train.recipe import Recipe

__all__ = ["HardConcrete", "subnetwork_probing"]

_TEMPERATURE, _LOW, _HIGH = 2 / 3, -0.1, 1.1
_OPEN_AT_FIRST = 0.9


class HardConcrete(nn.Module):
    """Random gates in [0, 1], with some mass on either end."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """
        Args:
            shape: of the gates; each is open with probability 0.9 at first.
        """
        super().__init__()
        logit = math.log(_OPEN_AT_FIRST / (1 - _OPEN_AT_FIRST)) + _TEMPERATURE * math.log(-_LOW / _HIGH)
        self.alpha = nn.Parameter(torch.full(shape, logit))

    def forward(self) -> Float[Tensor, "*shape"]:
        """A draw."""
        u = torch.rand_like(self.alpha).clamp(1e-6, 1 - 1e-6)
        return (((u.logit() + self.alpha) / _TEMPERATURE).sigmoid() * (_HIGH - _LOW) + _LOW).clamp(0, 1)

    def open_probability(self) -> Float[Tensor, "*shape"]:
        """P(g > 0)."""
        return (self.alpha - _TEMPERATURE * math.log(-_LOW / _HIGH)).sigmoid()


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Within the ``with``, no parameter of the model needs a gradient."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def subnetwork_probing(
    headed: HeadedModel,
    contrast: Contrast,
    *,
    steps: int = 100,
    lr: float = 0.1,
    l0: float = 1.0,
    divergence: str = "kl",
    seed: int = 0,
) -> Float[Tensor, "layers columns"]:
    """How likely every node's gate is open after training.

    Args:
        headed: the model; its weights stay as they are.
        contrast: positives with their negatives, all of them at every step.
        steps: of Adam.
        lr: the constant learning rate.
        l0: λ, the weight of the expected share of open gates.
        divergence: ``"kl"`` from the whole model, or ``"loss"``, minus the metric.
        seed: of the draws.

    Raises:
        InputError: an unknown divergence, prompts that differ in length from their negatives, or do not fit the model.
    """
    choose("divergence", divergence, DIVERGENCES)
    check_aligned(contrast)
    headed.check(contrast.positives)
    values = values_of(headed, contrast.negatives)
    with torch.no_grad():
        whole = headed.last_logits(contrast.positives).log_softmax(dim=1)

    gates = HardConcrete(headed.shape)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        with gated(headed, gates(), values):
            logits = headed.last_logits(contrast.positives)
        if divergence == "kl":
            far = F.kl_div(logits.log_softmax(dim=1), whole, reduction="batchmean", log_target=True)
        else:
            far = -contrast.preference(logits).mean()
        return far + l0 * gates.open_probability().mean()

    def nothing(step: int, rank: int = 0, world: int = 1) -> Batch:
        return {}

    with _frozen(headed.model):
        fit(gates, loss, nothing, Recipe(steps=steps, lr=lr, schedule="constant"), seed=seed)
    return gates.open_probability().detach()
