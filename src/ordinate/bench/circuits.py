"""Circuits by codes: pairs of codes counted by hashing against the loop over examples and pairs of heads, and the whole method at the size of GPT-2 small beside pruning edges.

The peer of the count is a direct reading of its definition, written here: for every example and every two heads one cell of a table of S x S x M x M is set, for either class.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ordinate.analyze.circuit_codes import Autoencoding, edge_scores
from ordinate.analyze.circuits import circuit_of_outputs, find_circuit
from ordinate.analyze.edge_pruning import edge_pruning
from ordinate.analyze.head_outputs import HeadedModel
from ordinate.bench.base import Bench, BenchResult, Timing
from ordinate.data.repeated_tokens import repeated_tokens
from ordinate.experiment.measure import measure_peak_memory, measure_time
from ordinate.models.planted_induction import planted_induction

__all__ = ["BENCHES", "edges_by_a_table"]

LAYERS, HEADS, WIDTH, CODES = 12, 12, 768, 200


def edges_by_a_table(codes: Int[Tensor, "examples nodes"], positives: int, count: int) -> Float[Tensor, "nodes nodes"]:
    """The peer of `edge_scores`."""
    nodes = codes.shape[1]
    seen = [torch.zeros(nodes, nodes, count, count, dtype=torch.bool) for _ in range(2)]
    for example, row in enumerate(codes.tolist()):
        table = seen[int(example >= positives)]
        for here in range(nodes):
            for there in range(nodes):
                if here != there:
                    table[here, there, row[here], row[there]] = True
    return (seen[0] & ~seen[1]).sum(dim=(2, 3)).double()


def _edges(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    examples, rows = 100 if quick else 500, []
    for nodes in sizes or ((12,) if quick else BENCHES["circuit-edges"].sizes):
        codes = torch.randint(CODES, (examples, nodes), generator=torch.Generator().manual_seed(nodes))
        positive = torch.arange(examples) < examples // 2
        calls: dict[str, Callable[[], Any]] = {
            "hashing": partial(edge_scores, codes, positive),
            **({"loop and table": partial(edges_by_a_table, codes, examples // 2, CODES)} if nodes <= 48 else {}),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {nodes} heads")
            memory = None if quick else measure_peak_memory(call)
            rows.append(Timing(contender, nodes, measure_time(call, repeats=1 if contender != "hashing" else 3, warmup=0), memory))
    return BenchResult(
        rows,
        "hashing",
        "heads",
        remarks=[f"{examples} examples, {CODES} codes; the loop is timed up to 48 heads: at 144 its tables take 1.6 GB"],
    )


def _methods(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    """Codes at the size of GPT-2 small, and both methods on one planted model."""
    rows = []
    examples, layers, width, steps = (40, 2, 64, 20) if quick else (500, LAYERS, WIDTH, 500)
    outputs = torch.randn(examples, layers * HEADS, width, generator=torch.Generator().manual_seed(0))
    labels = [f"L{layer}H{head}" for layer in range(layers) for head in range(HEADS)]
    watch("codes, outputs as of GPT-2 small")
    call = partial(circuit_of_outputs, outputs, (layers, HEADS), labels, how=Autoencoding(steps=steps), autoencoders=1, device=device)
    rows.append(Timing("autoencoder and codes, as GPT-2 small", layers * HEADS, measure_time(call, repeats=1, warmup=0, device=device)))
    planted = planted_induction(0)
    headed, contrast = HeadedModel(planted.model), repeated_tokens(8 if quick else 50)
    nodes = headed.shape[0] * headed.shape[1]
    few = (0.1,) if quick else (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    calls: dict[str, Callable[[], Any]] = {
        "codes": partial(find_circuit, headed, contrast.positives, contrast.negatives, how=Autoencoding(steps=steps), autoencoders=1),
        "edge pruning": partial(edge_pruning, headed, contrast, taus=few),
    }
    for contender, run in calls.items():
        watch(f"{contender}, planted model")
        rows.append(Timing(contender, nodes, measure_time(run, repeats=1, warmup=0)))
    return BenchResult(
        rows,
        "codes",
        "heads",
        remarks=[
            f"{examples} outputs of {layers * HEADS} heads of width {width}, one autoencoder of {steps} steps; the planted model has {nodes} heads"
        ],
    )


BENCHES = {
    "circuit-edges": Bench("Pairs of codes by hashing, against a loop over a table", _edges, (12, 48, 144)),
    "circuit-methods": Bench("A circuit by codes at the size of GPT-2 small, and beside pruning edges", _methods),
}
