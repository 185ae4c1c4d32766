"""Test-time adaptation: held-out domains learned from their images without labels, by coefficients on other domains' vectors or by the gains and biases of normalisation layers.

An arm's `make()` gives which of the two, an objective, and the rates of learning. There are no labels to choose a rate by: every objective has one for each kind of parameter.

Source: Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), section 5.2.
"""

from copy import deepcopy
from dataclasses import dataclass

from torch import nn

from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.test_time import OBJECTIVES_AT_TEST_TIME, learn_unsupervised, train_norms
from ordinate.data.augment import Augmentation, Compose, Erase, ResizedCrop
from ordinate.data.batches import Source
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import choose
from ordinate.tasks.domain_world import COVERED, DomainWorld, domain_world, world_size

__all__ = ["TASKS", "AtTestTime", "UnlabelledDomains"]

_STRONG: Augmentation = Compose(ResizedCrop((0.6, 1.0)), Erase(p=0.5))
_RATES = {"coefficients": 0.03, "norms": 3e-3}


@dataclass(frozen=True)
class AtTestTime:
    """What is adapted (``"coefficients"`` or ``"norms"``), and on which objective; None leaves the encoder as it is."""

    what: str | None = None
    objective: str = "ufm"

    def adapt(self, world: DomainWorld, source: Source, epochs: int) -> nn.Module:
        """An encoder adapted to the images of a source."""
        if self.what is None:
            return world.encoder
        encoder: nn.Module = (
            ComposedModel(world.encoder, world.bank()) if self.what == "coefficients" else train_norms(deepcopy(world.encoder))
        )
        decay = 0.1 if self.what == "coefficients" else 0.0
        learn_unsupervised(
            encoder,
            world.head,
            source,
            self.objective,
            strong=_STRONG,
            epochs=epochs,
            lr=_RATES[self.what],
            weight_decay=decay,
            seed=world.seed,
        )
        return encoder


ARMS = {"zero-shot": AtTestTime()} | {
    f"{kind} {objective}": AtTestTime(what, objective)
    for kind, what in (("block", "coefficients"), ("norms", "norms"))
    for objective in OBJECTIVES_AT_TEST_TIME
}


class UnlabelledDomains(Task):
    """Accuracy on the domains between those of the bank, after adaptation to their unlabelled images."""

    name = "unlabelled-domains"
    title = "Held-out domains without labels"
    metrics = (Metric("accuracy", "%", meaning="on test images, mean over the held-out domains"),)

    def __init__(self, epochs: int = 5) -> None:
        """
        Args:
            epochs: over the unlabelled images.
        """
        self.epochs = epochs

    def arm(self, name: str) -> Arm:
        """``"zero-shot"``, or what is adapted and on which objective: ``"block ufm"``, ``"norms entropy"``."""
        method = ARMS[choose("way of adapting", name, ARMS)]
        return Arm(name, lambda: method, role="method" if name.startswith("block") else "baseline")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Adapt to each held-out domain by one arm in the world of a seed, and score."""
        world = domain_world(world_size(run.setting), run.seed, run.setting.data_dir)
        method: AtTestTime = arm.make()
        scores, parameters = {}, 0
        for domain in COVERED:
            adapted = method.adapt(world, world.task(domain).learn, self.epochs)
            scores[domain.name] = world.test(adapted, domain)
            parameters = sum(each.numel() for each in adapted.parameters() if each.requires_grad)
        return Outcome({"accuracy": sum(scores.values()) / len(scores)}, parameters=parameters, notes={"by domain": scores})


TASKS = {UnlabelledDomains.name: UnlabelledDomains}
