"""Versions of one embedding model that serve one gallery, which is embedded once: updates of the model that serves, and replacements by models that were trained elsewhere against the same prototypes.

What lets a newcomer's queries meet the old gallery is agreed on before any training: the table of class directions, and the row of each class. A model that was trained against another table, or with a class in another row, is
refused. Rows that come later are embedded by whichever version serves then, and stand in the same gallery.

Source: Biondi et al., "Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model Replacements", 2024.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.analyze.compatibility import class_templates
from ordinate.ground.errors import InputError
from ordinate.nn.class_allocator import ClassAllocator
from ordinate.nn.fixed_simplex_head import FixedSimplexHead
from ordinate.objectives.stationary import FrozenEmbedding

__all__ = ["ModelSequence", "StationaryModel", "cards_differ"]

_AT_ONCE = 512


@dataclass(frozen=True)
class StationaryModel:
    """A model with what it shares with the other versions.

    Attributes:
        model: with `embed`, images (B, C, H, W) to embeddings (B, d).
        head: the table it was trained against, with the junction from d to K - 1 where there is one.
        allocator: the rows of the classes by their names.

    Raises:
        InputError: the allocator is of a table of another size.
    """

    model: nn.Module
    head: FixedSimplexHead
    allocator: ClassAllocator

    def __post_init__(self) -> None:
        if self.allocator.size != self.head.classes:
            raise InputError(f"the classes' rows are of a table of {self.allocator.size}, and the head has {self.head.classes}")

    def differs(self, other: "StationaryModel") -> str | None:
        """What keeps the two from sharing a space, in one line; None where nothing does."""
        found = self.allocator.differs(other.allocator)
        if found is None and not torch.equal(self.head.prototypes, other.head.prototypes):
            found = "tables of prototypes that are turned differently"
        return found


def cards_differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """What keeps two training runs from sharing a space, in one line, out of their cards (`run.json`): another table of prototypes, other nested sizes, or a class in another row. None where nothing does.

    Raises:
        InputError: a run that was not trained on stationary features.
    """
    for which, card in (("old", old), ("new", new)):
        if "prototypes" not in card.get("agreed", {}):
            raise InputError(
                f"the {which} run was trained on {card.get('objective')}, and shares no class directions: train it with --objective stationary"
            )
    before, after = old["agreed"], new["agreed"]
    found = _places(old).differs(_places(new))
    if found is None and before["prototypes"] != after["prototypes"]:
        found = "tables of prototypes that are turned differently"
    if found is None and before["dims"] != after["dims"]:
        found = f"nested sizes {before['dims']} and {after['dims']}"
    return found


def _places(card: Mapping[str, Any]) -> ClassAllocator:
    """The rows of a run's classes by their names."""
    agreed = card["agreed"]
    return ClassAllocator(agreed["classes"], dict(zip(card["input"]["classes"], agreed["places"], strict=True)))


class ModelSequence:
    """A gallery and the models that have served it.

    Attributes:
        versions: what came in which way, oldest first: ``"first"``, ``"update"`` or ``"replacement"``.
        gallery: (N, K - 1) float32, unit rows, on the CPU; those of the first version and of whatever was added since, none embedded twice.
        labels: (N,) int64.
    """

    def __init__(
        self, first: StationaryModel, images: Float[Tensor, "rows channels height width"], labels: Int[Tensor, " labelled"]
    ) -> None:
        """
        Args:
            first: the model that serves first.
            images: of the gallery.
            labels: of the images, any integers.

        Raises:
            InputError: no images, or another number of labels.
        """
        self.current = first
        self.versions = ["first"]
        self.gallery = torch.zeros(0, first.head.width)
        self.labels = torch.zeros(0, dtype=torch.int64)
        self.add(images, labels)

    def __len__(self) -> int:
        return len(self.versions)

    def embed(self, images: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows features"]:
        """Unit stationary features of the model that serves, on the CPU."""
        frozen = self.teacher()
        return torch.cat([F.normalize(frozen(part).float(), dim=1).cpu() for part in images.split(_AT_ONCE)])

    def teacher(self) -> FrozenEmbedding:
        """A frozen copy of the model that serves: the previous version, for the objective of the next one. After a replacement that is the replacement itself."""
        return FrozenEmbedding(self.current.model, self.current.head)

    def add(self, images: Float[Tensor, "rows channels height width"], labels: Int[Tensor, " labelled"]) -> None:
        """Put new rows into the gallery, embedded by the model that serves.

        Raises:
            InputError: no images, or another number of labels.
        """
        if not len(images) or len(images) != len(labels):
            raise InputError(f"a gallery takes images with a label each, at least one: {len(images)} images, {len(labels)} labels")
        self.gallery = torch.cat([self.gallery, self.embed(images)])
        self.labels = torch.cat([self.labels, labels.long().cpu()])

    def update(
        self,
        model: StationaryModel,
        images: Float[Tensor, "rows channels height width"] | None = None,
        labels: Int[Tensor, " labelled"] | None = None,
    ) -> None:
        """Let the next version serve, fine-tuned from the one that serves now, with new rows for the gallery where it has any.

        Raises:
            InputError: the model differs in the table or in a class's row, or images come without labels. Nothing has changed then.
        """
        if (images is None) != (labels is None):
            raise InputError("new rows of the gallery are images with labels: give both or neither")
        self._take(model, "update")
        if images is not None and labels is not None:
            self.add(images, labels)

    def replace(self, model: StationaryModel) -> None:
        """Let a model serve that was trained elsewhere. The gallery stays as it is.

        Raises:
            InputError: the model differs in the table or in a class's row. Nothing has changed then.
        """
        self._take(model, "replacement")

    def _take(self, model: StationaryModel, how: str) -> None:
        why = self.current.differs(model)
        if why is not None:
            raise InputError(
                f"this model cannot serve the gallery: {why}. Train it against the same table, with the same rows for the classes"
            )
        self.current = model
        self.versions.append(how)

    def search(self, images: Float[Tensor, "rows channels height width"], k: int = 10) -> Int[Tensor, "rows k"]:
        """The rows (Q, k) of the gallery nearest to each query, best first, by cosine.

        Raises:
            InputError: k is not between 1 and the number of rows.
        """
        if not 1 <= k <= len(self.gallery):
            raise InputError(f"k must be between 1 and the {len(self.gallery)} rows of the gallery, not {k}")
        return (self.embed(images) @ self.gallery.t()).topk(k, dim=1).indices

    def identify(self, images: Float[Tensor, "rows channels height width"]) -> Int[Tensor, " rows"]:
        """The labels (Q,) of the nearest class templates of the gallery."""
        templates, classes = class_templates(self.gallery, self.labels)
        return classes[(self.embed(images) @ templates.t()).argmax(dim=1)]
