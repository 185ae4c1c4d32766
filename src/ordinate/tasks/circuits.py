"""Circuits found: heads of a model whose circuit is known, ranked by one method after another.

Three subjects. In a planted one and in a compiled one, which reverses or sorts, the circuit is known by construction; a trained one is a small transformer that has learnt induction here, with periods that vary so that positions alone do
not solve it, and its circuit are the heads whose ablation costs accuracy. Every method gets the same pairs of prompts.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.analyze.circuit_codes import Autoencoding
from ordinate.analyze.circuit_evaluation import area, evaluate_circuit, faithfulness, random_order_area
from ordinate.analyze.circuits import find_circuit, mean_differences, output_norms
from ordinate.analyze.edge_pruning import edge_pruning
from ordinate.analyze.head_outputs import HeadedModel, head_outputs
from ordinate.analyze.head_patching import ablation_costs, activation_patching, attribution_patching, head_importance, mean_values
from ordinate.analyze.subnetwork_probing import subnetwork_probing
from ordinate.data.batches import Generated
from ordinate.data.contrasts import Contrast, Edge
from ordinate.data.program_prompts import program_prompts
from ordinate.data.repeated_tokens import repeated_tokens, sample_repeats
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive
from ordinate.models.planted_induction import planted_induction
from ordinate.models.programs.counted import compiled_circuit
from ordinate.models.sequence import Sequence
from ordinate.tasks.training import make_seeded
from ordinate.train.fit import Batch, fit
from ordinate.train.recipe import Recipe

__all__ = ["METHODS", "TASKS", "ByCodes", "CircuitRecovery", "Compiled", "Planted", "Subject", "TrainedInduction", "subject_of"]

VOCABULARY = 32
"""Tokens of the subjects."""
Ranking = Float[Tensor, "rankings layers columns"]
Ranker = Callable[["Subject", int], Ranking]


@dataclass(frozen=True)
class Subject:
    """A model, what it is asked, and which heads do it.

    Attributes:
        headed: the model.
        contrast: N pairs of prompts.
        truth: (layers, columns), 1 in the circuit.
        edges: of the circuit, or none where they are not known.
        notes: what is known of it, as JSON values.
    """

    headed: HeadedModel
    contrast: Contrast
    truth: Float[Tensor, "layers columns"]
    edges: tuple[Edge, ...] = ()
    notes: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Planted:
    """A planted circuit.

    Attributes:
        pairs: N.
        layers, heads: of the model.
        length: T.
    """

    pairs: int = 250
    layers: int = 3
    heads: int = 4
    length: int = 24

    def __call__(self, seed: int) -> Subject:
        """The subject of a seed."""
        made = planted_induction(seed, layers=self.layers, heads=self.heads, vocabulary=VOCABULARY, length=self.length)
        headed = HeadedModel(made.model)
        contrast = repeated_tokens(self.pairs, length=self.length, vocabulary=VOCABULARY, seed=seed, truth=made.truth)
        return Subject(headed, contrast, headed.grid(made.truth), made.edges, _as_json(made.roles))


@dataclass(frozen=True)
class Compiled:
    """A program whose weights are written down; MLPs are nodes too.

    Attributes:
        program: ``"reverse"`` or ``"sort"``.
        pairs: N.
        layers, heads: of the model.
    """

    program: str
    pairs: int = 250
    layers: int = 3
    heads: int = 4

    def __call__(self, seed: int) -> Subject:
        """The subject of a seed."""
        made = compiled_circuit(self.program, seed, layers=self.layers, heads=self.heads)
        headed = HeadedModel(made.model, mlp=True)
        contrast = program_prompts(self.program, self.pairs, tokens=made.tokens, seed=seed, truth=made.truth)
        return Subject(headed, contrast, headed.grid(made.truth), made.edges, _as_json(made.roles))


def _as_json(roles: dict[str, tuple[int, int]]) -> dict[str, object]:
    return {"roles": {role: list(place) for role, place in roles.items()}}


@dataclass(frozen=True)
class TrainedInduction:
    """A small transformer with relative positions and narrow MLPs, trained here on repeated tokens.

    Attributes:
        pairs: N.
        steps: of training.
        length: T.
        periods: of the repetitions, drawn for every sequence.
        cost: a head is in the circuit whose mean-ablation costs at least this share of right answers.
        dim, layers, heads: of the model.
        batch_size, lr: of training.
    """

    pairs: int = 250
    steps: int = 1000
    length: int = 24
    periods: tuple[int, int] = (5, 11)
    cost: float = 0.1
    dim: int = 64
    layers: int = 3
    heads: int = 4
    batch_size: int = 64
    lr: float = 3e-3

    def __call__(self, seed: int) -> Subject:
        """The subject of a seed.

        Raises:
            InputError: it has not learnt enough for any head, or all heads, to be in the circuit.
        """
        # With positions as biases of the offset a head that looks one back is learnt soon; with learned positions most steps go into that.
        model = make_seeded(
            lambda: Sequence(
                vocabulary=VOCABULARY,
                dim=self.dim,
                depth=self.layers,
                heads=self.heads,
                mixer="softmax-rpe",
                position="none",
                max_length=self.length,
                mlp_ratio=0.25,
            ),
            seed,
        )

        def draw(draws: torch.Generator) -> Batch:
            tokens, _ = sample_repeats(self.batch_size, self.length, self.periods, VOCABULARY, draws)
            return {"tokens": tokens}

        fit(
            model,
            _foretell,
            Generated(draw, derive(seed, "repeats")),
            Recipe(steps=self.steps, lr=self.lr, warmup=min(100, self.steps), weight_decay=0.01, clip=1.0),
            seed=seed,
        )
        headed = HeadedModel(model)
        contrast = repeated_tokens(self.pairs, length=self.length, periods=self.periods, vocabulary=VOCABULARY, seed=seed)
        values = mean_values(headed, contrast.positives.followed_by(contrast.negatives))
        costs = ablation_costs(headed, contrast, values, accuracy=True)
        with torch.no_grad():
            accuracy = contrast.accuracy(headed.last_logits(contrast.positives))
        truth = (costs >= self.cost).float()
        if not 0 < float(truth.mean()) < 1:
            raise InputError(
                f"the model answers {100 * accuracy:.0f} % right, and {'all' if accuracy and bool(truth.all()) else 'none'} of its heads are needed for it: train it for more steps than {self.steps}"
            )
        return Subject(headed, contrast, truth, notes={"costs of ablation": costs.tolist(), "accuracy": accuracy})


def _foretell(model: nn.Module, batch: Batch) -> Tensor:
    logits, tokens = model(batch["tokens"])[:, :-1], batch["tokens"][:, 1:]
    return F.cross_entropy(logits.flatten(0, 1), tokens.flatten())


@cache
def subject_of(make: Callable[[int], Subject], seed: int) -> Subject:
    """The subject of a seed, made once for all tasks."""
    return make(seed)


@cache
def _means(make: Callable[[int], Subject], seed: int) -> dict[str, Tensor]:
    contrast = subject_of(make, seed).contrast
    return mean_values(subject_of(make, seed).headed, contrast.positives.followed_by(contrast.negatives))


@cache
def _random_area(make: Callable[[int], Subject], seed: int, pairs: int) -> float:
    subject = subject_of(make, seed)
    return random_order_area(subject.headed, subject.contrast[:pairs], _means(make, seed), orders=10, seed=seed)


@dataclass(frozen=True)
class ByCodes:
    """Rankings by codes, one an autoencoder; the arguments are those of `find_circuit`.

    Attributes:
        edges: rank by the votes of edges instead.
    """

    how: Autoencoding | None = None
    autoencoders: int = 5
    pool: str = "mean"
    score: str = "count"
    matched: bool = False
    edges: bool = False

    def __call__(self, subject: Subject, seed: int) -> Ranking:
        """Rank the subject's heads."""
        contrast = subject.contrast
        found = find_circuit(
            subject.headed,
            contrast.positives,
            contrast.negatives,
            how=self.how,
            autoencoders=self.autoencoders,
            pool=self.pool,
            score=self.score,
            matched=self.matched,
            seed=seed,
        )
        return found.each_vote if self.edges else found.each


