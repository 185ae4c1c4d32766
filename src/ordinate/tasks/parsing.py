"""Parsing: a sentence's parts of speech in, its tree out, written depth first or breadth first.

Sentences are drawn from the grammar of `ordinate.data.trees`. Arms by name are linearisations: the same network learns from the same sentences, and emits the trees in another order. Answers are decoded greedily, without
constraints.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.1.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from random import Random
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ordinate.analyze.brackets import bracket_f1
from ordinate.data.batches import Batch, Shuffled, Source
from ordinate.data.trees import LABELS, LINEARISATIONS, TERMINALS, Tree, random_tree
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.generate.decoding import greedy
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive
from ordinate.models.registry import create_model
from ordinate.tasks.training import arm_recipe, make_seeded, train_arm
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "LinearArm", "Parsing"]

END = 0


@dataclass(frozen=True, kw_only=True)
class LinearArm(Arm):
    """An arm that emits trees in an order of its own.

    Attributes:
        linearisation: one of `ordinate.data.trees.LINEARISATIONS`.
    """

    linearisation: str

    def __post_init__(self) -> None:
        choose("linearisation", self.linearisation, LINEARISATIONS)


class _Sentences(Source):
    """Sentences and their trees as numbers, no wider than the longest of a batch: `source` (B, n), -1 for padding, and `target` (B, T), END and padding 0."""

    def __init__(self, trees: Sequence[Tree], linearisation: str) -> None:
        written = LINEARISATIONS[linearisation]
        number = {token: place for place, token in enumerate((*LABELS, *written.marks(LABELS)), start=1)}
        word = {label: place for place, label in enumerate(TERMINALS)}
        self.source = pad_sequence(
            [torch.tensor([word[leaf] for leaf in tree.leaves()]) for tree in trees], batch_first=True, padding_value=-1
        )
        answers = [torch.tensor([*(number[token] for token in written.write(tree)), END]) for tree in trees]
        self.target = pad_sequence(answers, batch_first=True, padding_value=END)
        self.tokens = ["", *number]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, indices: Int64[Tensor, " batch"]) -> Batch:
        source, target = self.source[indices], self.target[indices]
        words, tokens = int((source >= 0).sum(dim=1).max()), int((target != END).sum(dim=1).max()) + 1
        return {"source": source[:, :words], "target": target[:, :tokens]}


class Parsing(Task):
    """Trees from parts of speech.

    An arm is a `LinearArm`; its `make(source=..., target=...)` gives a network `model(source, target) -> (log_prob, log_probs)` that decodes step by step.
    """

    name = "parsing"
    title = "Parsing sentences of a small grammar"
    metrics = (
        Metric("exact", "%", meaning="of answers that are the true tree"),
        Metric("F1", "%", meaning="of labelled brackets"),
        Metric("invalid", "%", higher_is_better=False, meaning="of answers that are no tree"),
    )

    def __init__(
        self, *, steps: int, batch_size: int = 64, lr: float = 4e-3, dim: int = 64, depth: int = 5, count: int = 10_000, tested: int = 500
    ) -> None:
        """
        Args:
            steps: optimizer steps.
            batch_size: sentences a step.
            lr: the peak learning rate.
            dim: the width of the network of arms by name.
            depth: of the trees, at most.
            count: training sentences for each seed.
            tested: test sentences, the same for every arm and seed.
        """
        self.steps, self.batch_size, self.lr, self.dim = steps, batch_size, lr, dim
        self.depth, self.count, self.tested = depth, count, tested

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "Parsing":
        """Sentences are drawn: there is no data to name.

        Raises:
            InputError: data were named.
        """
        if data is not None:
            raise InputError(f"parsing draws its sentences from a grammar, and takes no data, not {data!r}")
        return cls(steps=setting.pick(smoke=200, full=1_500, gpu=20_000), dim=setting.pick(smoke=32, full=64, gpu=256))

    def arm(self, name: str) -> LinearArm:
        """``"depth-first"`` or ``"breadth-first"``."""
        choose("arm", name, LINEARISATIONS)
        make = partial(create_model, "attentive-translator", dim=self.dim)
        return LinearArm(name, make, linearisation=name, role="method" if name == "depth-first" else "ablation")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train one arm at one seed, and parse the test sentences with it.

        Raises:
            InputError: the arm has no linearisation.
        """
        if not isinstance(arm, LinearArm):
            raise InputError(f"arm {arm.name!r} does not say how trees are written: it must be a LinearArm")
        training = _Sentences(_trees(self.count, self.depth, derive("parsing", "training", run.seed)), arm.linearisation)
        true = _trees(self.tested, self.depth, derive("parsing", "test"))
        test = _Sentences(true, arm.linearisation)
        model: nn.Module = make_seeded(lambda: arm.make(source=len(TERMINALS), target=len(training.tokens)), run.seed)
        recipe = arm_recipe(Recipe(steps=self.steps, lr=self.lr, warmup=min(self.steps, 50), clip=1.0), arm, run)
        trained = train_arm(
            model,
            _answer_nats,
            Shuffled(training, self.batch_size, run.seed),
            recipe,
            run,
            evaluate=lambda judged: _score(judged, test, true, arm.linearisation, run.setting.device),
            evaluate_every=max(1, recipe.steps // 3),
        )
        metrics = {metric.name: trained.history.last(metric.name) for metric in self.metrics}
        return Outcome(metrics, curves=trained.history.curves, parameters=trained.parameters, flops=trained.flops)


@lru_cache(maxsize=8)
def _trees(count: int, depth: int, seed: int) -> tuple[Tree, ...]:
    draws = Random(seed)
    return tuple(random_tree(draws, depth) for _ in range(count))


def _answer_nats(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    target = batch["target"]
    return -model(batch["source"], target)[0].sum() / ((target != END).sum() + len(target))


def _score(model: Any, test: _Sentences, true: Sequence[Tree], linearisation: str, device: str) -> dict[str, float]:
    written = LINEARISATIONS[linearisation]
    answers = greedy(model, {"source": test.source.to(device)}, most=test.target.shape[1] + 8).symbols.tolist()
    found: list[Tree | None] = []
    for answer in answers:
        tokens = [test.tokens[symbol] for symbol in (answer[: answer.index(END)] if END in answer else answer)]
        found.append(written.read(tokens) if written.valid(tokens) else None)
    right = sum(one == other for one, other in zip(found, true, strict=True))
    return {"exact": 100 * right / len(true), "F1": bracket_f1(found, true), "invalid": 100 * found.count(None) / len(true)}


TASKS = {Parsing.name: Parsing}
