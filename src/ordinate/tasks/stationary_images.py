"""Stationary features of labelled images: a network trained against fixed class directions, judged as a classifier and as what a service with a gallery would see.

The network's own head holds the directions of its classes and is not trained. Beside its accuracy stands the rate at which held-out images are identified in a gallery of training images, by the mean feature of each class.
"""

import torch
from torch import Tensor, nn

from ordinate.analyze.compatibility import identification
from ordinate.data.batches import Source
from ordinate.experiment.task import Metric
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.base import VisionEncoder
from ordinate.tasks.image_classification import ImageClassification

__all__ = ["TASKS", "StationaryImages"]

_AT_ONCE = 256
_GALLERY = 2000


class StationaryImages(ImageClassification):
    """Accuracy, cross-entropy and identification of a network that was trained on stationary features."""

    name = "stationary-images"
    objectives = ("stationary",)
    metrics = (
        *ImageClassification.metrics,
        Metric(
            "identified",
            "%",
            meaning="of held-out images whose nearest mean feature of a class, over 2,000 training images, is their own class's",
        ),
    )

    def score(self, model: nn.Module, device: str) -> dict[str, float]:
        """Accuracy (%), cross-entropy (nats) and identification (%) on the test images."""
        if not isinstance(model, VisionEncoder):
            raise InputError(f"stationary features are those of a vision encoder, and {type(model).__name__} is not one")
        gallery = torch.randperm(len(self.data.train), generator=generator("gallery"))[:_GALLERY]
        rows, labels = _embedded(model, self.data.train, gallery, device)
        queries, answers = _embedded(model, self.data.test, self.tested, device)
        asked = torch.isin(answers, labels)  # a small dataset's gallery may lack a class
        found = identification(queries[asked], rows, answers[asked], labels)
        return {**super().score(model, device), "identified": 100 * found}


def _embedded(model: VisionEncoder, source: Source, rows: Tensor, device: str) -> tuple[Tensor, Tensor]:
    batches = [source.take(part) for part in rows.split(_AT_ONCE)]
    features = torch.cat([model.embed(batch["image"].to(device)).float().cpu() for batch in batches])
    return features, torch.cat([batch["label"] for batch in batches])


TASKS = {StationaryImages.name: StationaryImages}
