"""Circuits found by their edges: rankings of what nodes read of each other, against the edges that are known and by what the model can do with the best of them alone."""

import time
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.circuit_evaluation import area, evaluate_circuit
from ordinate.analyze.circuits import find_circuit, output_norms
from ordinate.analyze.edge_circuits import edge_faithfulness, edge_grid, random_edge_area, spread_shares
from ordinate.analyze.edge_pruning import EdgeRunner, edge_thresholds
from ordinate.analyze.head_outputs import head_outputs
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive
from ordinate.tasks.circuits import Subject, subject_of

__all__ = ["EDGE_METHODS", "TASKS", "EdgeRecovery"]

EdgeRanker = Callable[[Subject, int], Float[Tensor, "sources scored"]]
POINTS = 9
"""Of a curve over shares of edges."""


def _codes(subject: Subject, seed: int) -> Tensor:
    """The mean over five autoencoders of how many pairs of codes occur on positives alone."""
    return find_circuit(subject.headed, subject.contrast.positives, subject.contrast.negatives, seed=seed).edges


def _norms(subject: Subject, seed: int) -> Tensor:
    norms = output_norms(
        torch.cat([head_outputs(subject.headed, part) for part in (subject.contrast.positives, subject.contrast.negatives)])
    )
    return norms * norms[:, None]


EDGE_METHODS: dict[str, EdgeRanker] = {
    "codes": _codes,
    "output norm": _norms,
    "edge pruning": lambda subject, seed: edge_thresholds(subject.headed, subject.contrast),
}
"""Rankers by name: `ranker(subject, seed)` gives a score for every edge, (S, S), or (S, S + 1) with those to the output."""


@cache
def _runner(make: Callable[[int], Subject], seed: int, pairs: int) -> EdgeRunner:
    subject = subject_of(make, seed)
    return EdgeRunner(subject.headed, subject.contrast[:pairs])


@cache
def _random_area(make: Callable[[int], Subject], seed: int, pairs: int, output: bool) -> float:
    return random_edge_area(_runner(make, seed, pairs), output=output, points=POINTS, seed=seed)


class EdgeRecovery(Task):
    """An arm's `make()` gives a ranker of edges, such as one of `EDGE_METHODS`.

    Args:
        subject: makes the subject of a seed, whose edges are known.
        judged: the pairs, of all of them, on which faithfulness and completeness are measured.
    """

    name = "edge-recovery"
    title = "Edges of a known circuit, found"
    metrics = (
        Metric("AUC", meaning="area under the ROC curve against the known edges, of the edges between nodes"),
        Metric("faithfulness", meaning="area under the accuracy with the best edges alone, over their share"),
        Metric("over random", meaning="faithfulness minus that of random orders"),
        Metric("completeness", higher_is_better=False, meaning="area under the accuracy with the best edges taken away"),
        Metric("seconds", "s", higher_is_better=False, meaning="wall time of the ranking"),
    )

    def __init__(self, subject: Callable[[int], Subject], judged: int = 50) -> None:
        self.subject, self.judged = subject, judged

    def arm(self, name: str) -> Arm:
        """One of `EDGE_METHODS`.

        Raises:
            InputError: no such method.
        """
        ranker = EDGE_METHODS[choose("method", name, EDGE_METHODS)]
        return Arm(name, lambda: ranker, role="method" if name == "codes" else "baseline")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Rank the edges of the seed's subject, and hold the ranking against its circuit.

        Raises:
            InputError: a subject whose edges are not known.
        """
        subject = subject_of(self.subject, run.seed)
        if not subject.edges:
            raise InputError("the edges of this subject's circuit are not known: take one whose circuit is made")
        ranker: EdgeRanker = arm.make()
        start = time.perf_counter()
        scores = ranker(subject, derive(run.seed, "ranking"))
        seconds = time.perf_counter() - start
        runner = _runner(self.subject, run.seed, self.judged)
        between = runner.before[:, :-1]
        truth = edge_grid(subject.headed, subject.edges)[:, :-1]
        numbers = spread_shares(int(runner.before[:, : scores.shape[1]].sum()), POINTS)
        (shares, kept), (_, removed) = (edge_faithfulness(runner, scores, numbers, complete=complete) for complete in (False, True))
        faithful = area(kept, shares)
        return Outcome(
            {
                "AUC": evaluate_circuit(scores[:, : len(between)][between][None], truth[between][None]).auc,
                "faithfulness": faithful,
                "over random": faithful - _random_area(self.subject, run.seed, self.judged, scores.shape[1] > len(between)),
                "completeness": area(removed, shares),
                "seconds": seconds,
            },
            curves={
                "accuracy by share of edges kept": list(zip(shares.tolist(), kept.tolist(), strict=True)),
                "accuracy by share of edges taken away": list(zip(shares.tolist(), removed.tolist(), strict=True)),
            },
            notes=subject.notes,
        )


TASKS = {EdgeRecovery.name: EdgeRecovery}
