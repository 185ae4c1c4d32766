"""Image classification: networks trained alike on labelled images and scored on held-out ones.

Arms by name are the registered vision encoders. At the smoke and full scales each is sized to the same number of parameters in its family's shape for small images, so that what is compared
is the architecture; at the gpu scale the published sizes are used.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ordinate.data.augment import Augmentation, Compose, HorizontalFlip, PadCrop
from ordinate.data.batches import Shuffled, Source
from ordinate.data.images import ImageData, open_images
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.base import VisionEncoder
from ordinate.models.budget import sized
from ordinate.models.registry import create_model, list_models, model_class
from ordinate.tasks.training import TrainingTask
from ordinate.train.fit import Batches
from ordinate.train.recipe import Recipe

__all__ = ["MIRRORED", "TASKS", "ImageClassification"]

_AT_ONCE = 256
MIRRORED = ("cifar10",)


class ImageClassification(TrainingTask):
    """Accuracy and cross-entropy on held-out images."""

    name = "image-classification"
    title = "Image classification"
    objectives = ("classification",)
    metrics: tuple[Metric, ...] = (
        Metric("accuracy", "%", meaning="of held-out images whose most probable class is the right one"),
        Metric("cross_entropy", "nats", higher_is_better=False, meaning="of held-out images"),
    )

    def __init__(
        self,
        data: ImageData,
        *,
        steps: int,
        batch_size: int = 64,
        lr: float = 2e-3,
        parameters: int | None = None,
        most_tested: int | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        """
        Args:
            data: training and test images.
            steps: optimizer steps.
            batch_size: images a step; at most as many as there are.
            lr: the peak learning rate.
            parameters: the number of parameters that arms by name are sized to; None takes the published sizes.
            most_tested: score on at most this many test images, the same ones for every arm and seed.
            augment: of the training images.
        """
        self.data = data
        self.steps = steps
        self.batch_size = min(batch_size, len(data.train))
        self.lr = lr
        self.parameters = parameters
        self.augment = augment
        rows = torch.arange(len(data.test))
        if most_tested is not None and most_tested < len(rows):
            rows = torch.randperm(len(rows), generator=generator("tested"))[:most_tested].sort().values
        self.tested = rows
        self.title = f"Image classification on {data.name}"

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "ImageClassification":
        """On a named dataset or a folder with one subfolder a class.

        Args:
            data: ``"digits"`` by default.
            setting: its scale decides on steps, sizes, and how many test images are scored.
            strict: a corrupt image is an error.
        """
        images = open_images(data or "digits", strict=strict)
        side = min(images.shape[1:])
        # Digits and other signs must not be mirrored; whether a stranger's images may be is for the stranger to say.
        flip = [HorizontalFlip()] if images.name in MIRRORED else []
        return cls(
            images,
            steps=setting.pick(smoke=60, full=800, gpu=20_000),
            batch_size=setting.pick(smoke=32, full=64, gpu=512),
            parameters=setting.pick(smoke=40_000, full=200_000) if setting.scale != "gpu" else None,
            most_tested=setting.pick(smoke=500, full=5_000) if setting.scale != "gpu" else None,
            augment=Compose(PadCrop(max(1, side // 8)), *flip),
        )

    def recipe(self, setting: Setting) -> Recipe:
        """AdamW with a cosine schedule; the same for every arm."""
        return Recipe(steps=self.steps, lr=self.lr, weight_decay=0.05, warmup=self.steps // 10, clip=1.0)

    def model_arguments(self) -> dict[str, Any]:
        """Classes, image side and channels."""
        channels, height, width = self.data.shape
        if height != width:
            raise InputError(
                f"{self.data.name} has images of {height}x{width}, and the models take square ones: bring them to {self.data.name}@{min(height, width)}"
            )
        return {"num_classes": len(self.data.classes), "image_size": height, "in_chans": channels}

    def batches(self, seed: int, objective: str) -> Batches:
        """Shuffled, augmented training images with labels."""
        return Shuffled(self.data.train, self.batch_size, seed, augment=self.augment)

    def arm(self, name: str) -> Arm:
        """A registered vision encoder, sized to the budget."""
        if not (isinstance(model_class(name), type) and issubclass(model_class(name), VisionEncoder)):
            encoders = [each for each in list_models() if issubclass(model_class(each), VisionEncoder)]
            raise InputError(f"{name} is not an image network: choose among {', '.join(encoders)}")
        make: Callable[..., Any] = partial(sized, name, self.parameters) if self.parameters else partial(create_model, name)
        return Arm(name, make)

    def score(self, model: nn.Module, device: str) -> dict[str, float]:
        """Accuracy (%) and cross-entropy (nats) on the test images."""
        return score_classifier(model, self.data.test, self.tested, device)

    def input_card(self) -> dict[str, Any]:
        """Size, channels, standardisation and the classes' names."""
        data = self.data
        return {
            "kind": "images",
            "shape": list(data.shape),
            "mean": list(data.mean),
            "std": list(data.std),
            "classes": list(data.classes),
        }


def score_classifier(model: nn.Module, source: Source, rows: torch.Tensor, device: str) -> dict[str, float]:
    """Accuracy (%) and cross-entropy (nats) of `model(image)` on the rows of a source of images and labels."""
    right, total = 0.0, 0.0
    for part in rows.split(_AT_ONCE):
        batch = source.take(part)
        labels = batch["label"].to(device)
        logits = model(batch["image"].to(device)).float()
        total += float(F.cross_entropy(logits, labels, reduction="sum"))
        right += float((logits.argmax(dim=1) == labels).sum())
    return {"accuracy": 100 * right / len(rows), "cross_entropy": total / len(rows)}


TASKS = {ImageClassification.name: ImageClassification}
