"""Task arithmetic: one encoder for all domains by adding task vectors, and one that forgets a domain by subtracting its own.

An arm's `make()` gives a function of the world (and, for negation, of target and control) to an encoder.

Source: Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), section 4.
"""

import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial

import torch
from torch import nn

from ordinate.adapt.addition import learn_addition, normalised_accuracy
from ordinate.adapt.alpha_search import search_alpha
from ordinate.adapt.coefficient_learning import TaskData
from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.disentanglement import disentanglement_matrix
from ordinate.adapt.negation import forgetting_score, learn_negation
from ordinate.adapt.random_bases import random_bases
from ordinate.adapt.task_vector import TaskBank, TaskVector
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import choose
from ordinate.tasks.domain_world import SOURCES, DomainWorld, domain_world, world_size

__all__ = ["TASKS", "Added", "VectorAddition", "VectorNegation"]

_TARGETS = SOURCES[:4]  # an inverted domain is at chance before anything is forgotten
_RATES = (3e-3, 1e-2)  # of negation; the published ones are 2e-3 to 1e-2


class Added:
    """What adding gave.

    Attributes:
        encoder: for all domains.
        scaled: each domain's share of the sum, where the encoder is theta_0 plus shares.
        linearised: the shares are of the expansion around theta_0.
    """

    def __init__(self, encoder: nn.Module, scaled: Sequence[TaskVector] | None = None, linearised: bool = False) -> None:
        self.encoder, self.scaled, self.linearised = encoder, scaled, linearised


Addition = Callable[[DomainWorld, int], Added]
"""`addition(world, epochs)` -> what it gave."""


def _searched(world: DomainWorld, epochs: int) -> Added:
    bank = world.bank()
    score = normalised_accuracy(world.references(), [world.task(domain) for domain in SOURCES])
    found = search_alpha(world.encoder, bank.total(), score)
    return Added(found.model, [found.alpha * vector for vector in bank.values()])


def _linear_searched(world: DomainWorld, epochs: int) -> Added:
    bank = world.linear_bank()
    composed = ComposedModel(world.encoder, {"sum": bank.total()}, "scalar", linearised=True)
    score = normalised_accuracy(world.references(), [world.task(domain) for domain in SOURCES])
    scores = []
    for step in range(21):
        with torch.no_grad():
            composed.coef.fill_(step / 20)
        scores.append(score(composed))
    alpha = max(range(21), key=scores.__getitem__) / 20
    with torch.no_grad():
        composed.coef.fill_(alpha)
    return Added(composed, [alpha * vector for vector in bank.values()], linearised=True)


def _learned(
    world: DomainWorld,
    epochs: int,
    *,
    granularity: str = "block",
    blocks: str = "all",
    share: float = 1.0,
    linearised: bool = False,
    gamma: float = 0.0,
) -> Added:
    bank = world.linear_bank() if linearised else world.bank()
    composed = ComposedModel(world.encoder, bank, granularity, blocks=blocks, linearised=linearised)
    _fit(composed, world, epochs, 3e-2, share, gamma)
    return Added(composed, None if blocks != "all" else [composed.part(name) for name in bank], linearised)


def _bases(world: DomainWorld, epochs: int) -> Added:
    composed = ComposedModel(world.encoder, random_bases(world.encoder.state_dict(), len(SOURCES), world.seed))
    _fit(composed, world, epochs, 3e-2, 1.0)
    return Added(composed)


def _everything(world: DomainWorld, epochs: int, *, share: float = 1.0) -> Added:
    model = deepcopy(world.encoder).requires_grad_(True)
    _fit(model, world, epochs, 1e-3, share)
    return Added(model)


def _fit(model: nn.Module, world: DomainWorld, epochs: int, lr: float, share: float, gamma: float = 0.0) -> None:
    tasks = [world.task(domain, share=share) for domain in SOURCES]
    # As many steps for any share of the data.
    learn_addition(
        model, tasks, world.references(), epochs=max(1, round(epochs / share)), batch_size=252, lr=lr, gamma=gamma, seed=world.seed
    )


ADDITIONS: dict[str, tuple[Addition, str]] = {
    "search": (_searched, "one coefficient for the sum, out of 21"),
    "scalar": (partial(_learned, granularity="scalar"), "one learned coefficient a vector"),
    "block": (_learned, "one a vector and block"),
    "weights": (partial(_learned, blocks="weights"), "one a vector and matrix, the rest as pre-trained"),
    "penalised": (partial(_learned, gamma=0.5), "blocks, with an L1 penalty"),
    "block-35": (partial(_learned, share=0.35), "blocks, from 35 % of the images"),
    "bases": (_bases, "one a random direction and block"),
    "everything": (_everything, "all weights fine-tuned on the same images"),
    "everything-35": (partial(_everything, share=0.35), "all weights, from 35 % of the images"),
    "linear-search": (_linear_searched, "vectors of linearised fine-tuning, one coefficient"),
    "linear-block": (partial(_learned, linearised=True), "vectors of linearised fine-tuning, one a vector and block"),
}


