"""Language modelling of one text in several orders as the large networks were trained: the regularised LSTM, by plain gradient descent through the whole text, epoch after epoch, with the state carried on.

Arms by name are orders; all train the same network. The published medium network has two layers of 650 units with dropout 0.5 and weights uniform in ± 0.05 at first; 20 streams are unrolled for 35 words; the rate is 1 for 6 epochs and is then
divided by 1.2 at each, for 39 epochs in all; gradients are clipped at 5. Texts are scored in as many streams, the state carried on, without dropout.

Source: Zaremba, Sutskever, Vinyals, Recurrent Neural Network Regularization (2014), section 4.1; Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.1.1.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ordinate.data.streams import Streams
from ordinate.data.word_orders import WORD_ORDERS
from ordinate.data.words import open_words
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.models.regularized_lstm import RegularizedLSTM
from ordinate.objectives.carried_tokens import CarriedTokens
from ordinate.tasks.language_orders import OrderedText
from ordinate.tasks.training import arm_recipe, make_seeded, train_arm
from ordinate.train.epoch_recipe import EpochRecipe

__all__ = ["MEDIUM", "TASKS", "RegularizedTexts", "TextRecipe", "carried_perplexity"]


@dataclass(frozen=True)
class TextRecipe:
    """A network and its training; by default the published medium one.

    Attributes:
        dim, layers, dropout, spread: of `RegularizedLSTM`.
        rows: streams.
        length: words of a stretch.
        lr: the first rate, of the loss summed over a stretch.
        epochs: in all.
        held: at the first rate.
        factor: what the rate is divided by at each epoch after those.
        clip: the largest norm of the gradient.
    """

    dim: int = 650
    layers: int = 2
    dropout: float = 0.5
    spread: float = 0.05
    rows: int = 20
    length: int = 35
    lr: float = 1.0
    epochs: int = 39
    held: int = 6
    factor: float = 1.2
    clip: float = 5.0

    def over(self, stretches: int) -> EpochRecipe:
        """The recipe for a text of so many stretches."""
        return EpochRecipe(
            steps=self.epochs * stretches,
            lr=self.lr,
            optimizer="sgd",
            momentum=0.0,
            clip=self.clip,
            epoch=stretches,
            held=self.held,
            factor=self.factor,
        )


MEDIUM = TextRecipe()


class RegularizedTexts(Task):
    """Perplexity of a held-out text in the order that an arm reads it.

    An arm is an `OrderedText`; its `make(vocabulary=...)` gives a `RegularizedLSTM`.
    """

    name = "regularized-texts"
    title = "The regularised LSTM on a text in several orders"
    metrics = (
        Metric("perplexity", higher_is_better=False, meaning="a symbol of the held-out text"),
        Metric("training perplexity", higher_is_better=False, meaning="a symbol of the training text, on as much of it"),
    )

    def __init__(self, train: Tensor, valid: Tensor, vocabulary: int, recipe: TextRecipe = MEDIUM, *, title: str = "") -> None:
        """
        Args:
            train: (N,) int64, the training text as numbers.
            valid: (M,), the held-out text.
            vocabulary: how many symbols there are.
            recipe: the network, and its training.
            title: one line for people.
        """
        self.text, self.valid, self.vocabulary, self.plan = train, valid, vocabulary, recipe
        self.title = title or self.title

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "RegularizedTexts":
        """A text by name or path, as words.

        Args:
            data: ``"tinyshakespeare"`` by default.
            setting: ``"gpu"`` is the published network; the smaller scales are narrower and shorter.
            strict: a text is read whole or not at all, so that this changes nothing.
        """
        words = open_words(data or "tinyshakespeare", most=setting.pick(smoke=500, full=2_000, gpu=10_000), folder=setting.data_dir)
        # Narrower networks begin with larger weights, so that their sums are as large as those of 650. In smaller vocabularies the most frequent symbols are so frequent that their biases swing at a rate of 1.
        recipe = setting.pick(
            smoke=TextRecipe(dim=32, spread=0.2, dropout=0.0, lr=0.25, epochs=1, held=1),
            full=TextRecipe(dim=128, spread=0.1, dropout=0.2, lr=0.25, epochs=3, held=2),
            gpu=MEDIUM,
        )
        return cls(
            words.train, words.valid, len(words.vocabulary), recipe, title=f"Words of {words.name} in several orders, regularised LSTM"
        )

    def arm(self, name: str) -> OrderedText:
        """``"natural"``, ``"reversed"`` or ``"three-word"``."""
        choose("arm", name, WORD_ORDERS)
        plan = self.plan
        make = partial(RegularizedLSTM, dim=plan.dim, layers=plan.layers, dropout=plan.dropout, spread=plan.spread)
        return OrderedText(name, make, order=name, role="method" if name == "natural" else "ablation")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train one arm at one seed on the text in its order, and score it on the rest in the same order.

        Raises:
            InputError: the arm has no order, or a text is too short for its streams.
        """
        if not isinstance(arm, OrderedText):
            raise InputError(f"arm {arm.name!r} does not say in which order it reads: it must be an OrderedText")
        plan, device = self.plan, run.setting.device
        model: RegularizedLSTM = make_seeded(lambda: arm.make(vocabulary=self.vocabulary), run.seed)
        train, held_out = (Streams(WORD_ORDERS[arm.order](ids), plan.rows, plan.length) for ids in (self.text, self.valid))
        recipe = arm_recipe(plan.over(train.stretches), arm, run)
        most = min(train.stretches, held_out.stretches)

        def evaluate(judged: nn.Module) -> dict[str, float]:
            assert isinstance(judged, RegularizedLSTM)
            return {
                "perplexity": carried_perplexity(judged, held_out, held_out.stretches, device),
                "training perplexity": carried_perplexity(judged, train, most, device),
            }

        trained = train_arm(
            model,
            CarriedTokens(plan.layers, plan.rows, plan.dim),
            train,
            recipe,
            run,
            evaluate=evaluate,
            evaluate_every=max(1, recipe.steps // 4),
        )
        metrics = {metric.name: trained.history.last(metric.name) for metric in self.metrics}
        return Outcome(metrics, curves=trained.history.curves, parameters=trained.parameters, flops=trained.flops)


@torch.no_grad()
def carried_perplexity(model: RegularizedLSTM, streams: Streams, stretches: int, device: str = "cpu") -> float:
    """exp of the mean nats a symbol over the first stretches, each read from the state that the one before left.

    Args:
        model: in evaluation mode.
        streams: of the text.
        stretches: how many.
        device: where the model is.
    """
    total, state = 0.0, None
    for step in range(stretches):
        batch = {name: tensor.to(device) for name, tensor in streams(step).items()}
        log_probs, state = model.carry(batch["input"], state)
        total -= float(log_probs.gather(2, batch["target"][..., None]).double().sum())
    return math.exp(total / (stretches * streams.rows * streams.length))


TASKS = {RegularizedTexts.name: RegularizedTexts}
