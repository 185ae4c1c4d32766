r"""Plain deep perceptrons trained on small images, many at once: several learning rates and several networks of each, as one ensemble.

Every network has the same architecture, the same batches and the same number of steps of SGD with momentum; what differs are its first weights and its learning rate. The rate that counts is the one whose networks have the lowest
mean training loss at the end (a network that diverged counts as bad as one that says nothing, :math:`\log C` for C classes, or worse); its networks are what is scored.
"""

import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.analyze.aspect_ratio import gamma_for
from ordinate.analyze.criticality import CriticalityReport, find_criticality
from ordinate.analyze.layer_rates import layer_scale
from ordinate.data.batches import Shuffled, Source, TensorSource
from ordinate.data.images import open_images
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive
from ordinate.nn.activations import Activation
from ordinate.nn.deep_mlp import DeepMLP
from ordinate.nn.variance_init import fan_in, variance_init_, weight_layers
from ordinate.tasks.training import arm_recipe, train_arm
from ordinate.train.ensemble import Ensemble, EnsembleLoss
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "DeepPlan", "DeepTraining", "residual_weight"]

_RULES = ("plain", "uniform", "layer")


@dataclass(frozen=True)
class DeepPlan:
    """Networks to train.

    Attributes:
        activation: the activation.
        depth: L, layers with weights.
        rates: the learning rates to try, ascending.
        C_b, C_W: variances of the first weights; None leaves torch's own initialisation.
        first: K^1 of a standardised input, or None to leave the first layer like the others.
        residual: γ of connections around the layers.
        rule: ``"plain"`` has one learning rate for all parameters; ``"uniform"`` divides a weight's by its number of inputs; ``"layer"`` is the rule of :mod:`ordinate.analyze.layer_rates`, which needs the report.
        report: of the activation.
    """

    activation: Activation
    depth: int
    rates: tuple[float, ...]
    C_b: float | None = None
    C_W: float | None = None
    first: float | None = None
    residual: float = 0.0
    rule: str = "plain"
    report: CriticalityReport | None = None

    @classmethod
    def critical(
        cls, name: str, depth: int, rates: tuple[float, ...], *, factor: float = 1.0, residual: float = 0.0, rule: str = "plain"
    ) -> "DeepPlan":
        """Networks of a named activation at criticality, or with `factor` times the critical C_W; the others as in the class."""
        report = find_criticality(name).with_residual(residual)
        return cls(
            Activation.of(name), depth, rates, report.C_b, factor * report.C_W, report.K_star or None, residual, rule=rule, report=report
        )


