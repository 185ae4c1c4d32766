r"""LP++: a linear probe on frozen features, blended class by class with text prototypes, without a step size to tune.

.. math:: \ell_k(x) = f(x) \cdot w_k + \alpha_k\, f(x) \cdot t_k

for unit features f and prototypes t. Weights start from the sums of each class's features. The cross-entropy of N rows has curvature at most 1/2 in the logits (Böhning, 1992), so that steps of

.. math:: \eta_W = \frac{2N}{\lambda_{\max}(F^\top F)}, \qquad \eta_\alpha = \frac{2N}{\max_k \sum_i (f_i \cdot t_k)^2}

never raise it: the data set the rates. Blending starts at the zero-shot head's scale, where the published start is 250 times the mean similarity of a class's rows to its prototype.

Sources: Huang et al., LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP (CVPR 2024), sections 3.2 and 3.3; used after aTLAS in Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic
Scaling (NeurIPS 2024), section 5.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError

__all__ = ["LPPlusPlus"]


class LPPlusPlus(nn.Module):
    """Embeddings (B, d) to logits (B, C).

    Attributes:
        weight: (C, d), the probe.
        blend: (C,), alpha.
        prototypes: (C, d), of unit length.
        losses: of the fit, before each step and after the last.
    """

    prototypes: Tensor
    weight: Tensor
    blend: Tensor

    def __init__(self, prototypes: Float[Tensor, "classes dim"], scale: float = 100.0) -> None:
        """
        Args:
            prototypes: (C, d), of any length but 0.
            scale: where alpha starts; that of the zero-shot head.
        """
        super().__init__()
        unit = F.normalize(prototypes.detach(), dim=1)
        self.register_buffer("prototypes", unit)
        self.register_buffer("weight", torch.zeros_like(unit))
        self.register_buffer("blend", torch.full((len(unit),), float(scale), dtype=unit.dtype, device=unit.device))
        self.losses: list[float] = []

    def forward(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """The logits of embeddings of any length."""
        f = F.normalize(x, dim=1)
        return f @ self.weight.T + self.blend * (f @ self.prototypes.T)

    @torch.no_grad()
    def fit(self, features: Float[Tensor, "rows dim"], labels: Int64[Tensor, " rows"], epochs: int = 300) -> "LPPlusPlus":
        """Fit probe and blending to all rows at once, each in turn.

        Args:
            features: (N, d), of a frozen encoder.
            labels: (N,), in 0 to C - 1.
            epochs: steps of each.

        Raises:
            InputError: no rows, another number of labels, a label outside the classes, or less than one epoch.
        """
        classes = len(self.prototypes)
        if epochs < 1 or not len(features) or len(features) != len(labels) or int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise InputError(f"a probe of {classes} classes needs rows with labels in 0 to {classes - 1}, and 1 epoch or more")
        f, truth = F.normalize(features, dim=1), F.one_hot(labels, classes).to(features)
        zero_shot = f @ self.prototypes.T
        self.weight.copy_(truth.T @ f)
        weight_rate = 2 * len(f) / float(torch.linalg.eigvalsh(f.T @ f)[-1])
        blend_rate = 2 * len(f) / float(zero_shot.square().sum(dim=0).max())
        self.losses = [float(F.cross_entropy(self(features), labels))]
        for _ in range(epochs):
            self.weight -= weight_rate * (self(features).softmax(dim=1) - truth).T @ f / len(f)
            self.blend -= blend_rate * ((self(features).softmax(dim=1) - truth) * zero_shot).mean(dim=0)
            self.losses.append(float(F.cross_entropy(self(features), labels)))
        return self
