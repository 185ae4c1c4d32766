r"""Which corrupted images to buy for a target: one class under one corruption, from the classes under the other corruptions (MNIST-C's tasks).

For every target an arm explores all sources with a part of its budget, buys the rest by its rule, learns a representation and fits the target's head to few target images; what counts is the mean error over targets on test images,
half of the class. With the linear learner inputs are the leading principal components of the sources' images; the convolutional one takes the images.

Source: Wang et al., "Improved active multi-task representation learning via Lasso" (ICML 2023), section 5, on MNIST-C.
"""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.active_mtrl import ActiveMTRL
from ordinate.data.corrupted_sources import CorruptedSampler, CorruptedTasks
from ordinate.data.corruptions import CORRUPTIONS
from ordinate.data.images import open_images
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator
from ordinate.models.convnet import ConvNet
from ordinate.models.linear_mtrl import LinearMTRL
from ordinate.models.neural_mtrl import NeuralMTRL
from ordinate.models.task_learner import TaskLearner
from ordinate.tasks.source_sampling import Buyer, buyer_arm
from ordinate.train.recipe import Recipe

__all__ = ["EASY", "TASKS", "CorruptedSources"]

LEARNERS = ("linear", "convnet")
EASY = ("identity", "brightness", "rotate", "impulse_noise", "translate", "stripe")
"""Six kinds that are quickly made."""


