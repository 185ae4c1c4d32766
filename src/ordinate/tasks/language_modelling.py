"""Language modelling: sequence models trained alike to predict the next character of a text, and scored on the rest of it.

Arms by name are token mixers in one and the same backbone, brought to the same number of parameters by the width of the feed-forward layers.
"""

from functools import partial
from typing import Any

import torch
from torch import nn

from ordinate.data.batches import Shuffled
from ordinate.data.text import TextData, Windows, open_text
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator
from ordinate.models.sequence import Sequence
from ordinate.nn.mixers import list_mixers
from ordinate.nn.multiply_adds import count_parameters, on_meta
from ordinate.objectives.next_token import token_nats
from ordinate.tasks.training import TrainingTask
from ordinate.train.fit import Batches
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "LanguageModelling"]

_AT_ONCE = 32
_REFERENCE = "softmax"


class LanguageModelling(TrainingTask):
    """Cross-entropy of the next token on held-out text."""

    name = "language-modelling"
    title = "Language modelling"
    objectives = ("next-token",)
    metrics: tuple[Metric, ...] = (Metric("nats", "nats", higher_is_better=False, meaning="cross-entropy a token of the held-out text"),)

    def __init__(
        self,
        data: TextData,
        *,
        steps: int,
        length: int = 96,
        batch_size: int = 12,
        lr: float = 2e-3,
        dim: int = 64,
        depth: int = 2,
        heads: int = 4,
        most_tested: int | None = None,
        points: int = 5,
    ) -> None:
        """
        Args:
            data: training and held-out text.
            steps: optimizer steps.
            length: tokens in a window.
            batch_size: windows a step.
            lr: the peak learning rate.
            dim: the width of arms by name.
            depth: their blocks.
            heads: their mixers' heads.
            most_tested: score on at most this many windows of the held-out text, the same for every arm and seed.
            points: how often the curves are sampled.
        """
        self.data = data
        self.steps, self.length, self.batch_size, self.lr = steps, length, batch_size, lr
        self.shape = {"dim": dim, "depth": depth, "heads": heads, "max_length": length}
        self.points = points
        self.train, self.held_out = Windows(data.train, length, stride=1), Windows(data.valid, length)
        rows = torch.arange(len(self.held_out))
        if most_tested is not None and most_tested < len(rows):
            rows = torch.randperm(len(rows), generator=generator("tested"))[:most_tested].sort().values
        self.tested = rows
        self.title = f"Language modelling of {data.name}"

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "LanguageModelling":
        """On a named text or a file.

        Args:
            data: ``"tinyshakespeare"`` by default.
            setting: its scale decides on steps, sizes, and how much text is scored.
            strict: a text is read whole or not at all, so that this changes nothing.
        """
        text = open_text(data or "tinyshakespeare", folder=setting.data_dir)
        return cls(
            text,
            steps=setting.pick(smoke=60, full=2_000, gpu=20_000),
            length=setting.pick(smoke=min(64, len(text.valid) - 1), full=min(128, len(text.valid) - 1), gpu=min(512, len(text.valid) - 1)),
            batch_size=setting.pick(smoke=8, full=16, gpu=64),
            dim=setting.pick(smoke=32, full=96, gpu=512),
            depth=setting.pick(smoke=2, full=3, gpu=8),
            heads=setting.pick(smoke=2, full=4, gpu=8),
            most_tested=setting.pick(smoke=32, full=400) if setting.scale != "gpu" else None,
        )

    def recipe(self, setting: Setting) -> Recipe:
        """AdamW with a cosine schedule; the same for every arm."""
        return Recipe(steps=self.steps, lr=self.lr, weight_decay=0.01, warmup=self.steps // 20, clip=1.0)

    def model_arguments(self) -> dict[str, Any]:
        """The vocabulary."""
        return {"vocabulary": len(self.data.vocabulary)}

    def batches(self, seed: int, objective: str) -> Batches:
        """Windows of the training text, from every place."""
        return Shuffled(self.train, self.batch_size, seed)

    def arm(self, name: str) -> Arm:
        """A registered mixer in the common backbone, with learned positions."""
        choose("mixer", name, list_mixers())
        return Arm(name, partial(self.sized, mixer=name, position="absolute"))

    def sized(self, *, vocabulary: int, **arguments: Any) -> Sequence:
        """A causal model of this task's shape with as many parameters as the one with softmax attention and feed-forward layers of ratio 4.

        Args:
            vocabulary: how many tokens there are.
            arguments: of `ordinate.models.sequence.Sequence`.

        Raises:
            InputError: the mixer alone has more parameters than that.
        """

        def count(ratio: float, mixer: dict[str, Any]) -> int:
            return count_parameters(on_meta(lambda: Sequence(vocabulary=vocabulary, mlp_ratio=ratio, **{**self.shape, **mixer})))

        goal, own = count(4.0, {"mixer": _REFERENCE, "position": arguments.get("position", "absolute")}), count(4.0, arguments)
        ratio = 4.0 + (goal - own) / (count(5.0, arguments) - own)
        if ratio * self.shape["dim"] < 1:
            raise InputError(
                f"{arguments.get('mixer')} alone has more parameters than a whole block with softmax attention at dim={self.shape['dim']}"
            )
        return Sequence(vocabulary=vocabulary, mlp_ratio=ratio, **{**self.shape, **arguments})

    def score(self, model: nn.Module, device: str) -> dict[str, float]:
        """Nats a token of the held-out windows."""
        total, count = 0.0, 0
        for part in self.tested.split(_AT_ONCE):
            batch = {name: tensor.to(device) for name, tensor in self.held_out.take(part).items()}
            nats, tokens = token_nats(model, batch)
            total, count = total + float(nats), count + int(tokens)
        return {"nats": total / count}

    def input_card(self) -> dict[str, Any]:
        """The vocabulary and the unit of text."""
        return {"kind": "text", "unit": self.data.unit, "vocabulary": self.data.vocabulary, "length": self.length}


TASKS = {LanguageModelling.name: LanguageModelling}
