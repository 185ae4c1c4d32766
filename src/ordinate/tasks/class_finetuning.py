"""Fine-tuning on other classes: what the trainings of `ordinate.tasks.class_transfer` are worth where their weights may move.

Members are fine-tuned one by one and then joined by a head (two stages), or joined first and fine-tuned as one network; so is one network of as many parameters, and a member alone. Every arm is given the same labels, batches,
steps and learning rates to choose from; the rate is chosen on a fifth of the labels, and the whole is then trained again on all of them.

Source: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023, the fine-tuning table.
"""

import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from ordinate.adapt.concat import concat_classifier
from ordinate.adapt.two_stage import finetune_members, two_stage_finetune
from ordinate.data.batches import Shuffled, TensorSource
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive, generator
from ordinate.models.encoding import Classifier
from ordinate.objectives.classification import Classification
from ordinate.tasks.class_transfer import Pretraining, parameters_of
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe

__all__ = ["ClassFinetuning", "Tuner"]

_HELD_OUT = 5

Tuner = Callable[[TensorSource, float, int], Classifier]
"""`tuner(labelled, lr, seed)` -> a classifier of the target's classes."""


class ClassFinetuning(Task):
    """Accuracy on the target's test images after fine-tuning. An arm's `make` takes nothing and gives a `Tuner`."""

    name = "class-finetuning"

    def __init__(
        self, plan: Pretraining, n: int, *, steps: int = 300, rates: Sequence[float] = (3e-4, 1e-3, 3e-3), batch_size: int = 64
    ) -> None:
        """
        Args:
            plan: how networks are trained on the source, and how many labels of the target there are.
            n: members.
            steps: of every fine-tuning, by AdamW with a cosine schedule.
            rates: learning rates that every arm chooses from.
            batch_size: images a step.
        """
        self.plan = plan
        self.n = n
        self.steps = steps
        self.rates = tuple(rates)
        self.batch_size = batch_size
        self.title = f"Fine-tuned on {plan.labels} labels of the other half of the classes of {plan.data}"
        self.metrics = (Metric("target", "%", meaning="of test images of the target's classes, after fine-tuning"),)

    def arm(self, name: str) -> Arm:
        """``one``, ``two-stage``, ``init-cat``, ``wide`` or ``joint``, the last fine-tuned from joint training."""
        known: dict[str, tuple[Tuner, str]] = {
            "one": (self._alone(lambda seed: self.plan.members(1, seed)[0]), "one network"),
            "two-stage": (self._two_stage, "each member by itself, then one head"),
            "init-cat": (self._end_to_end, "the members as one network"),
            "wide": (self._alone(lambda seed: self.plan.wide(self.n, seed)), "one wider network with as many parameters"),
            "joint": (self._alone(lambda seed: self.plan.joint(self.n, seed)), "the members' architecture, trained jointly from scratch"),
        }
        if name not in known:
            raise InputError(f"task {self.name!r} has no arm {name!r}: it has {', '.join(known)}")
        tuner, note = known[name]
        return Arm(name, lambda: tuner, role="method" if name == "two-stage" else "baseline", note=note)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Choose the rate, fine-tune with it, and score."""
        tuner: Tuner = arm.make()
        labelled, tested = self.plan.split.target, self.plan.split.target_test
        order = torch.randperm(len(labelled), generator=generator(run.seed, "fine-tuning held out"))
        held, rest = (TensorSource(**labelled.take(rows)) for rows in order.tensor_split([len(order) // _HELD_OUT]))
        found = {rate: _accuracy(tuner(rest, rate, run.seed), held) for rate in self.rates} if len(self.rates) > 1 else {}
        rate = max(found, key=lambda each: found[each]) if found else self.rates[0]
        classifier = tuner(labelled, rate, run.seed)
        return Outcome({"target": 100 * _accuracy(classifier, tested)}, parameters=parameters_of(classifier), notes={"lr": rate})

    def _train(self, classifier: nn.Module, labelled: TensorSource, lr: float, seed: int) -> None:
        recipe = Recipe(steps=self.steps, lr=lr, warmup=self.steps // 20)
        batches = Shuffled(labelled, min(self.batch_size, len(labelled)), seed)
        fit(classifier, Classification(), batches, recipe, seed=seed, device=self.plan.device)
        classifier.cpu().eval()

    def _alone(self, network: Callable[[int], nn.Module]) -> Tuner:
        def tune(labelled: TensorSource, lr: float, seed: int) -> Classifier:
            (classifier,) = finetune_members(
                [network(seed)], self.plan.split.target_classes, lambda each, number: self._train(each, labelled, lr, seed), seed=seed
            )
            return classifier

        return tune

    def _two_stage(self, labelled: TensorSource, lr: float, seed: int) -> Classifier:
        return two_stage_finetune(
            self.plan.members(self.n, seed),
            self.plan.split.target_classes,
            lambda each, number: self._train(each, labelled, lr, derive(seed, "fine-tuned", number)),
            labelled.tensors["image"],
            labelled.tensors["label"],
            seed=seed,
        )

    def _end_to_end(self, labelled: TensorSource, lr: float, seed: int) -> Classifier:
        members = [deepcopy(member).requires_grad_(True) for member in self.plan.members(self.n, seed)]
        untrained = finetune_members(members, self.plan.split.target_classes, lambda each, number: None, seed=seed)
        heads = [each.head for each in untrained if isinstance(each.head, nn.Linear)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this does worse is what is measured
            classifier = concat_classifier(members, heads, freeze=False)
        self._train(classifier, labelled, lr, seed)
        return classifier


@torch.no_grad()
def _accuracy(classifier: nn.Module, source: TensorSource) -> float:
    images, labels = source.tensors["image"], source.tensors["label"]
    predicted: Tensor = torch.cat([classifier(part).argmax(dim=1) for part in images.split(512)])
    return float((predicted == labels).double().mean())
