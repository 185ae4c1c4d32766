"""Updates of a model that serves a gallery: an arm trains one version after another, and new versions' queries are asked of the galleries that older ones embedded.

Every version embeds the queries and the gallery of each test once; the matrix M[t, k] of queries of version t against the gallery of version k gives compatibility AC, accuracy AA, and the gaps M[t, k] - M[k, k] behind AC. A metric's
name ends in its test, ``"open"`` (classes that no version was trained on) or ``"trained"``. Between every two versions in turn it is also measured how near the means of the classes stay (the first order), and how well single images
are found again among the older version's (higher orders); of trained classes those count that both versions have seen.

Source: Biondi et al., "Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model Replacements", 2024, section 5.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ordinate.analyze.compatibility import accuracy_curve, compatibility_curve, compatibility_matrix, compatibility_report, summarise
from ordinate.analyze.similarity import linear_cka
from ordinate.data.batches import Shuffled, Source, TensorSource
from ordinate.data.rehearsal import Rehearsal, exemplars
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive
from ordinate.models.base import VisionEncoder
from ordinate.models.registry import load_official
from ordinate.nn.class_allocator import ClassAllocator
from ordinate.nn.fixed_simplex_head import FixedSimplexHead
from ordinate.objectives.base import Objective
from ordinate.objectives.classification import Classification
from ordinate.objectives.stationary import FrozenEmbedding, HOCLoss, Stationary
from ordinate.tasks.training import arm_recipe, make_seeded, train_arm
from ordinate.tasks.update_streams import Published, Stage, Stream, Streams
from ordinate.train.fit import Batches
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "CompatibleUpdates", "FeatureDistillation", "Updating", "paired_retrieval"]

_AT_ONCE = 512
_MEANINGS = {
    "AC": "of the pairs of versions, the fraction in which the newer one's queries do better on the older gallery than its own model's",
    "AA": "mean rate of identification over all versions and the galleries up to theirs",
    "cross": "mean rate of identification of newer queries in older galleries",
    "self": "mean rate of identification of each version in its own gallery",
    "worst gap": "the lowest of: cross-test minus the older version's self-test",
    "paired": "of images whose features in a version are nearest to their own in the version before, mean over the versions",
    "means": "cosine between a class's mean feature in a version and in the one before, mean over classes and versions",
    "cka": "linear CKA of the features of a version and the one before, mean over the versions",
    "same": "mean cosine of a class's newer queries and older gallery, minus that of the older queries, mean over versions in turn",
    "different": "the same for pairs of two classes: compatible where it is not above 0",
}


@dataclass(frozen=True)
class Updating:
    """How an arm trains its versions.

    Attributes:
        classifier: ``"simplex"``, fixed prototypes, or ``"learnable"``, a linear classifier that grows with the classes.
        lambda_: with fixed prototypes, the weight of the cross-entropy beside the contrastive term against the version before; 1 leaves that out.
        same_class: what the contrastive term makes of pairs of one class; see `ordinate.objectives.stationary.HOCLoss`.
        distil: with a learnable classifier, the weight of the squared distance to the features of the version before.
    """

    classifier: str = "simplex"
    lambda_: float = 1.0
    same_class: str = "zero"
    distil: float = 0.0

    def __post_init__(self) -> None:
        choose("classifier", self.classifier, ("simplex", "learnable"))
        if self.distil < 0:
            raise InputError(f"distil is a weight of 0 or more, not {self.distil}")


class FeatureDistillation(Objective):
    """Cross-entropy of the model's own classifier, and the mean squared distance of its embedding to the version before's."""

    def __init__(self, previous: FrozenEmbedding, weight: float) -> None:
        """
        Args:
            previous: images to features of the version before.
            weight: of the squared distance.
        """
        super().__init__()
        self.previous = previous
        self.weight = weight

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of the batch's `image` (B, C, H, W) and `label` (B,)."""
        z = model.embed(batch["image"])  # type: ignore[operator]
        return F.cross_entropy(model.head(z), batch["label"]) + self.weight * F.mse_loss(z, self.previous(batch["image"]))  # type: ignore[operator]


