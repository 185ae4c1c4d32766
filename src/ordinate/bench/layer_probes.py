"""Probes of all layers and evidence of all prefixes, against one at a time.

The peers are what people write: the states of all layers are kept, and every layer, kind of token, position and target has a ridge regression of its own, in closed form, or (pooled over positions) by Adam on batches; the evidence of a prompt's
prefixes is the density of a multivariate normal, prefix by prefix and prompt by prompt.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ordinate.analyze.capture import collect
from ordinate.analyze.in_context.gaussian import BayesMixture, Representation
from ordinate.analyze.layer_probes import Target, probe_layers
from ordinate.bench.base import Bench, BenchResult, Timing, fitted_exponents
from ordinate.data.in_context.prompts import Prompts
from ordinate.data.in_context.representations import RepresentationPrompts
from ordinate.experiment.measure import measure_time
from ordinate.models.in_context_transformer import InContextTransformer
from ordinate.nn.fixed_representation import FixedRepresentation

__all__ = ["BENCHES", "evidence_by_prefixes", "probes_by_adam", "probes_one_by_one"]

TOKENS = {"x": slice(0, None, 2), "y": slice(1, None, 2)}
ALPHA = 1e-6
PROMPTS, PAIRS = 1_000, 12

Values = Mapping[str, Tensor]


def _states(model: InContextTransformer, names: Sequence[str], prompts: Prompts) -> Values:
    return collect(model, names, [prompts.batch()["tokens"]])


def _ridge_error(h: Tensor, v: Tensor, fresh: Tensor, truth: Tensor) -> float:
    mean, scale, middle = h.mean(dim=0), h.std(dim=0, unbiased=False), v.mean(dim=0)
    scale = torch.where(scale > 1e-12, scale, 1.0)
    z = (h - mean) / scale
    weight = torch.linalg.solve(z.mT @ z / len(z) + ALPHA * torch.eye(z.shape[1], dtype=z.dtype), z.mT @ (v - middle) / len(z))
    left = (fresh - mean) / scale @ weight + middle - truth
    return float(left.square().sum() / (truth - truth.mean(dim=0)).square().sum())


def probes_one_by_one(
    model: InContextTransformer, names: Sequence[str], train: Prompts, test: Prompts, targets: Mapping[str, Callable[[Prompts], Tensor]]
) -> dict[tuple[str, str, str, int | None], float]:
    """The peer of `probe_layers`: errors by layer, token, target and position, None for all positions together."""
    fitted, tested = _states(model, names, train), _states(model, names, test)
    found: dict[tuple[str, str, str, int | None], float] = {}
    for name in names:
        for token, span in TOKENS.items():
            h, fresh = fitted[name][:, span].double(), tested[name][:, span].double()
            for target, of in targets.items():
                v, truth = (of(prompts)[:, : h.shape[1]].double() for prompts in (train, test))
                found[name, token, target, None] = _ridge_error(h.flatten(0, 1), v.flatten(0, 1), fresh.flatten(0, 1), truth.flatten(0, 1))
                for place in range(h.shape[1]):
                    found[name, token, target, place] = _ridge_error(h[:, place], v[:, place], fresh[:, place], truth[:, place])
    return found


def probes_by_adam(
    model: InContextTransformer,
    names: Sequence[str],
    train: Prompts,
    targets: Mapping[str, Callable[[Prompts], Tensor]],
    steps: int,
) -> dict[tuple[str, str, str], float]:
    """The other peer: a linear layer a probe, trained by Adam on batches of 256 rows, all positions together; the last loss of each."""
    fitted, found = _states(model, names, train), {}
    draw = torch.Generator().manual_seed(0)
    for name in names:
        for token, span in TOKENS.items():
            h = fitted[name][:, span]
            for target, of in targets.items():
                v = of(train)[:, : h.shape[1]].flatten(0, 1)
                rows = h.flatten(0, 1)
                probe = torch.nn.Linear(rows.shape[1], v.shape[1])
                optimizer = torch.optim.Adam(probe.parameters(), lr=1e-2)
                for _ in range(steps):
                    some = torch.randint(len(rows), (256,), generator=draw)
                    loss = (probe(rows[some]) - v[some]).square().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                found[name, token, target] = loss.item()
    return found


def evidence_by_prefixes(phis: Sequence[Representation], noise: float, x: Tensor, y: Tensor) -> Tensor:
    """The peer of `BayesMixture.log_evidence`: (B, n + 1, K), each density by itself."""
    found = torch.zeros(*y.shape[:1], y.shape[1] + 1, len(phis), dtype=torch.float64)
    for row in range(len(y)):
        for k, phi in enumerate(phis):
            features = phi(x[row].double())
            for i in range(1, y.shape[1] + 1):
                covariance = features[:i] @ features[:i].mT + noise * torch.eye(i, dtype=torch.float64)
                density = torch.distributions.MultivariateNormal(torch.zeros(i, dtype=torch.float64), covariance)
                found[row, i, k] = density.log_prob(y[row, :i].double())
    return found


def _prompts(phi: FixedRepresentation, count: int, seed: int) -> Prompts:
    return RepresentationPrompts([phi], phi.d, PAIRS).sample(count, torch.Generator().manual_seed(seed))


def _probes(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    phi = FixedRepresentation(4, 4, 2)
    count, steps = (150, 20) if quick else (PROMPTS, 300)
    targets: dict[str, Callable[[Prompts], Tensor]] = {"x": lambda prompts: prompts.x, "Phi(x)": lambda prompts: phi(prompts.x)}
    train, test = _prompts(phi, count, 0), _prompts(phi, count, 1)
    for layers in sizes or ((2, 4) if quick else BENCHES["layer-probes"].sizes):
        torch.manual_seed(0)
        model = InContextTransformer(token_width=5, hidden=64, layers=layers, heads=4, max_length=2 * PAIRS).eval()
        names = ["stream", *(f"blocks.{number}" for number in range(layers))]
        at_once = partial(
            probe_layers,
            model,
            names,
            {name: Target(of) for name, of in targets.items()},
            [train],
            [test],
            tokens=TOKENS,
            forward=lambda network, prompts: network(prompts.batch()["tokens"]),
            alpha=ALPHA,
        )
        probes = 2 * (layers + 1) * len(targets)
        calls: dict[str, tuple[Callable[[], Any], int]] = {
            "ordinate": (at_once, probes * (PAIRS + 1) - (layers + 1) * len(targets)),
            "one by one": (
                partial(probes_one_by_one, model, names, train, test, targets),
                probes * (PAIRS + 1) - (layers + 1) * len(targets),
            ),
            "one by one, Adam": (partial(probes_by_adam, model, names, train, targets, steps), probes),
        }
        for contender, (call, fitted) in calls.items():
            watch(f"{contender}, {layers} layers")
            seconds = measure_time(call, repeats=1 if quick else 3)
            rows.append(Timing(contender, layers, seconds, extra={"probes": float(fitted)}))
    remark = f"{count} prompts of {PAIRS} pairs to fit and as many to test, width 64, two targets; Adam fits the probes of all positions together alone, in {steps} steps, and tests none"
    return BenchResult(rows, "ordinate", "layers", fitted_exponents(rows), [remark])


def _evidence(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    phis = [FixedRepresentation(4, 4, 2, seed=seed) for seed in range(2)]
    for count in sizes or ((4, 16) if quick else BENCHES["prompt-evidence"].sizes):
        prompts = _prompts(phis[0], count, 0)
        calls: dict[str, Callable[[], Any]] = {
            "ordinate": partial(BayesMixture(phis, 0.01).log_evidence, prompts.x, prompts.y),
            "density by density": partial(evidence_by_prefixes, phis, 0.01, prompts.x, prompts.y),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {count} prompts")
            rows.append(Timing(contender, count, measure_time(call, repeats=1 if quick else 3)))
    return BenchResult(
        rows, "ordinate", "prompts", fitted_exponents(rows), [f"{PAIRS} pairs a prompt, two representations of 4 dimensions"]
    )


BENCHES = {
    "layer-probes": Bench("Ridge probes of all layers, tokens, targets and positions, against one at a time", _probes, (2, 4, 8)),
    "prompt-evidence": Bench("The evidence of all prefixes of many prompts, against one density at a time", _evidence, (4, 16, 64, 256)),
}
