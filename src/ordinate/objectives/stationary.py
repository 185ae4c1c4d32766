r"""Stationary features: every version of a model is trained against the same fixed class directions, so that features of one class stay where they were.

The cross-entropy is of logits :math:`W f` with the vertices W of a regular simplex (see `ordinate.nn.simplex`), which are not trained. It brings the mean of each class to its direction: the first order. For an update of a model
that serves already, a contrastive term against the previous version keeps what the mean does not say, *higher-order compatibility* (HOC). With unit features of the old and the new model, labels y and a scale :math:`\mu`,

.. math:: S_{ij} = \mu\, f^{old}_i \cdot f^{new}_j, \qquad
          \mathcal L_{HOC} = \frac1B \sum_i \Bigl[-S_{ii} + \log \sum_{j : y_j \ne y_i} e^{S_{ij}}\Bigr], \qquad
          \mathcal L = \lambda\,\mathcal L_{CE} + (1 - \lambda)\,\mathcal L_{HOC}.

The released code multiplies the entries of the same class by 0 instead of leaving them out of the sum, so that each adds :math:`e^0 = 1` to it: ``same_class="zero"``. ``"exclude"`` is the formula.

Nested, each prefix of the features is trained against the directions that a randomly turned table has in it, and the losses are added, as in `ordinate.objectives.matryoshka`: an extension that the paper does not have.

Source: Biondi et al., "Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model Replacements", 2024, equation 3, and its code.
"""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.ground.hashes import hash_tensors
from ordinate.nn.fixed_simplex_head import FixedSimplexHead
from ordinate.nn.nested_head import complete_dims
from ordinate.nn.simplex import prefix_prototypes
from ordinate.objectives.base import Objective
from ordinate.objectives.matryoshka import MatryoshkaLoss

__all__ = ["OBJECTIVES", "FrozenEmbedding", "HOCLoss", "Stationary"]


class HOCLoss(nn.Module):
    """The contrastive term between the features of two versions of a model."""

    def __init__(self, mu: float = 10.0, *, same_class: str = "zero") -> None:
        """
        Args:
            mu: scales the cosines.
            same_class: what pairs of one class are in the sum: ``"zero"``, a similarity of 0, as in the released code, or ``"exclude"``.

        Raises:
            InputError: a scale that is not positive, or an unknown treatment.
        """
        super().__init__()
        if not 0 < mu < math.inf:
            raise InputError(f"mu must be positive, not {mu}")
        self.mu = mu
        self.same_class = choose("treatment of the same class", same_class, ("zero", "exclude"))

    def forward(
        self, new: Float[Tensor, "batch features"], old: Float[Tensor, "rows width"], labels: Int[Tensor, " labelled"]
    ) -> Float[Tensor, ""]:
        """The loss of B inputs.

        Args:
            new: (B, d), the features that are trained; they are scaled to unit length here.
            old: (B, d), the previous model's, of the same inputs.
            labels: (B,).

        Raises:
            InputError: shapes that do not fit; or, with ``"exclude"``, a batch of one class, in which nothing is contrasted.
        """
        if new.shape != old.shape or len(labels) != len(new) or not len(new):
            raise InputError(
                f"two models' features of one batch and its labels are needed, not {tuple(new.shape)}, {tuple(old.shape)} and {tuple(labels.shape)}"
            )
        scores = self.mu * F.normalize(old, dim=1) @ F.normalize(new, dim=1).t()
        same = labels[:, None] == labels
        positive = scores.diagonal()
        if self.same_class == "zero":
            return (scores.masked_fill(same, 0.0).logsumexp(dim=1) - positive).mean()
        if bool(same.all()):
            raise InputError(
                "the batch holds one class, and nothing is contrasted: mix classes in it, with exemplars of earlier ones for instance"
            )
        return (scores.masked_fill(same, -math.inf).logsumexp(dim=1) - positive).mean()