def _norms(subject: Subject, seed: int) -> Ranking:
    return output_norms(_outputs(subject)).reshape(1, *subject.headed.shape)


def _differences(subject: Subject, seed: int) -> Ranking:
    return mean_differences(_outputs(subject), len(subject.contrast.positives)).reshape(1, *subject.headed.shape)


def _outputs(subject: Subject) -> Tensor:
    return torch.cat([head_outputs(subject.headed, part) for part in (subject.contrast.positives, subject.contrast.negatives)])


METHODS: dict[str, Ranker] = {
    "codes": ByCodes(),
    "codes, one autoencoder": ByCodes(autoencoders=1),
    "codes, edges": ByCodes(edges=True),
    "codes, last token": ByCodes(pool="last"),
    "codes, matched sizes": ByCodes(matched=True),
    "codes, normalised": ByCodes(score="normalised"),
    "output norm": _norms,
    "mean difference": _differences,
    "activation patching": lambda subject, seed: activation_patching(subject.headed, subject.contrast)[None],
    "attribution patching": lambda subject, seed: attribution_patching(subject.headed, subject.contrast)[None],
    "HISP": lambda subject, seed: head_importance(subject.headed, subject.contrast)[None],
    "edge pruning": lambda subject, seed: edge_pruning(subject.headed, subject.contrast)[None],
    "subnetwork probing": lambda subject, seed: subnetwork_probing(subject.headed, subject.contrast, seed=seed)[None],
}
"""Rankers by name: `ranker(subject, seed)` gives one ranking or several, (R, layers, columns)."""


