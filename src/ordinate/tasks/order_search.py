"""The search over orders on n-grams: words that carry their positions are a set, and a model may emit them in any order.

All n-grams of a text are modelled without context. Arms by name are ways to choose the order while training: ``"natural"``, ``"scattered"`` (the fixed order 5, 1, 3, 4, 2, of which no two neighbours follow each other forwards but one),
``"easy"`` (the search over these two), ``"hard"`` (the search over all), and ``"hard-cold"`` (the same without the steps of uniform orders at the start).

The perplexity is that of one order of a set, a word with its position, in the order that the arm would choose; it is at least that of the set.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.2.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from ordinate.data.batches import Shuffled, TensorSource
from ordinate.data.ngrams import ngram_sets
from ordinate.data.words import WordData, open_words
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator
from ordinate.models.registry import create_model
from ordinate.objectives.order_search import OrderSearch, SetModel
from ordinate.tasks.training import TrainingTask, arm_recipe, make_seeded, train_arm
from ordinate.train.fit import Batches
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "OrderedNGrams", "SearchArm", "kendall_tau"]

AT_ONCE = 250
NATURAL, SCATTERED = (0, 1, 2, 3, 4), (4, 0, 2, 3, 1)
WAYS: dict[str, dict[str, Any]] = {
    "natural": {"mode": "given"},
    "scattered": {"mode": "given", "candidates": [SCATTERED]},
    "easy": {"mode": "sample", "candidates": [NATURAL, SCATTERED]},
    "hard": {"mode": "sample"},
    "hard-cold": {"mode": "sample", "warmup": 0},
}


@dataclass(frozen=True, kw_only=True)
class SearchArm(Arm):
    """An arm with a way of its own to choose orders.

    Attributes:
        search: options of `ordinate.objectives.order_search.OrderSearch`.
    """

    search: Mapping[str, Any] = field(default_factory=dict)


def kendall_tau(orders: Tensor) -> Tensor:
    """Kendall's tau (B,) of orders (B, n) to 0, 1, ..., n-1: 1 for the same, -1 for the reverse. n must be 2 or more."""
    pairs = torch.triu_indices(orders.shape[1], orders.shape[1], offset=1)
    return (orders[:, pairs[1]] - orders[:, pairs[0]]).sign().double().mean(dim=1)


