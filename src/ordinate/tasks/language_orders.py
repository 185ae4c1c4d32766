"""Language modelling of one text in several orders: as it stands, backwards, and in reversed blocks of three.

Arms by name are orders; all train the same LSTM for the same steps. A perplexity compares likelihoods of one and the same text, whatever the order in which it is emitted: by the chain rule all could be equal.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.1.1.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ordinate.data.batches import Shuffled
from ordinate.data.text import Windows, open_text
from ordinate.data.word_orders import WORD_ORDERS
from ordinate.data.words import open_words
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator
from ordinate.models.registry import create_model
from ordinate.objectives.next_token import NextToken, token_nats
from ordinate.tasks.training import arm_recipe, make_seeded, train_arm
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "LanguageOrders", "OrderedText"]

_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class OrderedText(Arm):
    """An arm that reads the text in an order of its own.

    Attributes:
        order: one of `ordinate.data.word_orders.WORD_ORDERS`.
    """

    order: str

    def __post_init__(self) -> None:
        choose("order of words", self.order, WORD_ORDERS)


class LanguageOrders(Task):
    """Perplexity of a held-out text in the order that an arm reads it.

    An arm is an `OrderedText`; its `make(vocabulary=...)` gives a causal model of tokens.
    """

    name = "language-orders"
    title = "Language modelling in several orders"
    metrics = (
        Metric("perplexity", higher_is_better=False, meaning="a symbol of the held-out text"),
        Metric("training perplexity", higher_is_better=False, meaning="a symbol of the training text, on as much of it"),
    )

    def __init__(
        self,
        train: Tensor,
        valid: Tensor,
        vocabulary: int,
        *,
        steps: int,
        length: int = 35,
        batch_size: int = 32,
        lr: float = 4e-3,
        dim: int = 128,
        most_tested: int = 20_000,
        title: str = "",
    ) -> None:
        """
        Args:
            train: (N,) int64, the training text as numbers.
            valid: (M,), the held-out text.
            vocabulary: how many symbols there are.
            steps: optimizer steps.
            length: symbols in a window.
            batch_size: windows a step.
            lr: the peak learning rate.
            dim: the width of the LSTM of arms by name.
            most_tested: symbols that are scored.
            title: one line for people.

        Raises:
            InputError: a text that is not longer than a window.
        """
        if min(len(train), len(valid)) <= length:
            raise InputError(
                f"both parts of the text must be longer than a window of {length}, and they have {len(train)} and {len(valid)} symbols"
            )
        self.text, self.valid, self.vocabulary = train, valid, vocabulary
        self.steps, self.length, self.batch_size, self.lr, self.dim, self.most_tested = steps, length, batch_size, lr, dim, most_tested
        self.title = title or self.title

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "LanguageOrders":
        """A text by name or path, as words; with ``"characters:"`` in front of it, as characters.

        Args:
            data: ``"tinyshakespeare"`` by default.
            setting: its scale decides on steps and widths.
            strict: a text is read whole or not at all, so that this changes nothing.
        """
        kind, colon, name = (data or "tinyshakespeare").partition(":")
        arguments = {
            "steps": setting.pick(smoke=100, full=1_000, gpu=20_000),
            "batch_size": setting.pick(smoke=16, full=32, gpu=64),
            "dim": setting.pick(smoke=64, full=128, gpu=650),
            "most_tested": setting.pick(smoke=5_000, full=20_000, gpu=100_000),
        }
        if colon and kind == "characters":
            text = open_text(name, folder=setting.data_dir)
            return cls(text.train, text.valid, len(text.vocabulary), title=f"Characters of {text.name} in several orders", **arguments)
        words = open_words(data or "tinyshakespeare", most=setting.pick(smoke=500, full=2_000, gpu=10_000), folder=setting.data_dir)
        return cls(words.train, words.valid, len(words.vocabulary), title=f"Words of {words.name} in several orders", **arguments)

    def arm(self, name: str) -> OrderedText:
        """``"natural"``, ``"reversed"`` or ``"three-word"``."""
        choose("arm", name, WORD_ORDERS)
        return OrderedText(
            name, partial(create_model, "lstm", dim=self.dim), order=name, role="method" if name == "natural" else "ablation"
        )

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train one arm at one seed on the text in its order, and score it on the rest in the same order.

        Raises:
            InputError: the arm has no order.
        """
        if not isinstance(arm, OrderedText):
            raise InputError(f"arm {arm.name!r} does not say in which order it reads: it must be an OrderedText")
        order = WORD_ORDERS[arm.order]
        model: nn.Module = make_seeded(lambda: arm.make(vocabulary=self.vocabulary), run.seed)
        train, held_out = Windows(order(self.text), self.length, stride=1), Windows(order(self.valid), self.length)
        rows = max(1, min(len(held_out), self.most_tested // self.length))
        seen = torch.randint(len(train), (rows,), generator=generator("language orders", "seen"))
        fresh = torch.randperm(len(held_out), generator=generator("language orders", "fresh"))[:rows]
        device = run.setting.device
        recipe = arm_recipe(Recipe(steps=self.steps, lr=self.lr, weight_decay=0.01, warmup=min(self.steps, 50), clip=1.0), arm, run)
        trained = train_arm(
            model,
            NextToken(),
            Shuffled(train, self.batch_size, run.seed),
            recipe,
            run,
            evaluate=lambda judged: {
                "perplexity": _perplexity(judged, held_out, fresh, device),
                "training perplexity": _perplexity(judged, train, seen, device),
            },
            evaluate_every=max(1, recipe.steps // 4),
        )
        metrics = {metric.name: trained.history.last(metric.name) for metric in self.metrics}
        return Outcome(metrics, curves=trained.history.curves, parameters=trained.parameters, flops=trained.flops)


def _perplexity(model: nn.Module, windows: Windows, rows: Tensor, device: str) -> float:
    total, count = 0.0, 0
    for part in rows.split(_AT_ONCE):
        nats, tokens = token_nats(model, {name: tensor.to(device) for name, tensor in windows.take(part).items()})
        total, count = total + float(nats), count + int(tokens)
    return math.exp(total / count)


TASKS = {LanguageOrders.name: LanguageOrders}