class CircuitRecovery(Task):
    """An arm's `make()` gives a ranker, such as one of `METHODS`.

    A ranker that gives several rankings scores their mean AUC, as the paper's trials do; the ranking by the mean of their scores is measured beside it, and is the one whose faithfulness is.

    Args:
        subject: makes the subject of a seed.
        judged: the pairs, of all of them, on which faithfulness and completeness are measured; rankings are made on all.
    """

    name = "circuit-recovery"
    title = "Heads of a known circuit, found"
    metrics = (
        Metric("AUC", meaning="area under the ROC curve against the known heads, the mean over the rankings"),
        Metric("AUC together", meaning="the same of the mean of the rankings' scores"),
        Metric("balance", meaning="harmonic mean of true positive and true negative rate at the best threshold"),
        Metric("F1", meaning="at the best threshold"),
        Metric("faithfulness", meaning="area under the accuracy with the k best heads alone, over k"),
        Metric("over random", meaning="faithfulness minus that of random orders"),
        Metric("completeness", higher_is_better=False, meaning="area under the accuracy with the k best heads ablated"),
        Metric("seconds", "s", higher_is_better=False, meaning="wall time of the ranking"),
    )

    def __init__(self, subject: Callable[[int], Subject], judged: int = 50) -> None:
        self.subject, self.judged = subject, judged

    def arm(self, name: str) -> Arm:
        """One of `METHODS`.

        Raises:
            InputError: no such method.
        """
        ranker = METHODS[choose("method", name, METHODS)]
        return Arm(name, lambda: ranker, role="method" if name.startswith("codes") else "baseline")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Rank the heads of the seed's subject, and hold the ranking against its circuit."""
        ranker: Ranker = arm.make()
        subject, values = subject_of(self.subject, run.seed), _means(self.subject, run.seed)
        start = time.perf_counter()
        rankings = ranker(subject, derive(run.seed, "ranking"))
        seconds = time.perf_counter() - start
        together = rankings.double().mean(dim=0)
        every = [evaluate_circuit(ranking, subject.truth) for ranking in rankings]
        some = subject.contrast[: self.judged]
        kept, removed = (faithfulness(subject.headed, together, some, values, complete=complete) for complete in (False, True))
        return Outcome(
            {
                "AUC": sum(each.auc for each in every) / len(every),
                "AUC together": evaluate_circuit(together, subject.truth).auc,
                "balance": sum(each.balance for each in every) / len(every),
                "F1": sum(each.f1 for each in every) / len(every),
                "faithfulness": area(kept),
                "over random": area(kept) - _random_area(self.subject, run.seed, self.judged),
                "completeness": area(removed),
                "seconds": seconds,
            },
            curves={
                "accuracy by heads kept": list(enumerate(kept.tolist())),
                "accuracy by heads ablated": list(enumerate(removed.tolist())),
            },
            notes={"truth": subject.truth.tolist(), "scores": together.tolist(), **subject.notes},
        )


TASKS = {CircuitRecovery.name: CircuitRecovery}