class FrozenEmbedding:
    """A copy of a model that is not trained any more: images (B, C, H, W) to its stationary features (B, K - 1), in evaluation mode and without gradients. It is no module, so that it is neither trained nor saved with an objective."""

    def __init__(self, model: nn.Module, head: FixedSimplexHead | None = None) -> None:
        """
        Args:
            model: with `embed`, copied as it is now.
            head: whose junction stands behind the model; None where the model's embedding is the features.
        """
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.junction = deepcopy(head.junction).eval().requires_grad_(False) if head is not None else nn.Identity()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """The features, on the device of the images."""
        self.model.to(images.device)
        return self.junction.to(images.device)(self.model.embed(images))  # type: ignore[operator]


class Stationary(Objective):
    """Cross-entropy against fixed prototypes of a model's embedding, and, with a previous model, the contrastive term.

    Attributes:
        head: the prototypes, the places of the classes and, where the embedding has another width, the junction.
        dims: the sizes of a nested embedding, ascending, the last K - 1; None where it is not nested.
    """

    def __init__(
        self,
        head: FixedSimplexHead,
        *,
        previous: Callable[[Tensor], Tensor] | None = None,
        lambda_: float = 0.1,
        hoc: HOCLoss | None = None,
        dims: Sequence[int] | None = None,
        weights: str | Sequence[float] | None = None,
    ) -> None:
        """
        Args:
            head: of K classes; for a nested embedding one that is turned.
            previous: images to the previous version's stationary features, without gradient (see `FrozenEmbedding`); None leaves the cross-entropy alone.
            lambda_: the weight of the cross-entropy, in [0, 1], where there is a previous model; the contrastive term has the rest.
            hoc: the contrastive term; None is `HOCLoss()`.
            dims: the sizes of a nested embedding, ascending.
            weights: of the sizes; see `ordinate.objectives.matryoshka.check_weights`.

        Raises:
            InputError: a weight outside [0, 1], sizes that are no nesting of K - 1, sizes with a table that is not turned, or weights without sizes.
        """
        super().__init__()
        if not 0 <= lambda_ <= 1:
            raise InputError(f"lambda lies between 0 and 1, not {lambda_}")
        if dims is None and weights is not None:
            raise InputError("weights are of the sizes of a nested embedding: give its sizes too")
        if dims is not None and head.table is None:
            raise InputError("the first features of a plain simplex tell few classes apart: a nested embedding needs a head that is turned")
        self.head = head
        self.previous = previous
        self.lambda_ = lambda_
        self.hoc = hoc or HOCLoss()
        self.dims = None if dims is None else complete_dims(dims, head.width)
        self.nested: MatryoshkaLoss | None = None
        if self.dims is not None:
            self.nested = MatryoshkaLoss(self._loss, self.dims, weights)

    @classmethod
    def for_model(
        cls,
        model: nn.Module,
        *,
        classes: int | None = None,
        allocation: str = "back",
        dims: Sequence[int] | None = None,
        matryoshka: Sequence[int] | None = None,
        turned: int = 0,
        weights: str | Sequence[float] | None = None,
        previous: nn.Module | None = None,
        lambda_: float = 0.1,
        mu: float = 10.0,
        same_class: str = "zero",
    ) -> "Stationary":
        """For a vision encoder whose embedding is to be the stationary features; its own head becomes the prototypes of its classes, frozen, so that it classifies by itself after training.

        Args:
            model: what is trained.
            classes: K, more than will ever be used; None is the embedding's width plus one. The embedding must be K - 1 wide: where the encoder has no argument for it, the model `projected` adds a linear map.
            allocation: the label y has the row K - 1 - y (``"back"``) or y (``"front"``).
            dims, matryoshka: sizes of a nested embedding, ascending, under either name; the width is added to them.
            turned: the seed of the map that turns the table of a nested embedding.
            weights: of the sizes.
            previous: the version that serves now, of the same table and classes.
            lambda_, mu, same_class: of the contrastive term; see the constructor and `HOCLoss`.

        Raises:
            InputError: the model is no vision encoder, its width is not K - 1, or it has more classes than K.
        """
        width = getattr(model, "num_features", None)
        if width is None or not callable(getattr(model, "embed", None)):
            raise InputError(f"stationary features are those of a vision encoder, and {type(model).__name__} is not one")
        count = int(width) + 1 if classes is None else classes
        if count - 1 != width:
            raise InputError(
                f"{count} classes need an embedding that is {count - 1} wide, and this one is {width}: set num_features={count - 1}, "
                f"or, where {type(model).__name__} has no such argument, train the model projected with encoder=... and num_features={count - 1}"
            )
        known = int(getattr(model, "num_classes", 0))
        if known > count:
            raise InputError(f"{known} classes are more than the {count} prototypes: take a wider embedding")
        if dims is not None and matryoshka is not None:
            raise InputError("dims and matryoshka are two names of the same sizes: give one")
        sizes = dims if dims is not None else matryoshka
        head = FixedSimplexHead(count - 1, count, turned=None if sizes is None else turned)
        rows = torch.arange(count) if choose("allocation", allocation, ("back", "front")) == "front" else torch.arange(count).flip(0)
        head.places = rows[: known or count]
        _freeze_head(model, head)
        frozen = None if previous is None else FrozenEmbedding(previous)
        hoc = HOCLoss(mu, same_class=same_class)
        return cls(head, previous=frozen, lambda_=lambda_, hoc=hoc, dims=sizes, weights=weights)

    @property
    def prototypes(self) -> Float[Tensor, "classes features"]:
        """The table (K, K - 1) that every version must share."""
        return self.head.prototypes

    def card(self) -> dict[str, Any]:
        """What other versions must share, for a run's card: K, a hash of the table, the row of each label, and the sizes of a nested embedding."""
        return {
            "classes": self.head.classes,
            "prototypes": hash_tensors([("prototypes", self.prototypes)]),
            "places": self.head.places.tolist(),
            "dims": None if self.dims is None else list(self.dims),
        }

    def represent(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch features"]:
        """A model's embeddings (B, d) to stationary features (B, K - 1): through the junction, where there is one."""
        return self.head.junction(z)

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of the batch's `image` (B, C, H, W) and `label` (B,) int64.

        Raises:
            InputError: a label that has no prototype, or features of the previous model in another space.
        """
        labels = batch["label"]
        features = self.represent(model.embed(batch["image"]))  # type: ignore[operator]
        old = None if self.previous is None else self.previous(batch["image"])
        if old is not None and old.shape != features.shape:
            raise InputError(
                f"the previous model's features are {old.shape[1]} wide, and this one's {features.shape[1]}: they share no space"
            )
        if self.nested is None:
            return self._loss(features, old, labels)
        return self.nested(features, old, labels).total

    def _loss(self, features: Tensor, old: Tensor | None, labels: Tensor) -> Tensor:
        targets = self.head.targets(labels)
        size = features.shape[1]
        if size == self.head.width:
            logits = self.head.logits(features)
        else:
            logits = F.linear(features, prefix_prototypes(cast(Tensor, self.head.table).to(features.dtype), size))
        cross_entropy = F.cross_entropy(logits, targets)
        if old is None:
            return cross_entropy
        return self.lambda_ * cross_entropy + (1 - self.lambda_) * self.hoc(features, old, labels)


def _freeze_head(model: nn.Module, head: FixedSimplexHead) -> None:
    own = getattr(model, "head", None)
    if not isinstance(own, nn.Linear):
        return
    with torch.no_grad():
        own.weight.copy_(head.prototypes[head.places])
        if own.bias is not None:
            own.bias.zero_()
    own.requires_grad_(False)


OBJECTIVES = {"stationary": Stationary.for_model}