def residual_weight(name: str, depth: int, width: int, outputs: int) -> float:
    """The residual weight at which `depth` is the best depth of that width by the book's formula; see :func:`ordinate.analyze.aspect_ratio.gamma_for`. Does not warn where depth over width is large."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gamma_for(depth, width, outputs, find_criticality(name), skewed=False)


class DeepTraining(Task):
    """An arm's `make()` gives a `DeepPlan`.

    Args:
        width: n of every hidden layer.
        members: networks at each learning rate, in one run.
        steps: optimizer steps.
        batch_size: rows a step.
        data: images by name or path.
    """

    name = "deep-training"
    title = "Plain deep perceptrons, trained with the best of several learning rates"
    metrics = (
        Metric("train accuracy", "%", meaning="at the best learning rate, mean over networks"),
        Metric("test accuracy", "%", meaning="at the best learning rate, mean over networks"),
        Metric("test loss", "nats", higher_is_better=False, meaning="at the best learning rate, mean over networks"),
        Metric("spread", "nats", higher_is_better=False, meaning="standard deviation of the test loss from network to network"),
        Metric("best rate", meaning="the learning rate with the lowest training loss, interpolated between those tried"),
        Metric(
            "output spread",
            higher_is_better=False,
            meaning="standard deviation over mean of a network's mean square output before training",
        ),
    )

    def __init__(self, width: int, members: int, steps: int, batch_size: int = 64, data: str = "digits") -> None:
        self.width, self.members, self.steps, self.batch_size, self.data = width, members, steps, batch_size, data

    def recipe(self, setting: Setting) -> Recipe:
        """SGD with momentum at a rate of 1, which every network's own rate multiplies; a tenth of the steps to warm up, and falling rates from there."""
        return Recipe(steps=self.steps, lr=1.0, optimizer="sgd", momentum=0.9, schedule="triangular", warmup=self.steps // 10)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train all networks of the arm at one seed, and score those at the best rate."""
        plan: DeepPlan = arm.make()
        choose("rule", plan.rule, _RULES)
        if not plan.rates or list(plan.rates) != sorted(set(plan.rates)):
            raise InputError(f"learning rates are given ascending and once each, not {plan.rates}")
        images = open_images(self.data, folder=run.setting.data_dir)
        train, test = _whole(images.train), _whole(images.test)
        features, classes = train["image"].shape[1], len(images.classes)

        def make() -> nn.Module:
            model = DeepMLP([features, *[self.width] * (plan.depth - 1), classes], plan.activation, plan.residual)
            if plan.C_W is not None:
                variance_init_(model, plan.C_b or 0.0, plan.C_W, first_C_W=None if plan.first is None else plan.first - (plan.C_b or 0.0))
            return model

        # The same networks at every rate: what differs between rates is the rate.
        seeds = [derive(run.seed, "net", number) for _ in plan.rates for number in range(self.members)]
        ensemble = Ensemble.make(make, seeds)
        rates = torch.tensor(plan.rates, dtype=torch.float32).repeat_interleave(self.members)
        before = _outputs(ensemble, test["image"], run.setting.device)[: self.members].square().mean(dim=(1, 2))
        trained = train_arm(
            ensemble,
            EnsembleLoss(_loss, rates=rates),
            Shuffled(TensorSource(**train), self.batch_size, derive(run.seed, "batches")),
            arm_recipe(self.recipe(run.setting), arm, run),
            run,
            scale=_scale(plan, ensemble.member(0)),
        )
        scores = {part: _scores(ensemble, rows, run.setting.device) for part, rows in (("train", train), ("test", test))}
        worst = math.log(classes)
        by_rate = torch.where(torch.isfinite(scores["train"][0]), scores["train"][0], 2 * worst).reshape(len(plan.rates), -1).mean(dim=1)
        best = int(by_rate.argmin())
        at_best = slice(best * self.members, (best + 1) * self.members)
        losses = scores["test"][0][at_best].nan_to_num(2 * worst, 2 * worst, 2 * worst)
        return Outcome(
            {
                "train accuracy": 100 * float(scores["train"][1][at_best].mean()),
                "test accuracy": 100 * float(scores["test"][1][at_best].mean()),
                "test loss": float(losses.mean()),
                "spread": float(losses.std()) if self.members > 1 else 0.0,
                "best rate": _lowest(plan.rates, by_rate.tolist()),
                "output spread": float(before.std() / before.mean()) if self.members > 1 else 0.0,
            },
            curves={"training loss by learning rate": list(zip(plan.rates, by_rate.tolist(), strict=True))},
            parameters=trained.parameters // ensemble.count,
            flops=trained.flops / ensemble.count if trained.flops else None,
            notes={"depth": plan.depth, "width": self.width, "residual": plan.residual},
        )


def _whole(source: Source) -> dict[str, Tensor]:
    rows = source.take(torch.arange(len(source)))
    return {"image": rows["image"].flatten(1), "label": rows["label"]}


def _loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch["image"]), batch["label"])


def _scale(plan: DeepPlan, model: nn.Module) -> Callable[[str], float] | None:
    if plan.rule == "plain":
        return None
    if plan.rule == "layer":
        if plan.report is None:
            raise InputError("learning rates by layer need the activation's report")
        by_layer = layer_scale(model, plan.report)
        return lambda name: by_layer(name.removeprefix("stacked."))
    fans = {f"{name}.weight": 1 / fan_in(layer) for name, layer in weight_layers(model)}
    return lambda name: fans.get(name.removeprefix("stacked."), 1.0)


@torch.no_grad()
def _outputs(ensemble: Ensemble, images: Tensor, device: str) -> Tensor:
    return torch.cat([ensemble(part.to(device)).cpu() for part in images.split(128)], dim=1)


def _scores(ensemble: Ensemble, rows: dict[str, Tensor], device: str) -> tuple[Tensor, Tensor]:
    """The loss and the accuracy of every network, (E,) each."""
    logits = _outputs(ensemble, rows["image"], device)
    losses = torch.stack([F.cross_entropy(each, rows["label"]) for each in logits])
    return losses, (logits.argmax(dim=2) == rows["label"]).double().mean(dim=1)


def _lowest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Where the parabola through the lowest point and its neighbours has its lowest value, over the logarithm of the rate; the end itself where that is lowest."""
    best = min(range(len(rates)), key=losses.__getitem__)
    if not 0 < best < len(rates) - 1:
        return rates[best]
    left, middle, right = (losses[best + move] for move in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend > 0 else 0.0
    step = statistics.mean([math.log(rates[best + 1] / rates[best]), math.log(rates[best] / rates[best - 1])])
    return rates[best] * math.exp(max(-0.5, min(0.5, shift)) * step)


TASKS = {DeepTraining.name: DeepTraining}
