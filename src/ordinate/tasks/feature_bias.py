r"""Two features of the input, taught together: how unequally a network represents them, when that comes about, and how little it says about what the network does with them.

A run trains several networks that differ in their first weights, on examples drawn with the run's seed, and its metrics are means over those that mastered both features (over all where none did; `mastered` says how many).
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ordinate.analyze.capture import collect
from ordinate.analyze.decoding import decoding
from ordinate.analyze.dissociation import Dissociation, dissociate
from ordinate.analyze.feature_bias import BiasReport, Controlled, FeatureBiasSuite
from ordinate.analyze.similarity import linear_cka, rdm, regression_similarity, rsa
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.objectives.features import FeatureLoss
from ordinate.tasks.training import arm_recipe
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "FeatureBias", "FeaturePlan", "TaughtAlone"]

_PROBED = 2000
_COMPARED = 400


@dataclass(frozen=True)
class FeaturePlan:
    """What an arm trains.

    Attributes:
        data: from a seed to data with known features.
        make: from a number of outputs to a network.
        layer: where features are measured, by name.
        stages: what is taught first; see `ordinate.data.controlled.curriculum.Weighted`.
        pool: how the layer's activation becomes a vector an example.
        together: whether networks are trained as one batched call.
    """

    data: Callable[[int], Controlled]
    make: Callable[[int], nn.Module]
    layer: str
    stages: tuple[tuple[int, tuple[float, ...]], ...] = ()
    pool: str | Callable[[Tensor], Tensor] = "positions"
    together: bool = True


@dataclass(frozen=True)
class _Budget:
    recipe: Recipe
    examples: int
    tested: int
    members: int
    batch_size: int
    every: int | None = None
    mastery: float = 0.99
    weights: tuple[float, ...] | None = None

    def train(self, plan: FeaturePlan, arm: Arm, run: Run) -> BiasReport:
        recipe = arm_recipe(self.recipe, arm, run)
        suite = FeatureBiasSuite(
            plan.make,
            plan.data(run.seed),
            (plan.layer,),
            self.members,
            recipe,
            self.examples,
            self.tested,
            self.batch_size,
            None if self.every is None else min(self.every, recipe.steps),
            self.weights,
            plan.stages,
            plan.pool,
            self.mastery,
            plan.together,
        )
        return suite.run(run.seed, device=run.setting.device, progress=run.progress)


class FeatureBias(Task):
    """An arm's `make()` gives a `FeaturePlan`.

    Args:
        recipe: of every arm.
        names: of the features; ratios are of the first over the second.
        examples, tested, members, batch_size, every, mastery: see :class:`ordinate.analyze.feature_bias.FeatureBiasSuite`.
        interventions: also steer, project and ask a downstream classifier; for features of two classes.
        title: one line.
    """

    name = "feature-bias"

    def __init__(
        self,
        recipe: Recipe,
        names: Sequence[str] = ("first", "second"),
        *,
        examples: int = 64_000,
        tested: int = 8_000,
        members: int = 3,
        batch_size: int = 128,
        every: int | None = None,
        mastery: float = 0.99,
        interventions: bool = False,
        title: str = "Several features, taught together",
    ) -> None:
        self.budget = _Budget(recipe, examples, tested, members, batch_size, every, mastery)
        self.names, self.interventions, self.title = tuple(names), interventions, title
        per_feature = [
            metric
            for name in self.names
            for metric in (
                Metric(f"R2 {name}", "%", meaning=f"variance of the layer that the {name} feature explains"),
                Metric(f"accuracy {name}", "%", meaning=f"of the {name} feature's output on balanced test examples"),
                Metric(f"dense {name}", meaning=f"units of which the {name} feature explains more than a tenth"),
            )
        ]
        early = [Metric("early", "%", meaning="what the first explained when the second was half learnt")] if every else []
        a, b, *_ = self.names
        causal = [
            Metric(f"probe {a}", "%", meaning=f"accuracy of a linear probe of the {a} feature"),
            Metric(f"probe {b}", "%", meaning=f"accuracy of a linear probe of the {b} feature"),
            Metric("flips own", "%", meaning=f"{a} outputs that flip 1.5 steps along its direction"),
            Metric("flips other", "%", higher_is_better=False, meaning=f"{b} outputs that flip on the same way"),
            Metric(
                f"step {a}", higher_is_better=False, meaning=f"length of the step that flips half of the {a} outputs along its direction"
            ),
            Metric(
                f"step {b}", higher_is_better=False, meaning=f"length of the step that flips half of the {b} outputs along its direction"
            ),
            Metric(f"components {a}", higher_is_better=False, meaning=f"principal components until the {a} output is right to 95 %"),
            Metric(f"components {b}", higher_is_better=False, meaning=f"principal components until the {b} output is right to 95 %"),
            Metric(f"follows {a}", "%", meaning="conflicts that a classifier of both in agreement decides by the first"),
        ]
        self.metrics = (
            *per_feature,
            Metric("ratio", "x", meaning="of what the first and the second feature explain"),
            Metric("joint", "%", meaning="variance that all features explain together"),
            Metric("mastered", "%", meaning="networks that learnt every feature"),
            *early,
            *(causal if interventions else []),
        )

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train one arm at one seed, and measure."""
        plan: FeaturePlan = arm.make()
        report = self.budget.train(plan, arm, run)
        kept = report.mastered if bool(report.mastered.any()) else torch.ones_like(report.mastered)
        end = report.end
        explained = 100 * end.variance[kept][:, 0].mean(dim=0)
        metrics: dict[str, float] = {}
        for number, name in enumerate(self.names):
            metrics[f"R2 {name}"] = float(explained[number])
            metrics[f"accuracy {name}"] = 100 * float(end.accuracy[kept][:, number].mean())
            metrics[f"dense {name}"] = float(end.density[kept][:, 0, number].double().mean())
        metrics["ratio"] = float(explained[0] / explained[1])
        metrics["joint"] = 100 * float(end.joint[kept].mean())
        metrics["mastered"] = 100 * float(report.mastered.double().mean())
        if self.budget.every:
            early = torch.tensor(report.before_learning(0, 1))[kept].nan_to_num(nan=0.0)
            metrics["early"] = 100 * float(early.mean())
        curves = {}
        for number, name in enumerate(self.names):
            curves[f"R2 {name}"] = report.curve(number)
            curves[f"R2 {name} over the final variance"] = report.curve(number, fixed=True)
            curves[f"accuracy {name}"] = [(float(each.step), float(each.accuracy[:, number].mean())) for each in report.moments]
        notes: dict[str, Any] = {"ratios": report.ratios(0, 1), "accuracy": end.accuracy.tolist(), "R2": end.variance[:, 0].tolist()}
        if self.interventions:
            found = [self._intervene(plan, model, run) for model, keep in zip(report.models, kept.tolist(), strict=True) if keep]
            metrics |= {name: statistics.mean(each[name] for each, _ in found) for name in found[0][0]}
            notes["interventions"] = found[0][1].to_json()
        parameters = sum(parameter.numel() for parameter in report.models[0].parameters())
        return Outcome(metrics, curves=curves, parameters=parameters, notes=notes)

    def _intervene(self, plan: FeaturePlan, model: nn.Module, run: Run) -> tuple[dict[str, float], Dissociation]:
        data = plan.data(run.seed)
        loss = FeatureLoss(data.classes)
        sample = data.sample(2 * _PROBED, train=False, draw=1)
        model = model.cpu()
        pool = plan.pool if isinstance(plan.pool, str) else "positions"
        found = dissociate(
            model,
            plan.layer,
            sample.x,
            sample.features,
            lambda judged: loss.predict(judged(sample.x[_PROBED:])),
            pool=pool,
        )
        a, b, *_ = self.names
        phi = collect(model, [plan.layer], [sample.x[:_PROBED]])[plan.layer]
        steps = [min(found.flip_norm(number), float(steering.alphas[-1]) * steering.norm) for number, steering in enumerate(found.steering)]
        at = int((found.steering[0].alphas == 1.5).nonzero()[0])
        smallest = [each or phi.shape[1] for each in found.pca.smallest()]
        return {
            f"probe {a}": 100 * decoding(phi, sample.features[:_PROBED, 0]).accuracy,
            f"probe {b}": 100 * decoding(phi, sample.features[:_PROBED, 1]).accuracy,
            "flips own": 100 * float(found.steering[0].flips[at, 0]),
            "flips other": 100 * float(found.steering[0].flips[at, 1]),
            f"step {a}": steps[0],
            f"step {b}": steps[1],
            f"components {a}": float(smallest[0]),
            f"components {b}": float(smallest[1]),
            f"follows {a}": 100 * float(found.reliance[0, 1]),
        }, found


