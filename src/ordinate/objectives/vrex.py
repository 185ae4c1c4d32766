r"""Training over several environments: what is to be learnt holds in all of them, what misleads holds in some.

With the risk (mean cross-entropy) :math:`R_e` of every environment e out of E:

- `EnvironmentRisk` (ERM): :math:`\frac1E \sum_e R_e`;
- `VREx`: :math:`\frac1E \sum_e R_e + \beta\, \mathrm{Var}_e(R_e)`, the variance over the environments at hand, divided by E (Krueger et al., "Out-of-Distribution Generalization via Risk Extrapolation", 2021, equation 8);
- `IRMv1`: :math:`\frac1E \sum_e \big( R_e + \lambda\, \lVert \nabla_{w | w = 1} R_e(w \cdot f) \rVert^2 \big)` (Arjovsky et al., "Invariant Risk Minimization", 2019);
- `CLOvE`: :math:`\frac1E \sum_e ( R_e + \lambda\, M_e )`, :math:`M_e` the squared kernel calibration error of the environment,
  :math:`\frac1{m^2} \sum_{ij} (c_i - r_i)(c_j - r_j)\, e^{-|r_i - r_j| / 0.4}` over its m examples with confidence r and correctness c (Wald et al., "On Calibration and Out-of-domain Generalization", 2021; Kumar et al., 2018).

Zhang and Bottou ("Learning useful representations for shifting tasks and distributions", 2023) train heads with V-REx on frozen rich features; the other two serve in the work before it ("Rich Feature Construction", 2022).
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.objectives.base import Objective

__all__ = ["CLOvE", "EnvironmentRisk", "IRMv1", "VREx"]

_KERNEL_WIDTH = 0.4


class EnvironmentRisk(Objective):
    """The mean of the environments' risks. Reads `image` (B, ...), `label` (B,) int64 and `environment` (B,) int64; environments without a row in the batch do not count."""

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of the batch.

        Raises:
            InputError: the batch lacks one of the three, or has no rows.
        """
        lacking = [name for name in ("image", "label", "environment") if name not in batch]
        if lacking or not len(batch["label"]):
            raise InputError(
                f"training over environments reads rows of image, label and environment, and the batch lacks {', '.join(lacking) or 'rows'}"
            )
        parts = list(_by_environment(model(batch["image"]), batch["label"], batch["environment"]))
        risks = torch.stack([F.cross_entropy(logits, labels) for logits, labels in parts])
        return risks.mean() + self.penalty(risks, parts)

    def penalty(self, risks: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        """What is added to the mean of the risks (E,), given the logits and labels of every environment."""
        return risks.new_zeros(())


def _by_environment(logits: Tensor, labels: Tensor, environments: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for environment in environments.unique():
        here = environments == environment
        yield logits[here], labels[here]


class _Weighted(EnvironmentRisk):
    """With a penalty of some weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        if weight < 0:
            raise InputError(f"the weight of a penalty is 0 or more, not {weight}")
        self.weight = weight


class VREx(_Weighted):
    """The mean of the risks and their variance."""

    def __init__(self, beta: float = 10.0) -> None:
        """
        Args:
            beta: the weight of the variance; 0 is ERM.

        Raises:
            InputError: a negative weight.
        """
        super().__init__(beta)

    def penalty(self, risks: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The variance, weighed."""
        return self.weight * (risks - risks.mean()).square().mean()


class IRMv1(_Weighted):
    """The mean of the risks, and how much each would gain by scaling the logits."""

    def __init__(self, weight: float = 1.0) -> None:
        """
        Args:
            weight: of the penalty; 0 is ERM.

        Raises:
            InputError: a negative weight.
        """
        super().__init__(weight)

    def penalty(self, risks: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The squared derivatives in the scale, which for cross-entropy are the means of (p - y) · logits, weighed."""
        slopes = [((z.softmax(dim=1) - F.one_hot(y, z.shape[1])) * z).sum(dim=1).mean() for z, y in parts]
        return self.weight * torch.stack(slopes).square().mean()


class CLOvE(_Weighted):
    """The mean of the risks, and how badly each environment is calibrated."""

    def __init__(self, weight: float = 1.0) -> None:
        """
        Args:
            weight: of the penalty; 0 is ERM.

        Raises:
            InputError: a negative weight.
        """
        super().__init__(weight)

    def penalty(self, risks: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The kernel calibration errors, weighed. Correctness has no gradient."""
        errors = []
        for z, y in parts:
            confidence, predicted = z.softmax(dim=1).max(dim=1)
            miss = (predicted == y).to(confidence) - confidence
            kernel = (-(confidence[:, None] - confidence).abs() / _KERNEL_WIDTH).exp()
            errors.append(miss @ kernel @ miss / len(y) ** 2)
        return self.weight * torch.stack(errors).mean()