class CorruptedSources(Task):
    """An arm's `make()` gives a `ordinate.tasks.source_sampling.Buyer` that knows nothing. The seed draws the images, their corruptions, the targets and the samples."""

    name = "corrupted-sources"
    metrics = (
        Metric("error", unit="%", higher_is_better=False, meaning="of the target's test images, mean over targets"),
        Metric("beaten", unit="%", meaning="of the targets, those with a lower error than the head alone on the raw inputs"),
        Metric("sources", higher_is_better=False, meaning="with a relevance that is not zero, mean over targets"),
    )

    def __init__(
        self,
        data: str = "mnist",
        *,
        setting: Setting | None = None,
        kinds: tuple[str, ...] = CORRUPTIONS,
        images: int | None = None,
        tested: int | None = None,
        components: int = 64,
        rank: int = 20,
        targets: int | None = None,
        budget: int = 6_000,
        explore: float = 0.5,
        target_images: int = 100,
        learner: str = "linear",
        steps: int = 300,
        severity: int | None = None,
    ) -> None:
        """
        Args:
            data: images with classes; see `ordinate.data.images.open_images`.
            setting: where named datasets lie, and the device.
            kinds: of corruption.
            images, tested: of the training and test splits that are used; None for all.
            components: of the linear learner's inputs.
            rank: K.
            targets: how many of the tasks are targets, drawn; None for all.
            budget: samples of sources a target.
            explore: the part of it that is explored with.
            target_images: of the target, half of them of its class.
            learner: ``"linear"`` or ``"convnet"``.
            steps: of the convolutional one's training.
            severity: of the corruptions; None is MNIST-C's of each.

        Raises:
            InputError: no such data or learner.
        """
        self.setting = setting or Setting()
        self.data = open_images(data, folder=self.setting.data_dir)
        self.kinds, self.images, self.tested, self.severity = kinds, images, tested, severity
        self.components, self.rank, self.targets = components, rank, targets
        self.budget, self.explore, self.target_images, self.steps = budget, explore, target_images, steps
        self.learner = choose("learner", learner, LEARNERS)
        self.title = f"{self.data.name} under {len(kinds)} corruptions, {learner}"

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "CorruptedSources":
        """On any images with classes.

        Args:
            data: a name or a folder; MNIST by default.
            setting: its scale decides on the size.
            strict: nothing in the data is passed over in any case.
        """
        return cls(
            data or "mnist",
            setting=setting,
            kinds=EASY,
            images=setting.pick(smoke=1_000, full=8_000),
            tested=setting.pick(smoke=500, full=2_000),
            targets=setting.pick(smoke=3, full=20),
        )

    def arm(self, name: str) -> Arm:
        """A rule: `l1`, `l2`, `uniform`, `few l1`, `few l2`, `lasso`, `lasso cv`."""
        found = buyer_arm(name)
        if found.make().known:
            raise InputError(f"{name!r}: the true heads of images are not known")
        return found

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Every target in turn."""
        buyer: Buyer = arm.make()
        tasks = CorruptedTasks(self.data, self.kinds, images=self.images, tested=self.tested, severity=self.severity, seed=run.seed)
        every = [(kind, label) for kind in range(len(self.kinds)) for label in range(tasks.classes)]
        order = torch.randperm(len(every), generator=generator(run.seed, "targets")).tolist()
        errors, alone, chosen = [], [], []
        for target in (every[place] for place in order[: self.targets]):
            error, raw, used = self._target(tasks, target, buyer, run.seed)
            errors.append(error)
            alone.append(raw)
            chosen.append(used)
        return Outcome(
            {
                "error": 100 * sum(errors) / len(errors),
                "beaten": 100 * sum(error < raw for error, raw in zip(errors, alone, strict=True)) / len(errors),
                "sources": sum(chosen) / len(chosen),
            },
            notes={"error of each target": errors, "error of the head alone": sum(alone) / len(alone)},
        )

    def _target(self, tasks: CorruptedTasks, target: tuple[int, int], buyer: Buyer, seed: int) -> tuple[float, float, float]:
        sources = tasks.sources(target)
        sampler = CorruptedSampler(tasks, [*sources, target], seed)
        encode = self._inputs(tasks, target[0])
        found = ActiveMTRL(
            self._learner(tasks),
            self.budget,
            tasks=len(sources),
            explore=self.explore,
            rule=buyer.rule,
            penalty=buyer.penalty,
            k_tasks=self.rank if buyer.few else None,
            minimum=2,
            seed=seed,
        )
        X, y = sampler(-1, self.target_images)
        found.fit(lambda task, n: _through(encode, sampler(task, n)), (encode(X), y))
        tested, truth = tasks.tested(target)
        wrong = float(((found.predict(encode(tested)) > 0) != (truth > 0)).double().mean())
        raw = LinearMTRL(1, ridge=1e-2).fit_tasks([(X.flatten(1).double(), y.double())])
        values = raw.encode(tested.flatten(1)) @ raw.heads[:, 0] + cast(LinearMTRL, raw).intercept_[0]
        return wrong, float(((values > 0) != (truth > 0)).double().mean()), float((found.relevance_ != 0).sum())

    def _learner(self, tasks: CorruptedTasks) -> TaskLearner:
        if self.learner == "linear":
            return LinearMTRL(self.rank, ridge=1e-3, rounds=15, tolerance=1e-5)
        side = tasks.train.shape[-1]
        encoder = ConvNet(num_classes=0, image_size=side, in_chans=tasks.train.shape[2], width=16, stages=2, num_features=64)
        return NeuralMTRL(encoder, self.rank, "logistic", recipe=Recipe(steps=self.steps, lr=2e-3), device=self.setting.device)

    def _inputs(self, tasks: CorruptedTasks, left_out: int) -> "_Inputs":
        """What the learner sees of images: their components, of which the target's corruption knows nothing, or they themselves."""
        if self.learner != "linear":
            return _Inputs(None, None)
        pixels = tasks.train[[kind for kind in range(len(self.kinds)) if kind != left_out]].flatten(2).flatten(0, 1)
        mean = pixels.mean(dim=0)
        moments = (pixels.mT @ pixels).double() / len(pixels) - torch.outer(mean, mean).double()
        values, vectors = torch.linalg.eigh(moments)
        count = min(self.components, len(values))
        kept = values[-count:].clamp(min=1e-8 * float(values[-1]))
        return _Inputs(mean.double(), vectors[:, -count:] / kept.mean().sqrt())


class _Inputs:
    """Images to what a learner sees of them."""

    def __init__(self, mean: Tensor | None, directions: Tensor | None) -> None:
        self.mean, self.directions = mean, directions

    def __call__(self, images: Tensor) -> Float[Tensor, "images ..."]:
        if self.mean is None or self.directions is None:
            return images
        return (images.flatten(1).double() - self.mean) @ self.directions


def _through(encode: "_Inputs", samples: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return encode(samples[0]), samples[1]


TASKS = {CorruptedSources.name: CorruptedSources}