class TaughtAlone(Task):
    """Networks that were taught both features, beside networks that were taught one: whom do they resemble? An arm's `make()` gives a `FeaturePlan` of two features.

    Every pair of a network of both and one of another kind is compared on the same balanced examples; metrics are means over the pairs.

    Args:
        recipe: of all networks.
        examples, members, batch_size: see :class:`ordinate.analyze.feature_bias.FeatureBiasSuite`.
    """

    name = "taught-alone"
    title = "Networks of both features beside networks of one"
    metrics = (
        Metric("rsa first", meaning="Spearman's correlation of RDMs, with networks taught the first feature alone"),
        Metric("rsa second", meaning="with networks taught the second alone"),
        Metric("rsa both", meaning="with other networks taught both"),
        Metric("cka first", meaning="linear CKA with networks taught the first alone"),
        Metric("cka second", meaning="with networks taught the second alone"),
        Metric("to first", meaning="variance of networks of the first alone that those of both explain linearly"),
        Metric("to second", meaning="of networks of the second alone"),
        Metric("least accuracy", "%", meaning="of any network on what it was taught"),
    )

    def __init__(self, recipe: Recipe, *, examples: int = 64_000, members: int = 3, batch_size: int = 128) -> None:
        self.budget = _Budget(recipe, examples, 2_000, members, batch_size)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train all three kinds at one seed, and compare."""
        plan: FeaturePlan = arm.make()
        kinds = {"both": (1.0, 1.0), "first": (1.0, 0.0), "second": (0.0, 1.0)}
        x = plan.data(run.seed).sample(2 * _COMPARED, train=False, draw=1).x
        phis: dict[str, list[Tensor]] = {}
        least = 1.0
        for kind, weights in kinds.items():
            report = replace(self.budget, weights=weights).train(plan, arm, run)
            taught = torch.tensor(weights) > 0
            least = min(least, float(report.end.accuracy[:, taught].min()))
            phis[kind] = [collect(model.cpu(), [plan.layer], [x])[plan.layer] for model in report.models]
        rdms = {kind: [rdm(phi[:_COMPARED], "euclidean", condensed=True) for phi in group] for kind, group in phis.items()}
        others = [(i, j) for i in range(len(rdms["both"])) for j in range(i)]
        metrics = {f"rsa {kind}": statistics.mean(rsa(a, b) for a in rdms["both"] for b in rdms[kind]) for kind in ("first", "second")}
        metrics["rsa both"] = statistics.mean(rsa(rdms["both"][i], rdms["both"][j]) for i, j in others) if others else 1.0
        for kind in ("first", "second"):
            pairs = [(a, b) for a in phis["both"] for b in phis[kind]]
            metrics[f"cka {kind}"] = statistics.mean(linear_cka(a, b) for a, b in pairs)
            metrics[f"to {kind}"] = statistics.mean(
                regression_similarity(a[:_COMPARED], b[:_COMPARED], held_out=(a[_COMPARED:], b[_COMPARED:]))[0] for a, b in pairs
            )
        return Outcome({**metrics, "least accuracy": 100 * least})


TASKS = {FeatureBias.name: FeatureBias, TaughtAlone.name: TaughtAlone}
