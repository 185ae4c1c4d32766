r"""A frozen head of class prototypes, as zero-shot classification by text embeddings has it:

.. math:: \ell_k(x) = s\, \frac{p_k}{\lVert p_k \rVert} \cdot \frac{x}{\lVert x \rVert}

with a scale s, 100 in CLIP. Nothing in it is trained.

Source: Radford et al., Learning Transferable Visual Models from Natural Language Supervision (ICML 2021), section 3.1.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError

__all__ = ["PrototypeHead"]


class PrototypeHead(nn.Module):
    """Embeddings (B, d) to logits (B, C).

    Attributes:
        prototypes: (C, d), of unit length.
        scale: s.
    """

    prototypes: Tensor

    def __init__(self, prototypes: Float[Tensor, "classes dim"], scale: float = 100.0) -> None:
        """
        Args:
            prototypes: (C, d), of any length but 0.
            scale: s.

        Raises:
            InputError: a prototype of length 0 or not finite, or a scale that is not positive.
        """
        super().__init__()
        norms = prototypes.norm(dim=1)
        if not bool((norms > 0).all() and torch.isfinite(norms).all()):
            raise InputError("a class prototype must be finite and differ from 0")
        if scale <= 0:
            raise InputError(f"the scale of a head is positive, not {scale}")
        self.register_buffer("prototypes", F.normalize(prototypes.detach(), dim=1))
        self.scale = scale

    def forward(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """The logits."""
        return self.scale * F.normalize(x, dim=1) @ self.prototypes.T
