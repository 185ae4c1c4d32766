"""Transfer by task vectors: held-out domains learned from a few labelled images, with the vectors of other domains.

An arm's `make()` gives a function of the world, the held-out task and a learning rate to an encoder, a head and what learning gave; each arm has its own short list of rates, and the one of the best check accuracy is scored.

Source: Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), sections 5.1 and 5.3.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from ordinate.adapt.coefficient_learning import TaskData, accuracy
from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.few_shot import learn_few_shot
from ordinate.adapt.lora_vectors import LowRankComposedModel, attach_low_rank
from ordinate.adapt.lp_plus_plus import LPPlusPlus
from ordinate.adapt.random_bases import random_bases
from ordinate.adapt.task_vector import TaskBank
from ordinate.adapt.tip_adapter import learn_tip_adapter
from ordinate.adapt.vector_choice import (
    choose_at_random,
    choose_blocks_by_gradient,
    choose_by_features,
    choose_by_gradient,
    coefficient_gradients,
    mean_feature,
)
from ordinate.data.image_domains import ImageDomain
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import choose
from ordinate.tasks.domain_world import COVERED, SOURCES, UNCOVERED, DomainWorld, domain_world, world_size

__all__ = ["TASKS", "Contender", "FewShotTransfer", "Transferred", "TunableSize", "VectorBudget"]

_CLASSES = 10
_COEFFICIENTS = (0.03, 0.1)  # rates of coefficients
_WEIGHTS = (1e-4, 3e-4, 1e-3, 3e-3)  # of weights
_FACTORS = (1e-3, 3e-3, 1e-2, 3e-2)  # of low-rank factors


@dataclass(frozen=True)
class Transferred:
    """An encoder and head for a held-out task, with their accuracy on the check images and the number of values that were trained."""

    encoder: nn.Module
    head: nn.Module
    score: float
    parameters: int


Method = Callable[[DomainWorld, TaskData, float, int], Transferred]
"""`method(world, task, rate, epochs)`."""


@dataclass(frozen=True)
class Contender:
    """A way of learning a held-out domain, the rates that are tried, and what it is in a few words."""

    method: Method
    rates: tuple[float, ...]
    note: str

    def best(self, world: DomainWorld, task: TaskData, epochs: int) -> Transferred:
        """The result of the rate with the best check accuracy."""
        return max((self.method(world, task, rate, epochs) for rate in self.rates), key=lambda found: found.score)


def _count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters() if parameter.requires_grad)


def _trained(model: nn.Module, world: DomainWorld, task: TaskData, rate: float, epochs: int, decay: float = 0.1) -> Transferred:
    learned = learn_few_shot(model, task, epochs=epochs, batch_size=64, lr=rate, weight_decay=decay, seed=world.seed)
    return Transferred(model, task.head, learned.score, _count(model))


def _zero_shot(world: DomainWorld, task: TaskData, rate: float, epochs: int) -> Transferred:
    return Transferred(world.encoder, task.head, 0.0, 0)


def _composed(
    world: DomainWorld, task: TaskData, rate: float, epochs: int, *, granularity: str = "block", partitions: int | None = None
) -> Transferred:
    model = ComposedModel(world.encoder, world.bank(), granularity, partitions=partitions, seed=world.seed)
    return _trained(model, world, task, rate, epochs)


def _bases(world: DomainWorld, task: TaskData, rate: float, epochs: int) -> Transferred:
    bank = random_bases(world.encoder.state_dict(), len(SOURCES), world.seed)
    return _trained(ComposedModel(world.encoder, bank), world, task, rate, epochs)


def _everything(world: DomainWorld, task: TaskData, rate: float, epochs: int) -> Transferred:
    return _trained(deepcopy(world.encoder).requires_grad_(True), world, task, rate, epochs)


def _low_rank(world: DomainWorld, task: TaskData, rate: float, epochs: int, *, rank: int) -> Transferred:
    return _trained(attach_low_rank(world.encoder, rank, seed=world.seed), world, task, rate, epochs, decay=0.0)


def _low_rank_vectors(world: DomainWorld, task: TaskData, rate: float, epochs: int, *, rank: int) -> Transferred:
    return _trained(LowRankComposedModel(world.encoder, world.low_rank_bank(rank)), world, task, rate, epochs)


def _tip(world: DomainWorld, task: TaskData, rate: float, epochs: int, *, composed: bool) -> Transferred:
    encoder = ComposedModel(world.encoder, world.bank()) if composed else deepcopy(world.encoder).requires_grad_(False)
    adapter, learned = learn_tip_adapter(encoder, task, _CLASSES, epochs=2 * epochs, batch_size=64, lr=rate, seed=world.seed)
    return Transferred(encoder, adapter, learned.score, _count(encoder, adapter))


def _lp(world: DomainWorld, task: TaskData, rate: float, epochs: int, *, composed: bool) -> Transferred:
    encoder = _composed(world, task, rate, epochs).encoder if composed else world.encoder
    batch = task.learn.take(torch.arange(len(task.learn)))
    with torch.no_grad():
        features = encoder(batch["image"])
    probe = LPPlusPlus(world.head.prototypes, world.head.scale).fit(features, batch["label"])
    trained = probe.weight.numel() + probe.blend.numel() + (_count(encoder) if composed else 0)
    return Transferred(encoder, probe, accuracy(encoder, probe, task.check), trained)


CONTENDERS: dict[str, Contender] = {
    "zero-shot": Contender(_zero_shot, (1.0,), "the pre-trained encoder"),
    "scalar": Contender(partial(_composed, granularity="scalar"), _COEFFICIENTS, "one coefficient a vector"),
    "block": Contender(_composed, _COEFFICIENTS, "one a vector and block"),
    "bases": Contender(_bases, (0.01, 0.1), "one a random direction and block"),
    "everything": Contender(_everything, _WEIGHTS, "all weights fine-tuned"),
    "tip-adapter": Contender(partial(_tip, composed=False), (0.1,), "a fine-tuned cache on the pre-trained encoder"),
    "lp++": Contender(partial(_lp, composed=False), (1.0,), "a blended probe on the pre-trained encoder"),
    "block+tip": Contender(partial(_tip, composed=True), (0.1,), "a cache trained together with the coefficients"),
    "block+lp++": Contender(partial(_lp, composed=True), _COEFFICIENTS, "a blended probe after the coefficients"),
    "low-rank vectors": Contender(partial(_low_rank_vectors, rank=4), _COEFFICIENTS, "one a vector and matrix, of rank 4"),
}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


class FewShotTransfer(Task):
    """Accuracy on held-out domains from a few labelled images of each class: ``covered@k`` on those between the bank's domains, ``uncovered@k`` on one that the bank hardly covers."""

    name = "few-shot-transfer"
    title = "Held-out domains from a few images"

    def __init__(self, shots: Sequence[int] = (1, 4, 16), epochs: int = 10) -> None:
        """
        Args:
            shots: k.
            epochs: of learning, of at least ten steps each.
        """
        self.shots, self.epochs = tuple(shots), epochs
        self.metrics = tuple(
            Metric(f"{kind}@{k}", "%", meaning=f"accuracy on test images from {k} labelled images of each class, {where}")
            for kind, where in (("covered", "domains between the bank's"), ("uncovered", "a domain that the bank hardly covers"))
            for k in self.shots
        )

    def arm(self, name: str) -> Arm:
        """One of the contenders."""
        contender = CONTENDERS[choose("way of learning a domain", name, CONTENDERS)]
        return Arm(name, lambda: contender, role="method" if name.startswith("block") else "baseline", note=contender.note)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Learn every held-out domain by one arm in the world of a seed, and score."""
        world = domain_world(world_size(run.setting), run.seed, run.setting.data_dir)
        contender: Contender = arm.make()
        metrics: dict[str, float] = {}
        parameters = 0
        for kind, domains in (("covered", COVERED), ("uncovered", UNCOVERED)):
            for k in self.shots:
                scores = []
                for domain in domains:
                    found = contender.best(world, world.shots(domain, k), self.epochs)
                    scores.append(world.test(found.encoder, domain, found.head))
                    parameters = found.parameters
                metrics[f"{kind}@{k}"] = _mean(scores)
        if arm.name in ("block", "low-rank vectors"):
            held = sum(v.numel() for v in world.low_rank_bank(4).values()) if arm.name == "low-rank vectors" else None
            dense = sum(entry.numel() for vector in world.bank().values() for entry in vector.values())
            metrics["numbers kept"] = float(dense if held is None else held)
        return Outcome(metrics, parameters=parameters)


Choice = Callable[[DomainWorld, TaskData, int], Sequence[TaskBank]]
"""`choice(world, task, budget)` -> banks of that many vectors; scores are means over them."""


def _at_random(world: DomainWorld, task: TaskData, budget: int) -> Sequence[TaskBank]:
    return [choose_at_random(world.bank(), budget, seed) for seed in range(3)]


def _by_features(world: DomainWorld, task: TaskData, budget: int) -> Sequence[TaskBank]:
    features = {domain.name: mean_feature(world.encoder, world.task(domain).learn) for domain in SOURCES}
    return [choose_by_features(world.bank(), budget, features, mean_feature(world.encoder, task.learn))]


def _gradients(world: DomainWorld, task: TaskData) -> torch.Tensor:
    batch = task.learn.take(torch.arange(len(task.learn)))
    return coefficient_gradients(
        world.encoder, world.bank(), lambda model: F.cross_entropy(task.head(model(batch["image"])), batch["label"])
    )


def _by_gradient(world: DomainWorld, task: TaskData, budget: int) -> Sequence[TaskBank]:
    return [choose_by_gradient(world.bank(), budget, _gradients(world, task))]


def _by_block(world: DomainWorld, task: TaskData, budget: int) -> Sequence[TaskBank]:
    names = [name for name, _ in world.encoder.named_parameters()]
    return [choose_blocks_by_gradient(world.bank(), budget, _gradients(world, task), names)]


CHOICES: dict[str, tuple[Choice, str]] = {
    "random": (_at_random, "drawn, three times"),
    "features": (_by_features, "the most similar mean features"),
    "gradient": (_by_gradient, "the largest gradients of whole vectors"),
    "block gradient": (_by_block, "the largest gradients block by block"),
}


class VectorBudget(Task):
    """Accuracy on held-out domains at 16 shots where only b vectors may be composed: ``accuracy@b``."""

    name = "vector-budget"
    title = "Which task vectors to compose"

    def __init__(self, budgets: Sequence[int] = (1, 2, 4), shots: int = 16, epochs: int = 10) -> None:
        """
        Args:
            budgets: b.
            shots: labelled images of each class.
            epochs: of learning.
        """
        self.budgets, self.shots, self.epochs = tuple(budgets), shots, epochs
        self.metrics = tuple(
            Metric(f"accuracy@{b}", "%", meaning=f"on test images, mean over the held-out domains, {b} vectors") for b in self.budgets
        )

    def arm(self, name: str) -> Arm:
        """One of the ways of choosing."""
        choice, note = CHOICES[choose("way of choosing vectors", name, CHOICES)]
        return Arm(name, lambda: choice, role="method" if name == "block gradient" else "baseline", note=note)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Choose, learn and score for every budget in the world of a seed."""
        world = domain_world(world_size(run.setting), run.seed, run.setting.data_dir)
        choice: Choice = arm.make()
        metrics = {}
        for budget in self.budgets:
            scores = []
            for domain in (*COVERED, *UNCOVERED):
                task = world.shots(domain, self.shots)
                for bank in choice(world, task, budget):
                    model = ComposedModel(world.encoder, bank)
                    scores.append((domain, world.test(_trained(model, world, task, 0.1, self.epochs).encoder, domain)))
            metrics[f"accuracy@{budget}"] = _mean(
                [_mean([score for each, score in scores if each == domain]) for domain in (*COVERED, *UNCOVERED)]
            )
        return Outcome(metrics)


