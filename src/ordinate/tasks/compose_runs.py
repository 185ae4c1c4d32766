"""Runs composed into a new run: a base model, models fine-tuned from it, and the weights that their task vectors are added with.

A run or a model folder is given for each. The new run's card is the base run's, with what was composed written into it, so that whatever reads runs (embed, analyze) reads this one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ordinate.adapt.coefficient_learning import TaskData, keep_best
from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.few_shot import LEAST_STEPS
from ordinate.adapt.task_vector import TaskBank, TaskVector
from ordinate.data.batches import Shuffled, Subset
from ordinate.data.few_shots import few_shots
from ordinate.data.images import open_images
from ordinate.ground.errors import InputError
from ordinate.ground.files import atomic_folder, write_json
from ordinate.ground.seeds import generator
from ordinate.models.base import Model, VisionEncoder
from ordinate.models.registry import load_model
from ordinate.objectives.classification import Classification
from ordinate.tasks.image_classification import score_classifier
from ordinate.tasks.training_run import CARD, load_run
from ordinate.train.recipe import Recipe

__all__ = ["Composed", "compose_runs", "learn_runs"]

_CHECKED = 1_000


@dataclass(frozen=True)
class Composed:
    """What was composed.

    Attributes:
        model: the folded model.
        card: of the new run.
        similarity: cosines of the task vectors, rows and columns in the order given.
        scores: by name; empty where nothing was learned.
        coefficients: of each vector: one number, or one a block.
    """

    model: Model
    card: dict[str, Any]
    similarity: list[list[float]]
    scores: dict[str, float]
    coefficients: list[Any]

    def save(self, folder: Path) -> None:
        """Write a run folder, whole or not at all.

        Raises:
            InputError: the folder exists.
        """
        if folder.exists():
            raise InputError(f"{folder} exists already: choose another folder with --out")
        with atomic_folder(folder) as temporary:
            write_json(temporary / CARD, self.card)
            self.model.save_pretrained(temporary / "model")
            write_json(temporary / "result.json", self.scores)


def _read(folder: Path) -> tuple[Model, dict[str, Any]]:
    if (folder / CARD).is_file():
        found = load_run(folder)
        return found.model, found.card
    return load_model(folder).eval(), {}


def _bank(base: Model, tuned: Sequence[Path]) -> TaskBank:
    if not tuned:
        raise InputError("name at least one fine-tuned run behind the base run")
    vectors = {}
    for folder in tuned:
        model, _ = _read(folder)
        try:
            vectors[str(folder)] = TaskVector.from_checkpoints(base.state_dict(), model.state_dict())
        except InputError as error:
            raise InputError(f"{folder}: {error}") from None
    if len(vectors) < len(tuned):
        raise InputError("a run is named twice among the fine-tuned ones")
    return TaskBank(vectors)


def _composed(
    composed: ComposedModel, bank: TaskBank, card: dict[str, Any], base: Path, scores: dict[str, float], how: dict[str, Any]
) -> Composed:
    folded = composed.fold()
    assert isinstance(folded, Model)
    coefficients = composed.coef.detach().tolist()
    written = {"base": str(base), "tuned": list(bank), **how, "coefficients": coefficients, "blocks": list(composed.names)}
    return Composed(folded, {**card, "composed": written}, bank.similarity().tolist(), scores, coefficients)


def compose_runs(base: Path, tuned: Sequence[Path], coefficients: Sequence[float]) -> Composed:
    """Add the task vectors of fine-tuned runs to a base run, each by a number; a negative one makes the model forget.

    Args:
        base: the run that the others were fine-tuned from.
        tuned: at least one.
        coefficients: one for each, or one for all.

    Raises:
        InputError: folders that are no runs or models, models of different architectures, or another number of coefficients.
    """
    model, card = _read(base)
    bank = _bank(model, tuned)
    if len(coefficients) not in (1, len(bank)) or not all(map(math.isfinite, coefficients)):
        raise InputError(f"give one finite coefficient, or one for each of the {len(bank)} fine-tuned runs, not {list(coefficients)}")
    composed = ComposedModel(model, bank, "scalar")
    with torch.no_grad():
        composed.coef.copy_(torch.tensor(list(coefficients)).expand(len(bank)))
    return _composed(composed, bank, card, base, {}, {"granularity": "scalar"})


def learn_runs(
    base: Path,
    tuned: Sequence[Path],
    data: str,
    *,
    granularity: str = "block",
    partitions: int | None = None,
    shots: int | None = None,
    epochs: int = 10,
    lr: float = 0.1,
    seed: int = 0,
    device: str = "cpu",
) -> Composed:
    """Learn the coefficients of fine-tuned runs on labelled images.

    Of the training images 1,000, or a fifth where there are fewer than 5,000, judge the epochs and are not learned from; the test images are scored once, at the end.

    Args:
        base, tuned: see :func:`compose_runs`; image classifiers.
        data: a named dataset or a folder of images, of the base's classes.
        granularity, partitions: see :class:`ordinate.adapt.composed_model.ComposedModel`.
        shots: learn from so many images of each class; None is all.
        epochs: of at least `LEAST_STEPS` steps.
        lr: of AdamW with a cosine schedule and decay 0.1.
        seed: of all that is random.
        device: to learn on.

    Raises:
        InputError: see :func:`compose_runs`; or the base is no image classifier, or the images are not of its classes or size.
        MissingError: the data is not at hand.
    """
    model, card = _read(base)
    if not isinstance(model, VisionEncoder) or model.num_classes < 1:
        raise InputError(f"{base} holds no image classifier: give coefficients instead of data to learn them from")
    images = open_images(data)
    if len(images.classes) != model.num_classes:
        raise InputError(f"{data} has {len(images.classes)} classes, and the base run {model.num_classes}")
    bank = _bank(model, tuned)
    order = torch.randperm(len(images.train), generator=generator(seed, "held out"))
    held = min(_CHECKED, len(order) // 5)
    if held < 1:
        raise InputError(f"{data} has {len(order)} training images: some are needed to learn from and some to judge by")
    check, rows = order[:held].sort().values, order[held:]
    if shots is not None:
        labels = torch.cat([images.train.take(part)["label"] for part in rows.split(1024)])
        rows = rows[few_shots(labels, shots, seed)]
    task = TaskData(data, Subset(images.train, rows), Subset(images.train, check), torch.nn.Identity())
    composed = ComposedModel(model, bank, granularity, partitions=partitions, seed=seed)
    size = min(128, len(rows))
    every = max(LEAST_STEPS, len(rows) // size)

    def score(judged: torch.nn.Module) -> float:
        judged.eval()
        with torch.no_grad():
            return score_classifier(judged, task.check, torch.arange(len(task.check)), device)["accuracy"]

    learned = keep_best(
        composed,
        Classification(),
        Shuffled(task.learn, size, seed),
        Recipe(steps=epochs * every, lr=lr, weight_decay=0.1, clip=1.0),
        score=score,
        every=every,
        seed=seed,
        device=device,
    )
    composed.eval()
    tested = torch.arange(len(images.test))
    with torch.no_grad():
        before = score_classifier(model.to(device), images.test, tested, device)
        scores = score_classifier(composed, images.test, tested, device)
    how = {"granularity": granularity, "partitions": partitions, "data": data, "shots": shots, "epochs": epochs, "lr": lr, "seed": seed}
    found = {**scores, "base accuracy": before["accuracy"], "check accuracy": learned.score}
    return _composed(composed.cpu(), bank, card, base, found, how)
