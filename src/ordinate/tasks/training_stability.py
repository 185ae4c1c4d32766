"""Stability of training: the language modelling task at a learning rate that is asked for, without clipping, where a run that diverges is a result and not an error."""

import math

from torch import nn

from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run
from ordinate.tasks.language_modelling import LanguageModelling
from ordinate.train.fit import Diverged
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "TrainingStability"]


class TrainingStability(LanguageModelling):
    """Language modelling at a constant learning rate. A run whose loss is not finite scores what a uniform guess does, the logarithm of the vocabulary."""

    name = "training-stability"
    title = "Stability of training"
    metrics = (
        *LanguageModelling.metrics,
        Metric("diverged", higher_is_better=False, meaning="1 if the loss stopped being a finite number, else 0"),
    )

    def recipe(self, setting: Setting) -> Recipe:
        """AdamW at a constant rate, with neither warm-up nor clipping nor decay."""
        return Recipe(steps=self.steps, lr=self.lr, schedule="constant")

    def score(self, model: nn.Module, device: str) -> dict[str, float]:
        """Nats a token of the held-out windows, a uniform guess's where they are not finite."""
        nats = super().score(model, device)["nats"]
        finite = math.isfinite(nats)
        return {"nats": nats if finite else math.log(len(self.data.vocabulary)), "diverged": float(not finite)}

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train and score one arm at one seed, whatever comes of it."""
        try:
            return super().run(arm, run)
        except Diverged as error:
            return Outcome({"nats": math.log(len(self.data.vocabulary)), "diverged": 1.0}, notes={"diverged": str(error)})


TASKS = {TrainingStability.name: TrainingStability}
