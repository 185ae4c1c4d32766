r"""The cosine head: logits that hear the direction of an embedding and not its length.

.. math:: \ell_k(x) = s\, g_k\, \frac{v_k}{\lVert v_k \rVert} \cdot \frac{x}{\lVert x \rVert + 10^{-5}}

with a learnable length :math:`g_k` a class (weight normalisation over the rows) and a fixed scale s: 2 for up to 200 classes, 10 for more. It is the head of BASELINE++ for few-shot classification.

Sources: Chen et al., "A Closer Look at Few-shot Classification", 2019, section 3.2; with concatenated and distilled representations: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError

__all__ = ["CosineHead", "cosine_logits", "cosine_scale"]

_TINY = 1e-5


def cosine_scale(classes: int) -> float:
    """The scale for a number of classes: 2 up to 200, 10 beyond."""
    return 2.0 if classes <= 200 else 10.0


def cosine_logits(
    x: Float[Tensor, "*heads batch dim"],
    direction: Float[Tensor, "*heads classes dim"],
    length: Float[Tensor, "*heads classes 1"],
    scale: float,
) -> Float[Tensor, "*heads batch classes"]:
    """The logits of one head, or of many heads at once.

    Args:
        x: (..., B, d) embeddings.
        direction: (..., C, d), the rows v.
        length: (..., C, 1), the lengths g.
        scale: s.
    """
    weight = length * direction / direction.norm(dim=-1, keepdim=True)
    return scale * (x / (x.norm(dim=-1, keepdim=True) + _TINY)) @ weight.mT


class CosineHead(nn.Module):
    """Embeddings (B, d) to logits (B, C).

    Attributes:
        weight_v: (C, d), directions.
        weight_g: (C, 1), lengths.
    """

    def __init__(self, dim: int, classes: int, scale: float | None = None, *, use_bn: bool = False) -> None:
        """
        Args:
            dim: d.
            classes: C.
            scale: s; None is that of :func:`cosine_scale`.
            use_bn: normalise the embedding's dimensions over the batch first.

        Raises:
            InputError: a width or number of classes below 1, or a scale that is not positive.
        """
        super().__init__()
        if min(dim, classes) < 1:
            raise InputError(f"a cosine head has at least one dimension and one class, not {dim} and {classes}")
        self.scale = cosine_scale(classes) if scale is None else scale
        if self.scale <= 0:
            raise InputError(f"the scale of a cosine head is positive, not {scale}")
        self.bn = nn.BatchNorm1d(dim) if use_bn else nn.Identity()
        self.weight_v = nn.Parameter(nn.Linear(dim, classes, bias=False).weight.detach().clone())
        self.weight_g = nn.Parameter(self.weight_v.detach().norm(dim=1, keepdim=True))

    def forward(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """The logits.

        Raises:
            InputError: embeddings of another width.
        """
        if x.ndim != 2 or x.shape[1] != self.weight_v.shape[1]:
            raise InputError(f"this head reads embeddings (batch, {self.weight_v.shape[1]}), not {tuple(x.shape)}")
        return cosine_logits(self.bn(x), self.weight_v, self.weight_g, self.scale)

    @torch.no_grad()
    def rows(self) -> Float[Tensor, "classes dim"]:
        """The weights (C, d) that multiply a unit embedding, scale included."""
        return self.scale * self.weight_g * self.weight_v / self.weight_v.norm(dim=1, keepdim=True)
