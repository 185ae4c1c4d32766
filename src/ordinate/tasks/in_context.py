"""In-context regression: a network learns to predict labels from the pairs before them in a prompt, and is measured against exact predictors, prefix by prefix.

Test prompts are the same for every arm and seed. Distances are SPD over d and ILWD over d, as in the paper's figures; the first prediction, which has nothing to go by, is in the loss and in no number here.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

from torch import nn

from ordinate.analyze.in_context.following import Families, Following, reference_families
from ordinate.analyze.in_context.model import Askable, ModelPredictor
from ordinate.analyze.in_context.predictors import Predictor
from ordinate.analyze.in_context.study import fresh_prompts, study_in_context
from ordinate.data.in_context.prompts import Curriculum, PromptBatches, Prompts, PromptSource
from ordinate.data.in_context.sources import make_source, source_family
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run
from ordinate.ground.errors import choose
from ordinate.models.registry import create_model
from ordinate.objectives.base import create_objective
from ordinate.tasks.training import TrainingTask, arm_recipe, make_seeded, train_arm
from ordinate.train.fit import Batches
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "InContext", "TaughtOn"]

MODEL = "transformer"


@dataclass(frozen=True, kw_only=True)
class TaughtOn(Arm):
    """A network that is trained on prompts of another source than those that it is measured on: the control of a probe, a shift of distribution.

    Attributes:
        source: what it is trained on; its inputs are of the same width.
    """

    source: PromptSource


class InContext(TrainingTask):
    """Prompts of one source, learnt in context.

    An arm's `make(token_width=..., max_length=..., outputs=...)` gives a network; that of an arm named like a family gives its members, the best of which is scored without training.
    """

    name = "in-context"
    title = "In-context regression"
    objectives = ("in-context",)
    default: ClassVar[str] = "linear:d=4,n=12"

    def __init__(
        self,
        source: PromptSource,
        families: Families,
        *,
        steps: int,
        batch_size: int = 64,
        lr: float = 1e-3,
        hidden: int = 64,
        layers: int = 4,
        heads: int = 4,
        tested: int = 1_000,
        asked: int = 128,
        places: Sequence[int] = (),
        curriculum: Curriculum | None = None,
    ) -> None:
        """
        Args:
            source: what prompts are drawn from.
            families: the exact predictors that networks are measured against, by algorithm.
            steps: optimizer steps.
            batch_size: prompts a step.
            lr: the peak learning rate.
            hidden: the width of the networks that are arms by name.
            layers: their blocks.
            heads: of their attention.
            tested: test prompts.
            asked: how many of them are asked fresh queries too, for weights and linearity; 0 leaves both out.
            places: prefixes, in pairs, for which numbers are given apart: ``risk@4``.
            curriculum: how training prompts grow.
        """
        self.source, self.families = source, families
        self.steps, self.batch_size, self.lr = steps, batch_size, lr
        self.hidden, self.layers, self.heads = hidden, layers, heads
        self.tested, self.asked, self.places, self.curriculum = tested, asked, tuple(places), curriculum
        self.title = f"In-context regression, d = {source.d}, n = {source.n}"
        self.metrics = (
            Metric("risk", higher_is_better=False, meaning="mean squared error over prefixes of 1 to n - 1 pairs"),
            *(Metric(f"risk@{place}", higher_is_better=False, meaning=f"mean squared error after {place} pairs") for place in self.places),
            *(
                Metric(
                    f"SPD {name}",
                    higher_is_better=False,
                    meaning=f"squared difference from the nearest {name} predictor, over d, mean over prefixes",
                )
                for name in families
            ),
        )

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "InContext":
        """Prompts of a family, with arguments: ``"linear:d=4,n=12,noise=0.1"``.

        Args:
            data: ``"linear:d=4,n=12"`` by default.
            setting: its scale decides on steps and widths.
            strict: no difference: prompts are drawn, and nothing in them is unreadable.

        Raises:
            InputError: an unknown family or argument, or a family without exact predictors.
        """
        text = data or cls.default
        source = make_source(text)
        return cls(
            source,
            reference_families(source_family(text), source),
            steps=setting.pick(smoke=500, full=6_000, gpu=100_000),
            lr=setting.pick(smoke=1e-3, full=1e-3, gpu=2.5e-4),
            hidden=setting.pick(smoke=64, full=64, gpu=512),
            layers=setting.pick(smoke=3, full=4, gpu=16),
            tested=setting.pick(smoke=500, full=2_000),
        )

    def recipe(self, setting: Setting) -> Recipe:
        """AdamW with the paper's betas, a linear warm-up and half a cosine, and gradients clipped at 1; the same for every arm."""
        return Recipe(steps=self.steps, lr=self.lr, betas=(0.9, 0.98), warmup=min(200, max(1, self.steps // 5)), clip=1.0)

    def model_arguments(self) -> dict[str, Any]:
        """The width of a token, positions for a prompt and one query more, and one number to read out."""
        return {"token_width": self.source.token_width, "max_length": 2 * self.source.n + 2, "outputs": 1}

    def batches(self, seed: int, objective: str) -> Batches:
        """Fresh prompts."""
        return PromptBatches(self.source, self.batch_size, seed, self.curriculum)

    def arm(self, name: str) -> Arm:
        """``"transformer"``, or one of the families of exact predictors."""
        if choose("arm", name, [MODEL, *self.families]) == MODEL:
            return Arm(name, partial(create_model, "in-context-transformer", hidden=self.hidden, layers=self.layers, heads=self.heads))
        return Arm(name, lambda **_: self.families[name], role="baseline")

    def input_card(self) -> dict[str, Any]:
        """The kind of prompts, and how pairs become tokens."""
        return {"kind": "prompts", "d": self.source.d, "n": self.source.n, "layout": self.source.layout}

    def test(self) -> Prompts:
        """The prompts that every arm is scored on."""
        return fresh_prompts(self.source, self.tested)

    def measure(self, predictor: Predictor, *, ask: bool) -> Following:
        """Any predictor against the exact ones, on the test prompts; `ask` asks fresh queries too, for weights and linearity."""
        return study_in_context(predictor, self.source, self.families, prompts=self.tested, asked=self.asked if ask else 0)

    def score(self, model: nn.Module, device: str) -> dict[str, float]:
        """Risk, and distances to the exact predictors, on the test prompts."""
        return self._numbers(self.measure(self.predictor(model, device), ask=False))

    def predictor(self, model: nn.Module, device: str) -> ModelPredictor:
        """A network as a predictor of these prompts."""
        return ModelPredictor(cast(Askable, model), layout=self.source.layout, device=device)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train one arm at one seed where there is anything to train, and measure it."""
        if isinstance(arm, TaughtOn) or arm.name not in self.families:
            return self.train(arm, run)[1]
        test = self.test().double()
        members: Sequence[Predictor] = arm.make(**self.model_arguments())
        best = min(members, key=lambda each: (each(test.x, test.y) - test.y)[:, 1:].square().mean().item())
        found = self.measure(best, ask=False)
        return Outcome(self._numbers(found), curves=self._curves(found), notes={"predictor": best.name})

    def train(self, arm: Arm, run: Run) -> tuple[nn.Module, Outcome]:
        """Train a network and measure it.

        Returns:
            The network, in evaluation mode, and what was found.

        Raises:
            Diverged: the loss is not finite.
        """
        model: nn.Module = make_seeded(lambda: arm.make(**self.model_arguments()), run.seed)
        recipe = arm_recipe(self.recipe(run.setting), arm, run)
        trained = train_arm(
            model,
            create_objective(self.objectives[0], model),
            PromptBatches(arm.source if isinstance(arm, TaughtOn) else self.source, self.batch_size, run.seed, self.curriculum),
            recipe,
            run,
            evaluate=lambda judged: self.score(judged, run.setting.device),
            evaluate_every=max(1, recipe.steps // self.points),
        )
        found = self.measure(self.predictor(model.eval(), run.setting.device), ask=True)
        notes: dict[str, Any] = {"nearest": found.nearest, "members": {name: each.member for name, each in found.references.items()}}
        outcome = Outcome(
            self._numbers(found) | self.further(model, found, run),
            curves=trained.history.curves | self._curves(found),
            parameters=trained.parameters,
            flops=trained.flops,
            notes=notes,
        )
        return model, outcome

    def further(self, model: nn.Module, found: Following, run: Run) -> dict[str, float]:
        """More numbers of a trained network, beyond those of `metrics`; here of its weights and of how linear it is."""
        more = {f"ILWD {name}": each.ilwd.over() for name, each in found.references.items() if each.ilwd is not None}
        return more if found.linearity is None else more | {"linearity": found.linearity[1:].mean().item()}

    def _numbers(self, found: Following) -> dict[str, float]:
        d, references = found.d, found.references
        numbers = {"risk": found.risk.over()} | {f"risk@{place}": found.risk.mean[place].item() for place in self.places}
        numbers |= {f"SPD {name}": each.spd.over() for name, each in references.items()}
        numbers |= {f"SPD {name}@{place}": each.spd.mean[place].item() for name, each in references.items() for place in self.places}
        if found.n > d > 1:
            numbers |= {f"MSPD {name}": each.spd.over(1, d) for name, each in references.items()}
        return numbers

    def _curves(self, found: Following) -> dict[str, list[tuple[float, float]]]:
        curves = {"risk over pairs": found.risk.mean}
        curves |= {f"SPD {name} over pairs": each.spd.mean for name, each in found.references.items()}
        curves |= {f"ILWD {name} over pairs": each.ilwd.mean for name, each in found.references.items() if each.ilwd is not None}
        return {name: [(float(i), value) for i, value in enumerate(values.tolist()) if i] for name, values in curves.items()}


TASKS = {InContext.name: InContext}