class OrderedNGrams(TrainingTask):
    """Sets of words with their positions, and the order in which they are emitted.

    An arm's `make(values=..., places=...)` gives a `SetModel`.
    """

    name = "order-search"
    title = "The search over orders of n-grams"
    objectives = ("order-search",)
    metrics = (
        Metric("perplexity", higher_is_better=False, meaning="a word with its position, in the order that is chosen"),
        Metric("natural", "%", meaning="of held-out sets that are emitted in the natural order"),
        Metric("favourite", "%", meaning="of held-out sets that are emitted in the order that is chosen most often"),
        Metric("tau", meaning="Kendall's, of the orders that are chosen to the natural one"),
    )

    def __init__(
        self,
        words: WordData,
        *,
        n: int = 5,
        steps: int,
        warmup: int,
        batch_size: int = 64,
        lr: float = 4e-3,
        dim: int = 128,
        tested: int = 2_000,
    ) -> None:
        """
        Args:
            words: the text.
            n: words in a set.
            steps: optimizer steps.
            warmup: steps of uniform orders for arms by name that search.
            batch_size: sets a step.
            lr: the peak learning rate.
            dim: the width of the LSTM of arms by name.
            tested: held-out sets that are scored, the same for every arm and seed.
        """
        self.words, self.n, self.steps, self.warmup = words, n, steps, warmup
        self.batch_size, self.lr, self.dim = batch_size, lr, dim
        size = len(words.vocabulary)
        self.training, held_out = ngram_sets(words.train, n, size), ngram_sets(words.valid, n, size)
        self.tested = held_out[torch.randperm(len(held_out), generator=generator("n-grams tested"))[:tested]]
        self.title = f"Orders of {n}-grams of {words.name}"

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "OrderedNGrams":
        """5-grams of a text by name or path.

        Args:
            data: ``"tinyshakespeare"`` by default.
            setting: its scale decides on steps, widths and the vocabulary.
            strict: a text is read whole or not at all, so that this changes nothing.
        """
        words = open_words(data or "tinyshakespeare", most=setting.pick(smoke=100, full=500, gpu=10_000), folder=setting.data_dir)
        steps = setting.pick(smoke=300, full=2_000, gpu=20_000)
        return cls(
            words,
            steps=steps,
            warmup=min(1_000, steps // 4),
            dim=setting.pick(smoke=48, full=128, gpu=512),
            tested=setting.pick(smoke=300, full=2_000),
        )

    def recipe(self, setting: Setting) -> Recipe:
        """Adam whose rate falls along a cosine, and gradients clipped at 1; the same for every arm."""
        return Recipe(steps=self.steps, lr=self.lr, warmup=min(self.steps, 50), clip=1.0)

    def model_arguments(self) -> dict[str, Any]:
        """The words, and the positions."""
        return {"values": len(self.words.vocabulary), "places": self.n}

    def batches(self, seed: int, objective: str) -> Batches:
        """Shuffled sets, their elements in the natural order."""
        return Shuffled(TensorSource(items=self.training), self.batch_size, seed)

    def arm(self, name: str) -> SearchArm:
        """``"natural"``, ``"scattered"``, ``"easy"``, ``"hard"`` or ``"hard-cold"``.

        Raises:
            InputError: no such arm, or one that is for sets of five.
        """
        choose("arm", name, WAYS)
        if "candidates" in WAYS[name] and self.n != len(SCATTERED):
            raise InputError(f"arm {name!r} is for {len(SCATTERED)}-grams")
        role = "method" if name in ("easy", "hard") else "ablation" if name == "hard-cold" else "baseline"
        return SearchArm(name, partial(create_model, "placed-lstm", dim=self.dim), role=role, search={"warmup": self.warmup, **WAYS[name]})  # type: ignore[arg-type]

    def input_card(self) -> dict[str, Any]:
        """The words, and how many are in a set."""
        return {"kind": "n-grams", "n": self.n, "vocabulary": self.words.vocabulary}

    def score(self, model: nn.Module, device: str) -> dict[str, float]:
        """The metrics, in orders that the model draws itself."""
        return self._measured(model, OrderSearch("sample", warmup=0), device)[0]

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train one arm at one seed, and score it in the orders that it would choose."""
        search = dict(arm.search) if isinstance(arm, SearchArm) else {"warmup": self.warmup}
        model: nn.Module = make_seeded(lambda: arm.make(**self.model_arguments()), run.seed)
        chooses = OrderSearch(**{**search, "warmup": 0})
        device = run.setting.device
        recipe = arm_recipe(self.recipe(run.setting), arm, run)
        trained = train_arm(
            model,
            OrderSearch.for_model(model, **search),
            self.batches(run.seed, self.objectives[0]),
            recipe,
            run,
            evaluate=lambda judged: self._measured(judged, chooses, device)[0],
            evaluate_every=max(1, recipe.steps // 4),
        )
        metrics, common = self._measured(model, chooses, device)
        return Outcome(metrics, curves=trained.history.curves, parameters=trained.parameters, flops=trained.flops, notes={"orders": common})

    @torch.no_grad()
    def _measured(self, model: nn.Module, chooses: OrderSearch, device: str) -> tuple[dict[str, float], dict[str, float]]:
        asked = cast(SetModel, model)
        total, orders = 0.0, []
        with torch.random.fork_rng([]):  # orders are drawn from torch's own generator; the same for every arm
            torch.manual_seed(0)
            for items in self.tested.split(AT_ONCE):
                batch = {"items": items.to(device)}
                chosen = chooses.orders(asked, batch)
                total += asked.sequence_log_prob(batch, batch["items"].gather(1, chosen)).double().sum().item()
                orders.append(chosen.cpu())
        found = torch.cat(orders)
        counts = Counter(map(tuple, found.tolist()))
        share = {" ".join(str(place + 1) for place in order): 100 * count / len(found) for order, count in counts.most_common(8)}
        natural = 100 * counts[tuple(range(self.n))] / len(found)
        return {
            "perplexity": math.exp(-total / self.tested.numel()),
            "natural": natural,
            "favourite": next(iter(share.values())),
            "tau": kendall_tau(found).mean().item(),
        }, share


TASKS = {OrderedNGrams.name: OrderedNGrams}