class VectorAddition(Task):
    """One encoder for all source domains."""

    name = "vector-addition"
    title = "Task vectors added"
    metrics = (
        Metric("accuracy", "%", meaning="on test images, mean over the domains"),
        Metric("normalised", "%", meaning="that over the accuracy of each domain's own fine-tuned encoder"),
    )

    def __init__(self, epochs: int = 20) -> None:
        """
        Args:
            epochs: of learning coefficients.
        """
        self.epochs = epochs

    def arm(self, name: str) -> Arm:
        """One of the ways of adding."""
        method, note = ADDITIONS[choose("way of adding", name, ADDITIONS)]
        return Arm(name, lambda: method, role="method" if name in ("block", "linear-block") else "baseline", note=note)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Add by one arm in the world of a seed, and score."""
        world = domain_world(world_size(run.setting), run.seed, run.setting.data_dir)
        method: Addition = arm.make()
        added = method(world, self.epochs)
        found = [world.test(added.encoder, domain) for domain in SOURCES]
        metrics = {
            "accuracy": sum(found) / len(found),
            "normalised": 100 * sum(each / most for each, most in zip(found, world.ceilings(), strict=True)) / len(found),
        }
        if added.scaled is not None:
            tasks = [world.task(domain) for domain in SOURCES]
            xi = disentanglement_matrix(world.encoder, added.scaled, tasks, linearised=added.linearised)
            metrics["disentanglement error"] = 100 * float(xi.sum() / (len(tasks) * (len(tasks) - 1)))
        notes: dict[str, object] = {"by domain": dict(zip((domain.name for domain in SOURCES), found, strict=True))}
        parameters = sum(parameter.numel() for parameter in added.encoder.parameters() if parameter.requires_grad)
        if isinstance(added.encoder, ComposedModel) and added.encoder.granularity == "block" and bool(added.encoder.coef.any()):
            size = added.encoder.coef.detach().abs().mean(dim=0)
            shapes = [dict(added.encoder.model.named_parameters())[name].ndim for name in added.encoder.names]
            matrices = torch.tensor([ndim > 1 for ndim in shapes])
            if not bool(matrices.all()):
                metrics["weights over vectors"] = float(size[matrices].mean() / size[~matrices].mean())
            metrics["last over first"] = float(size[matrices][-1] / size[matrices][0])
            notes["coefficients"] = dict(zip(added.encoder.names, size.tolist(), strict=True))
        return Outcome(metrics, parameters=parameters, notes=notes)


Negation = Callable[[DomainWorld, TaskData, TaskData, int], nn.Module]
"""`negation(world, target, control, epochs)` -> an encoder."""


def _untouched(world: DomainWorld, target: TaskData, control: TaskData, epochs: int) -> nn.Module:
    return world.encoder


def _subtracted(world: DomainWorld, target: TaskData, control: TaskData, epochs: int) -> nn.Module:
    return search_alpha(world.encoder, -world.bank()[target.name], forgetting_score(world.encoder, target, control)).model


def _unlearned(
    world: DomainWorld, target: TaskData, control: TaskData, epochs: int, *, granularity: str = "block", blocks: str = "all"
) -> nn.Module:
    bank = TaskBank({target.name: world.bank()[target.name]})
    tried = []
    for rate in _RATES:
        composed = ComposedModel(world.encoder, bank, granularity, blocks=blocks)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a rate at which nothing is kept loses to the others
            tried.append(
                (learn_negation(composed, target, control, epochs=epochs, batch_size=64, lr=rate, seed=world.seed).score, composed)
            )
    return max(tried, key=lambda each: each[0])[1]


NEGATIONS: dict[str, tuple[Negation, str]] = {
    "pre-trained": (_untouched, "nothing forgotten"),
    "search": (_subtracted, "one coefficient, out of 21"),
    "scalar": (partial(_unlearned, granularity="scalar"), "one learned coefficient"),
    "block": (_unlearned, "one a block"),
    "weights": (partial(_unlearned, blocks="weights"), "one a matrix, the rest as pre-trained"),
}


class VectorNegation(Task):
    """An encoder that forgets a domain and keeps what it knows of the other upright ones."""

    name = "vector-negation"
    title = "Task vectors subtracted"
    metrics = (
        Metric(
            "target", "%", higher_is_better=False, meaning="accuracy on the forgotten domain's test images, mean over the upright domains"
        ),
        Metric("control", "%", meaning="accuracy on the other upright domains' test images"),
        Metric("kept", "%", meaning="the control accuracy over the pre-trained encoder's"),
    )

    def __init__(self, epochs: int = 10) -> None:
        """
        Args:
            epochs: of learning coefficients.
        """
        self.epochs = epochs

    def arm(self, name: str) -> Arm:
        """One of the ways of forgetting."""
        method, note = NEGATIONS[choose("way of forgetting", name, NEGATIONS)]
        return Arm(name, lambda: method, role="method" if name == "block" else "baseline", note=note)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Forget each target by one arm in the world of a seed, and score."""
        world = domain_world(world_size(run.setting), run.seed, run.setting.data_dir)
        method: Negation = arm.make()
        targets, controls, befores = [], [], []
        for domain in _TARGETS:
            others = [each for each in _TARGETS if each != domain]
            model = method(world, world.task(domain), world.union(others), self.epochs)
            targets.append(world.test(model, domain))
            controls.append(sum(world.test(model, other) for other in others) / len(others))
            befores.append(sum(world.test(world.encoder, other) for other in others) / len(others))
        kept = 100 * sum(controls) / sum(befores)
        notes = {domain.name: list(pair) for domain, *pair in zip(_TARGETS, targets, controls, strict=True)}
        return Outcome({"target": sum(targets) / len(targets), "control": sum(controls) / len(controls), "kept": kept}, notes=notes)


TASKS = {VectorAddition.name: VectorAddition, VectorNegation.name: VectorNegation}
