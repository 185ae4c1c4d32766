"""Star models learnt as sequences: the head first, or last.

An LSTM learns the joint distribution of a star's variables from samples, emitted in one order or the other, and stops where a held-out part says; its gap to the true distribution is measured on fresh samples.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.1.4.
"""

from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from ordinate.data.batches import Shuffled, TensorSource
from ordinate.data.star_model import StarModel
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive, generator
from ordinate.models.lstm_language_model import RecurrentModel
from ordinate.models.registry import create_model
from ordinate.tasks.training import arm_recipe, make_seeded, train_arm
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "HeadArm", "Star"]

HEADS = {"head-first": "first", "head-last": "last"}


@dataclass(frozen=True, kw_only=True)
class HeadArm(Arm):
    """An arm that emits the head at a place of its own.

    Attributes:
        head: ``"first"`` or ``"last"``.
    """

    head: str

    def __post_init__(self) -> None:
        choose("place of the head", self.head, ("first", "last"))


class Star(Task):
    """The gap of a learnt star model to the true one. Every seed has a star of its own.

    An arm is a `HeadArm`; its `make(vocabulary=...)` gives a `RecurrentModel`.
    """

    name = "star"
    title = "Star models"
    metrics = (
        Metric("gap", "nats", higher_is_better=False, meaning="of the cross-entropy of fresh assignments to that of the true model"),
        Metric("nats", "nats", higher_is_better=False, meaning="cross-entropy of fresh assignments"),
    )

    def __init__(
        self,
        *,
        n_vars: int = 20,
        values: int = 10,
        peakiness: float = 1.5,
        count: int = 500,
        held_out: int = 500,
        tested: int = 2_000,
        steps: int = 400,
        batch_size: int = 50,
        lr: float = 4e-3,
        dim: int = 64,
    ) -> None:
        """
        Args:
            n_vars: variables, the head among them.
            values: that each can take.
            peakiness: of the tables.
            count: training assignments.
            held_out: assignments that say where to stop.
            tested: fresh assignments.
            steps: optimizer steps.
            batch_size: assignments a step.
            lr: the peak learning rate.
            dim: the width of the LSTM of arms by name.
        """
        self.n_vars, self.values, self.peakiness = n_vars, values, peakiness
        self.count, self.held_out, self.tested = count, held_out, tested
        self.steps, self.batch_size, self.lr, self.dim = steps, batch_size, lr, dim
        self.title = f"Star models of {n_vars} variables, {count:,} samples"

    def arm(self, name: str) -> HeadArm:
        """``"head-first"`` or ``"head-last"``."""
        choose("arm", name, HEADS)
        make = partial(create_model, "lstm", dim=self.dim)
        return HeadArm(name, make, head=HEADS[name], role="method" if name == "head-first" else "ablation")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train one arm at one seed, and measure it where the held-out part was likeliest.

        Raises:
            InputError: the arm does not say where the head stands.
        """
        if not isinstance(arm, HeadArm):
            raise InputError(f"arm {arm.name!r} does not say where the head stands: it must be a HeadArm")
        star = StarModel(self.n_vars, self.values, self.peakiness, seed=run.seed)
        train, held_out, fresh = (
            star.sample(count, generator("star samples", part, run.seed))
            for part, count in (("training", self.count), ("held out", self.held_out), ("fresh", self.tested))
        )
        truth = -star.log_prob(fresh).mean().item()
        parts = {"held out": star.symbols(held_out, arm.head), "nats": star.symbols(fresh, arm.head)}
        model = make_seeded(lambda: arm.make(vocabulary=self.n_vars * self.values), run.seed)
        recipe = arm_recipe(Recipe(steps=self.steps, lr=self.lr, schedule="wsd", clip=1.0), arm, run)
        trained = train_arm(
            model,
            _sequence_nats,
            Shuffled(TensorSource(symbols=star.symbols(train, arm.head)), self.batch_size, derive(run.seed, "star")),
            recipe,
            run,
            evaluate=lambda judged: {name: _nats(judged, symbols.to(run.setting.device)) for name, symbols in parts.items()},
            evaluate_every=max(1, recipe.steps // 16),
        )
        curves = trained.history.curves
        stop = min(range(len(curves["held out"])), key=lambda place: curves["held out"][place][1])
        nats = curves["nats"][stop][1]
        return Outcome(
            {"gap": nats - truth, "nats": nats},
            curves=curves,
            parameters=trained.parameters,
            flops=trained.flops,
            notes={"stopped at step": int(curves["held out"][stop][0]), "nats of the true model": truth},
        )


def _sequence_nats(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return -cast(RecurrentModel, model).sequence_log_prob({}, batch["symbols"]).mean()


def _nats(model: nn.Module, symbols: Tensor) -> float:
    return -torch.cat([cast(RecurrentModel, model).sequence_log_prob({}, part) for part in symbols.split(1_000)]).double().mean().item()


TASKS = {Star.name: Star}