class CompatibleUpdates(Task):
    """Versions of a model on a stream. An arm's `make` takes nothing and gives an `Updating`."""

    name = "compatible-updates"

    def __init__(
        self,
        streams: Streams,
        encoder: Callable[..., VisionEncoder],
        classes: int,
        *,
        recipe: Recipe,
        later: Recipe | None = None,
        batch_size: int = 128,
    ) -> None:
        """
        Args:
            streams: the data of each seed.
            encoder: makes the encoder from `num_features`, `num_classes`, `image_size` and `in_chans`.
            classes: K, the prototypes; embeddings are K - 1 wide in all arms.
            recipe: of the first version, of each version that begins anew, and of what publishers train.
            later: of versions that are fine-tuned; None is `recipe`.
            batch_size: images a step.
        """
        self.streams = streams
        self.encoder = encoder
        self.classes = classes
        self.first_recipe = recipe
        self.later_recipe = later or recipe
        self.batch_size = batch_size
        self.title = streams.title
        self.metrics = tuple(
            Metric(f"{name} {test}", higher_is_better=name != "different", meaning=meaning)
            for test in ("open", "trained")
            for name, meaning in _MEANINGS.items()
        )

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train all versions of one arm at one seed, and compare them."""
        how: Updating = arm.make()
        stream = self.streams.draw(run.seed, run.setting.data_dir)
        features: dict[str, list[tuple[Tensor, Tensor]]] = {test: [] for test in stream.tests}
        models = _Versions(self, how, arm, run, stream)
        for stage in stream.stages:
            model = models.next(stage)
            for test, sources in stream.tests.items():
                features[test].append(tuple(_embed(model, source, run.setting.device) for source in sources))  # type: ignore[arg-type]
        metrics: dict[str, float] = {}
        curves: dict[str, list[tuple[float, float]]] = {}
        notes: dict[str, Any] = {}
        for test, (queries, gallery) in stream.tests.items():
            labels = _labels(queries), _labels(gallery)
            # In turn, versions are compared on the classes that both have seen; of the open set none has been, and all count.
            known = [stage.classes for stage in stream.stages[:-1]] if test == "trained" else None
            found, matrix = _compared(features[test], *labels, known)
            metrics |= {f"{name} {test}": value for name, value in found.items()}
            accuracy = accuracy_curve(matrix)
            curves[f"AA {test} by version"] = [(t + 1, value) for t, value in enumerate(accuracy)]
            curves[f"AC {test} by version"] = [(t + 2, value) for t, value in enumerate(compatibility_curve(matrix))]
            jumps = [accuracy[t] - accuracy[t - 1] for t, stage in enumerate(stream.stages) if t and stage.published is not None]
            if jumps:
                metrics |= {f"best jump {test}": max(jumps), f"worst jump {test}": min(jumps)}
            notes[f"matrix {test}"] = [[round(value, 4) for value in row] for row in matrix.tolist()]
        return Outcome(metrics, curves=curves, parameters=models.parameters, flops=models.flops, notes=notes)

    def arm(self, name: str) -> Arm:
        """``hoc``, ``simplex``, ``learnable`` (with rehearsal: experience replay) or ``distilled``."""
        known = {
            "hoc": Updating(lambda_=0.1),
            "simplex": Updating(),
            "learnable": Updating("learnable"),
            "distilled": Updating("learnable", distil=1.0),
        }
        how = known[choose("arm", name, known)]
        return Arm(name, lambda: how, role="method" if how.classifier == "simplex" else "baseline")


class _Versions:
    """Trains one version after another, and keeps what the next one needs: the model, the exemplars, the head."""

    def __init__(self, task: CompatibleUpdates, how: Updating, arm: Arm, run: Run, stream: Stream) -> None:
        self.task, self.how, self.arm, self.run, self.stream = task, how, arm, run, stream
        self.memory: list[Source] = []
        self.model: VisionEncoder | None = None
        self.count = 0
        self.parameters: int | None = None
        self.flops: float | None = None

    def next(self, stage: Stage) -> VisionEncoder:
        """The next version, in evaluation mode."""
        previous: FrozenEmbedding | None = None
        known = 0 if self.model is None else self.model.num_classes
        if stage.published is not None:
            self.model, known = self._publish(stage.published), 0
        elif self.model is None or self.stream.from_scratch:
            self.model, known = self._make(stage.classes, "version", self.count), stage.classes
        if self.count and not self.stream.from_scratch:
            previous = FrozenEmbedding(self.model)
        if known < stage.classes and self.how.classifier == "learnable":
            _grow_head(self.model, stage.classes, known, derive(self.run.seed, "head", self.count))
        carried = bool(self.memory) and not self.stream.from_scratch
        batches: Batches = (
            Rehearsal(stage.train, _together(self.memory), self.task.batch_size, self._seed("rows"), self.stream.augment)
            if carried
            else Shuffled(stage.train, min(self.task.batch_size, len(stage.train)), self._seed("rows"), self.stream.augment)
        )
        recipe = self.task.later_recipe if self.count and not self.stream.from_scratch else self.task.first_recipe
        self._train(self.model, self._objective(previous), batches, recipe, f"version-{self.count}")
        if not self.stream.from_scratch:
            kept = exemplars(stage.train, self.stream.quota, seed=self._seed("exemplars"))
            self.memory.append(TensorSource(**stage.train.take(kept)))
        self.count += 1
        return self.model.eval()

    def _seed(self, purpose: str) -> int:
        return derive(self.run.seed, purpose, self.count)

    def _make(self, classes: int, purpose: str, number: int) -> VisionEncoder:
        channels, side, _ = self.stream.shape
        make = partial(
            self.task.encoder,
            num_features=self.task.classes - 1,
            num_classes=classes if self.how.classifier == "learnable" else 0,
            image_size=side,
            in_chans=channels,
        )
        return make_seeded(make, derive(self.run.seed, purpose, number))

    def _objective(self, previous: FrozenEmbedding | None) -> Objective:
        if self.how.classifier == "simplex":
            hoc = HOCLoss(same_class=self.how.same_class)
            teacher = previous if self.how.lambda_ < 1 else None
            return Stationary(self._head("back", self.task.classes), previous=teacher, lambda_=self.how.lambda_, hoc=hoc)
        return FeatureDistillation(previous, self.how.distil) if previous is not None and self.how.distil else Classification()

    def _head(self, pool: str, count: int) -> FixedSimplexHead:
        places = ClassAllocator(self.task.classes)
        places.allocate(range(count), pool)
        return FixedSimplexHead(self.task.classes - 1, self.task.classes, places)

    def _publish(self, published: Published) -> VisionEncoder:
        """What somebody else trained: on classes of their own in the first rows of the table, or read from a released file. Its classifier is not kept."""
        if published.checkpoints:
            model = load_official("stationary-resnet18", published.checkpoints[self.how.classifier])
            if not isinstance(model, VisionEncoder) or model.num_features != self.task.classes - 1:
                raise InputError(f"{published.checkpoints[self.how.classifier]} is not of {self.task.classes} prototypes")
            return model
        if published.source is None:
            raise InputError("a replacement is published as data to train it on, or as files")
        model = self._make(published.classes, "published", self.count)
        simplex = self.how.classifier == "simplex"
        objective = Stationary(self._head("front", published.classes)) if simplex else Classification()
        batches = Shuffled(published.source, min(self.task.batch_size, len(published.source)), self._seed("published"), self.stream.augment)
        self._train(model, objective, batches, self.task.first_recipe, f"published-{self.count}")
        return model

    def _train(self, model: nn.Module, objective: Objective, batches: Batches, recipe: Recipe, place: str) -> None:
        folder = self.run.folder / place if self.run.folder else None
        run = Run(self._seed(place), self.run.setting, folder, self.run.resume, self.run.progress)
        trained = train_arm(model, objective, batches, arm_recipe(recipe, self.arm, run), run)
        self.parameters, self.flops = trained.parameters, trained.flops


def _grow_head(model: VisionEncoder, classes: int, known: int, seed: int) -> None:
    """A linear classifier of more classes; the rows of the first `known` stay."""
    old = model.head
    make_seeded(lambda: model.reset_classifier(classes), seed)
    if known and isinstance(old, nn.Linear) and isinstance(model.head, nn.Linear):
        with torch.no_grad():
            model.head.weight[:known] = old.weight[:known]
            model.head.bias[:known] = old.bias[:known]


def _together(sources: Sequence[Source]) -> TensorSource:
    rows = [source.take(torch.arange(len(source))) for source in sources]
    return TensorSource(**{name: torch.cat([row[name] for row in rows]) for name in rows[0]})


def _labels(source: Source) -> Tensor:
    return torch.cat([source.take(part)["label"] for part in torch.arange(len(source)).split(_AT_ONCE)])


@torch.no_grad()
def _embed(model: VisionEncoder, source: Source, device: str) -> Tensor:
    """Unit features (N, K - 1), on the CPU."""
    parts = torch.arange(len(source)).split(_AT_ONCE)
    return torch.cat([F.normalize(model.embed(source.take(part)["image"].to(device)).float(), dim=1).cpu() for part in parts])


def paired_retrieval(new: Tensor, old: Tensor) -> float:
    """The fraction of images whose unit features (N, d) in the new model are nearest to their own in the old one, among all N."""
    hits = [
        int((part @ old.t()).argmax(dim=1).eq(rows).sum())
        for part, rows in zip(new.split(_AT_ONCE), torch.arange(len(new)).split(_AT_ONCE), strict=True)
    ]
    return sum(hits) / len(new)


def _class_means(features: Tensor, labels: Tensor) -> Tensor:
    classes, codes = labels.unique(return_inverse=True)
    return torch.zeros(len(classes), features.shape[1]).index_add_(0, codes, features) / codes.bincount()[:, None]


def _compared(
    features: Sequence[tuple[Tensor, Tensor]], query_labels: Tensor, gallery_labels: Tensor, known: Sequence[int] | None
) -> tuple[dict[str, float], Tensor]:
    """The metrics of one test, and its matrix; `known` are the numbers of classes that each version but the last has seen, where only they are compared in turn."""
    queries, galleries = [each[0] for each in features], [each[1] for each in features]
    matrix = compatibility_matrix(queries, galleries, query_labels, gallery_labels)
    summary, below = summarise(matrix), torch.ones_like(matrix, dtype=torch.bool).tril(-1)
    turns: dict[str, list[float]] = {name: [] for name in ("paired", "means", "cka", "same", "different")}
    for number, ((old, gallery), (new, _)) in enumerate(pairwise(features)):
        asked, stored = query_labels, gallery_labels
        if known is not None:
            mine, rows = query_labels < known[number], gallery_labels < known[number]
            old, new, gallery, asked, stored = old[mine], new[mine], gallery[rows], query_labels[mine], gallery_labels[rows]
        report = compatibility_report(new, old, gallery, asked, stored)
        means = F.cosine_similarity(_class_means(new, asked), _class_means(old, asked), dim=1)
        turns["paired"].append(paired_retrieval(new, old))
        turns["means"].append(float(means.mean()))
        turns["cka"].append(float(linear_cka(new, old)))
        turns["same"].append(report.new_same - report.old_same)
        turns["different"].append(report.new_different - report.old_different)
    found = {
        "AC": summary.compatibility,
        "AA": summary.accuracy,
        "cross": float(matrix[below].mean()),
        "self": float(matrix.diagonal().mean()),
        "worst gap": summary.worst_gap,
    }
    return found | {name: sum(values) / len(values) for name, values in turns.items()}, matrix


TASKS = {CompatibleUpdates.name: CompatibleUpdates}
