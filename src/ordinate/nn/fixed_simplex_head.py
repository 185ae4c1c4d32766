r"""A classifier that is not trained: logits are the inner products of the features with fixed prototypes, :math:`W f`, without bias and without temperature.

Features are not scaled to unit length before the cross-entropy: their logits would lie in [-1, 1] and training would stall. Where the backbone's width is not the prototypes', a learned linear map without bias, the junction, stands in
front.

Source: Biondi et al., "Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model Replacements", 2024; Pernici et al., "Regular Polytope Networks", 2021.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.nn.class_allocator import ClassAllocator
from ordinate.nn.simplex import check_classes, simplex_logits, simplex_prototypes, turned_prototypes

__all__ = ["FixedSimplexHead", "StationaryOutput"]


class StationaryOutput(NamedTuple):
    """Stationary features (..., K - 1) and the logits (..., K) of all prototypes."""

    features: Tensor
    logits: Tensor


class FixedSimplexHead(nn.Module):
    """Embeddings (..., d) to stationary features and logits.

    Attributes:
        classes: K.
        width: of the features, K - 1.
        turned: the seed of the orthogonal map that turned the table, or None.
        places: (C,) int64, the row of each label.
    """

    places: Tensor
    table: Tensor | None

    def __init__(self, in_dim: int, classes: int = 1024, allocator: ClassAllocator | None = None, *, turned: int | None = None) -> None:
        """
        Args:
            in_dim: d, the width of the embeddings. Where it is not K - 1, the junction is made.
            classes: K, more than will ever be used.
            allocator: label y is the y-th class that it has; None gives every label y the row K - 1 - y.
            turned: turn the table by the random orthogonal map of this seed, for nested embeddings; logits then cost a product with the table. None leaves it as it is.

        Raises:
            InputError: fewer than two classes, a width below 1, or an allocator of a table of another size.
        """
        super().__init__()
        self.classes = check_classes(classes)
        self.width = classes - 1
        if in_dim < 1:
            raise InputError(f"embeddings have at least one feature, not {in_dim}")
        if allocator is not None and allocator.size != classes:
            raise InputError(f"the allocator is of a table of {allocator.size} classes, and this one has {classes}")
        self.turned = turned
        self.junction: nn.Module = nn.Identity() if in_dim == self.width else nn.Linear(in_dim, self.width, bias=False)
        rows = reversed(range(classes)) if allocator is None else allocator.places.values()
        self.register_buffer("places", torch.tensor(list(rows), dtype=torch.int64))
        self.register_buffer("table", None if turned is None else turned_prototypes(classes, turned).float())

    @property
    def prototypes(self) -> Float[Tensor, "classes features"]:
        """The table (K, K - 1), float32, rounded to a millionth so that two machines agree on its bytes."""
        table = simplex_prototypes(self.classes, torch.float64) if self.table is None else self.table.double().cpu()
        return (table.round(decimals=6) + 0.0).float()  # no -0.0

    def targets(self, labels: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """The rows (B,) of labels (B,).

        Raises:
            InputError: a label that has no row.
        """
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.places):
            raise InputError(
                f"labels must lie between 0 and {len(self.places) - 1}, the classes that have a prototype, "
                f"and these lie between {int(labels.min())} and {int(labels.max())}"
            )
        return self.places[labels]

    def logits(self, features: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch classes"]:
        """Features (..., K - 1) to logits (..., K).

        Raises:
            InputError: features of another width.
        """
        if features.shape[-1] != self.width:
            raise InputError(f"{self.classes} prototypes take features that are {self.width} wide, not {features.shape[-1]}")
        return simplex_logits(features) if self.table is None else F.linear(features, self.table.to(features.dtype))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> StationaryOutput:
        """Embeddings (..., d) to features (..., K - 1) and logits (..., K)."""
        features = self.junction(x)
        return StationaryOutput(features, self.logits(features))