class TunableSize(Task):
    """Composition as fine-tuning of a tunable size: accuracy on a held-out domain from shares of its training images, ``accuracy@1%`` and so on, by aTLAS x K (``x5``) or LoRA of a rank (``low-rank-4``)."""

    name = "tunable-size"
    title = "Parameter-efficient fine-tuning"

    def __init__(self, shares: Sequence[float] = (0.01, 0.05, 0.25, 1.0), epochs: int = 10, domain: ImageDomain = COVERED[0]) -> None:
        """
        Args:
            shares: of the training images.
            epochs: of learning where there are few images; where all are used, a third of it.
            domain: held out.
        """
        self.shares, self.epochs, self.domain = tuple(shares), epochs, domain
        self.metrics = tuple(
            Metric(f"accuracy@{share:.0%}", "%", meaning=f"on test images from {share:.0%} of the training images") for share in self.shares
        )

    def arm(self, name: str) -> Arm:
        """``xK`` or ``low-rank-R``."""
        kind, number = ("x", name[1:]) if name.startswith("x") else ("low-rank", name.removeprefix("low-rank-"))
        if not number.isdigit():
            choose("size", name, ("x1", "x5", "x20", "x80", "low-rank-4"))
        size = int(number)
        if kind == "low-rank":
            contender = Contender(partial(_low_rank, rank=size), _FACTORS, f"LoRA of rank {size}")
        elif size == 1:
            contender = Contender(_composed, _COEFFICIENTS, "one coefficient a vector and block")
        else:
            contender = Contender(partial(_composed, granularity="partition", partitions=size), _COEFFICIENTS, f"{size} a vector and block")
        return Arm(name, lambda: contender, role="baseline" if kind == "low-rank" else "method", note=contender.note)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Learn from every share by one arm in the world of a seed, and score."""
        world = domain_world(world_size(run.setting), run.seed, run.setting.data_dir)
        contender: Contender = arm.make()
        metrics, parameters = {}, 0
        for share in self.shares:
            epochs = self.epochs if share < 0.5 else max(1, self.epochs // 3)
            found = contender.best(world, world.some(self.domain, share), epochs)
            metrics[f"accuracy@{share:.0%}"] = world.test(found.encoder, self.domain)
            parameters = found.parameters
        return Outcome(metrics, parameters=parameters)


TASKS = {task.name: task for task in (FewShotTransfer, VectorBudget, TunableSize)}
