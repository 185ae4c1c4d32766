"""Contrastive learning of images: encoders trained to tell two views of an image from those of others, and scored by the nearest neighbours of their embeddings. Labels serve the score alone.

Source of the recipe's shape: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations (2020): random crops, flips and colour, and a loss over the batch.
"""

import torch
from torch import Tensor, nn

from ordinate.analyze.probes import NeighbourProbe
from ordinate.data.augment import Augmentation, ColourJitter, Compose, HorizontalFlip, ResizedCrop, Views
from ordinate.data.batches import Source
from ordinate.data.images import ImageData
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Metric
from ordinate.tasks.image_classification import MIRRORED, ImageClassification

__all__ = ["TASKS", "ImageContrast"]

_AT_ONCE = 256
_NEIGHBOURS = 5
_MOST_REMEMBERED = 5_000


class ImageContrast(ImageClassification):
    """Accuracy of the nearest training images, by the cosine of their embeddings. Data, sizes and recipe are those of image classification."""

    name = "image-contrast"
    objectives = ("contrastive",)
    metrics = (Metric("knn", "%", meaning="of held-out images whose class most of their five nearest training images have"),)

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> ImageClassification:
        """On a named dataset or a folder with one subfolder a class; see :meth:`ImageClassification.from_data`."""
        task = super().from_data(data, setting, strict=strict)
        task.augment = _views(task.data)
        task.title = f"Contrastive learning on {task.data.name}"
        return task

    def score(self, model: nn.Module, device: str) -> dict[str, float]:
        """Accuracy (%) of a vote of the five nearest among at most 5,000 training images."""
        remembered = torch.arange(min(len(self.data.train), _MOST_REMEMBERED))
        z, labels = _embed(model, self.data.train, remembered, device)
        tested, truth = _embed(model, self.data.test, self.tested, device)
        found = NeighbourProbe(_NEIGHBOURS).fit(z, labels).predict(tested)
        return {"knn": 100 * float((torch.as_tensor(found) == truth).double().mean())}


def _views(data: ImageData) -> Augmentation:
    changes: list[Augmentation] = [ResizedCrop((0.4, 1.0))]
    if data.name in MIRRORED:
        changes.append(HorizontalFlip())
    if data.shape[0] == 3:
        changes.append(ColourJitter(mean=data.mean, std=data.std))
    return Views(query=Compose(*changes), key=Compose(*changes))


def _embed(model: nn.Module, source: Source, rows: Tensor, device: str) -> tuple[Tensor, Tensor]:
    batches = [source.take(part) for part in rows.split(_AT_ONCE)]
    vectors = [model.embed(batch["image"].to(device)).float().cpu() for batch in batches]  # type: ignore[operator]
    return torch.cat(vectors), torch.cat([batch["label"] for batch in batches])


TASKS = {ImageContrast.name: ImageContrast}
