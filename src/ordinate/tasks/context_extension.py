"""A model trained at one length, brought to longer ones by every rule on the same few steps.

The model reads pairs and answers for keys (`ordinate.data.key_values`), trained at length L0 until it answers all; then each arm stretches its positions by a rule of its own, is fine-tuned for some steps at twice the length or not
at all, and is scored at L0 and beyond, with the factor it was trained at or another. The base is trained once a seed and is the same for all arms.

An arm's `make()` gives an `Extension`.

Source: Pal et al., Giraffe (2023), sections 3 and 5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from ordinate.adapt.extend_context import extend_context
from ordinate.data.batches import Generated
from ordinate.data.key_values import answered, recall_batch, recall_vocabulary
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive, generator
from ordinate.models.sequence import Sequence as SequenceModel
from ordinate.nn.rotary_scaling import XPos
from ordinate.objectives.next_token import NextToken
from ordinate.tasks.training import make_seeded, train_arm
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "ContextExtension", "Extension"]

_AT_ONCE = 16
KEYS, VALUES = 128, 32


@dataclass(frozen=True)
class Extension:
    """How an arm goes beyond the length of the base.

    Attributes:
        scaling: the rule of its rotary positions.
        arguments: of the rule.
        judged: arguments that are others at evaluation.
        tuned: whether it is fine-tuned at all.
    """

    scaling: str = "plain"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    judged: Mapping[str, Any] = field(default_factory=dict)
    tuned: bool = True


class _Shrinking(NextToken):
    """Next-token prediction that lowers the scale base of xPos after every step, where there is one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        object.__setattr__(
            self, "_rules", [module for module in model.modules() if isinstance(module, XPos)]
        )  # not modules of the objective's own

    def update(self) -> None:
        for rule in self.__dict__["_rules"]:
            rule.shrink()


class ContextExtension(Task):
    """Share of values recalled, at every length."""

    name = "context-extension"
    title = "Recall beyond the length of training"

    def __init__(
        self,
        length: int = 64,
        *,
        multiples: Sequence[int] = (1, 2, 4, 8),
        steps: int = 1_600,
        tuning_steps: int = 150,
        batch_size: int = 48,
        dim: int = 64,
        heads: int = 2,
        depth: int = 2,
        lr: float = 3e-3,
        tuning_lr: float = 1e-3,
        tested: int = 64,
    ) -> None:
        """
        Args:
            length: L0, a multiple of 4.
            multiples: of L0 at which arms are scored.
            steps: of the base.
            tuning_steps: of every arm, at 2 L0.
            batch_size: rows a step of the base; half as many of an arm.
            dim: the width.
            heads: of attention.
            depth: blocks.
            lr: the peak learning rate of the base.
            tuning_lr: that of the arms.
            tested: rows a length.

        Raises:
            InputError: more pairs than there are keys at the longest length.
        """
        if max(multiples) * length // 4 > KEYS:
            raise InputError(f"at most {4 * KEYS} tokens can be recalled, and {max(multiples) * length} are asked for")
        self.length, self.multiples = length, tuple(multiples)
        self.steps, self.tuning_steps, self.batch_size, self.lr, self.tuning_lr, self.tested = (
            steps,
            tuning_steps,
            batch_size,
            lr,
            tuning_lr,
            tested,
        )
        self.shape: dict[str, Any] = {"dim": dim, "heads": heads, "depth": depth}
        self.metrics = tuple(
            Metric(f"recall@{multiple * length}", "%", meaning=f"of values, at {multiple} times the length of the base")
            for multiple in self.multiples
        )
        self._bases: dict[int, SequenceModel] = {}

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Extend, fine-tune and score one arm."""
        extension: Extension = arm.make()
        model = extend_context(self._base(run), extension.scaling, **extension.arguments)
        curves: dict[str, Any] = {}
        if extension.tuned:
            trained = train_arm(
                model,
                _Shrinking(model),
                self._batches(run.seed, "tuning", self.batch_size // 2, 2 * self.length),
                self._recipe(self.tuning_steps, self.tuning_lr, run),
                run,
            )
            curves = trained.history.curves
        if extension.judged:
            model = extend_context(model, extension.scaling, **{**extension.arguments, **extension.judged})
        device = run.setting.device
        return Outcome(
            {f"recall@{multiple * self.length}": self._recall(model.to(device).eval(), multiple, run) for multiple in self.multiples},
            curves=curves,
        )

    def _base(self, run: Run) -> SequenceModel:
        """The model that was trained at L0, once a seed."""
        if run.seed not in self._bases:
            model = make_seeded(
                lambda: SequenceModel(
                    vocabulary=recall_vocabulary(KEYS, VALUES),
                    mixer="softmax-rotary-shifted",
                    position="rotary",
                    max_length=max(self.multiples) * self.length,
                    **self.shape,
                ),
                run.seed,
            )
            own = replace(run, folder=None, resume=False)
            train_arm(
                model,
                NextToken(),
                self._batches(run.seed, "base", self.batch_size, self.length),
                self._recipe(self.steps, self.lr, run),
                own,
            )
            self._bases[run.seed] = model.cpu()
        return self._bases[run.seed]

    def _recipe(self, steps: int, lr: float, run: Run) -> Recipe:
        return Recipe(steps=min(steps, run.setting.steps or steps), lr=lr, warmup=min(steps, run.setting.steps or steps) // 10, clip=1.0)

    def _batches(self, seed: int, purpose: str, rows: int, length: int) -> Generated:
        return Generated(lambda draws: recall_batch(rows, length, KEYS, VALUES, draws), derive(seed, purpose))

    @torch.no_grad()
    def _recall(self, model: nn.Module, multiple: int, run: Run) -> float:
        batch = recall_batch(self.tested, multiple * self.length, KEYS, VALUES, generator(run.seed, "recalled", multiple))
        right = asked = 0
        for rows in torch.arange(self.tested).split(_AT_ONCE):
            tokens, target = (batch[name][rows].to(run.setting.device) for name in ("input", "target"))
            some, of = answered(model(tokens), target)
            right, asked = right + some, asked + of
        return 100 * right / asked


TASKS = {ContextExtension.name: ContextExtension}
