r"""Deep kernel machines: exact steps against the formula read as it stands, sparse steps against a doubly stochastic deep Gaussian process, many splits at once against one by one, and predictions from kept factors.

The peers are written here. The exact objective's inverts every kernel matrix and takes two determinants a layer, where ours keeps the whitened root. The deep Gaussian process (Salimbeni and Deisenroth, Doubly stochastic
variational inference for deep Gaussian processes, 2017) has as many inducing points and layers, and samples its hidden features.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ordinate.bench.base import Bench, BenchResult, Timing, fitted_exponents
from ordinate.experiment.measure import measure_peak_memory, measure_time
from ordinate.ground.errors import InputError
from ordinate.models.deep_kernel_machine import DeepKernelMachine
from ordinate.models.sparse_deep_kernel_machine import SparseDeepKernelMachine
from ordinate.nn.gram import Gram

__all__ = ["BENCHES", "DoublyStochasticProcess", "objective_by_inverses"]

FEATURES = 8
KERNELS = ("sqexp", "sqexp")
BATCH = 512
SPLITS = 20


def objective_by_inverses(machine: DeepKernelMachine) -> Tensor:
    """The peer of an exact step: the same objective of the same Gram matrices, by inverses and determinants of every matrix.

    Raises:
        InputError: the output is not Gaussian.
    """
    if machine.likelihood is None:
        raise InputError("the peer is written for the gaussian output alone")
    gram = machine.x @ machine.x.mT / machine.x.shape[1]
    identity = torch.eye(len(gram), dtype=gram.dtype)
    passed = machine.deep(Gram.of_inducing(gram))
    total = gram.new_zeros(())
    for kernel, layer, learnt in zip(machine.deep.kernels, machine.deep.layers, passed.grams, strict=False):
        below = kernel(Gram.of_inducing(gram)).ii
        ratio = torch.linalg.inv(below) @ learnt.ii
        divergence = 0.5 * (ratio.trace() - torch.linalg.slogdet(learnt.ii)[1] + torch.linalg.slogdet(below)[1] - len(gram))
        total = total - layer.nu * divergence
        gram = learnt.ii
    noisy = machine.deep.kernels[-1](Gram.of_inducing(gram)).ii + machine.likelihood.noise * identity
    quadratic = (machine.y * (torch.linalg.inv(noisy) @ machine.y)).sum()
    constant = len(gram) * math.log(2 * math.pi)
    return total - 0.5 * quadratic - 0.5 * machine.y.shape[1] * (torch.linalg.slogdet(noisy)[1] + constant)


class DoublyStochasticProcess(nn.Module):
    """The peer of a sparse step: a deep Gaussian process with squared exponential kernels, a hidden layer as wide as the input around which the input is added, and one sample of it a step; float64."""

    def __init__(self, features: int, inducing: int, noise: float = 0.1) -> None:
        super().__init__()
        self.noise = noise
        sizes = (features, 1)
        self.places = nn.ParameterList([nn.Parameter(torch.randn(inducing, features, dtype=torch.float64)) for _ in sizes])
        self.means = nn.ParameterList([nn.Parameter(torch.zeros(inducing, size, dtype=torch.float64)) for size in sizes])
        self.roots = nn.ParameterList([nn.Parameter(torch.eye(inducing, dtype=torch.float64).repeat(size, 1, 1)) for size in sizes])
        self.log_scales = nn.Parameter(torch.zeros(len(sizes), dtype=torch.float64))

    def elbo(self, x: Tensor, y: Tensor, n_data: int) -> Tensor:
        """The bound per datum of a minibatch (T, d), (T, 1)."""
        hidden, divergence = x, x.new_zeros(())
        for number, (places, mean, root) in enumerate(zip(self.places, self.means, self.roots, strict=True)):
            scale = self.log_scales[number].exp()
            factor = torch.linalg.cholesky(self._kernel(places, places, scale) + 1e-4 * torch.eye(len(places), dtype=x.dtype))
            solved = torch.linalg.solve_triangular(factor, self._kernel(places, hidden, scale), upper=False)
            lower = root.tril()
            seen = lower.mT @ solved  # (size, inducing, T): every feature has its own covariance
            variance = (1 - solved.square().sum(dim=0) + seen.square().sum(dim=1)).clamp(min=1e-9).mT
            found = solved.mT @ mean
            logs = lower.diagonal(dim1=-2, dim2=-1).abs().log().sum()
            divergence = divergence + 0.5 * (lower.square().sum() + mean.square().sum() - lower.shape[0] * len(places)) - logs
            if number == 0:
                hidden = hidden + found + variance.sqrt() * torch.randn_like(found)
        error = ((y - found).square() + variance) / self.noise + math.log(2 * math.pi * self.noise)
        return -0.5 * error.sum(dim=1).mean() - divergence / n_data

    @staticmethod
    def _kernel(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
        distances = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * a @ b.mT
        return torch.exp(-0.5 * scale * distances / a.shape[1])


def _rows(count: int, *batch: int) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(count)
    return tuple(torch.randn(*batch, count, size, generator=drawn, dtype=torch.float64) for size in (FEATURES, 1))  # type: ignore[return-value]


def _backward(objective: Callable[[], Tensor]) -> None:
    objective().sum().backward()


def _exact(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for count in sizes or ((64, 128, 256) if quick else BENCHES["kernel-machine"].sizes):
        x, y = _rows(count)
        machine = DeepKernelMachine(count, FEATURES, 1, kernels=KERNELS).initialise(x, y)
        calls: dict[str, Callable[[], Tensor]] = {
            "ordinate": machine.objective,
            "inverses and determinants": partial(objective_by_inverses, machine),
        }
        for contender, objective in calls.items():
            watch(f"{contender}, {count} rows")
            call = partial(_backward, objective)
            seconds = measure_time(call, repeats=3 if quick else 7)
            rows.append(Timing(contender, count, seconds, None if quick else measure_peak_memory(call)))
    return BenchResult(rows, "ordinate", "rows", fitted_exponents(rows), ["one learned layer, the objective and its gradient, float64"])


def _sparse(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    x, y = _rows(BATCH)
    for inducing in sizes or ((16, 32, 64) if quick else BENCHES["kernel-machine-sparse"].sizes):
        machine = SparseDeepKernelMachine(FEATURES, 1, inducing=inducing, kernels=KERNELS).initialise(x, y)
        process = DoublyStochasticProcess(FEATURES, inducing)
        calls = {"ordinate": partial(machine.elbo, x, y, BATCH), "doubly stochastic process": partial(process.elbo, x, y, BATCH)}
        for contender, objective in calls.items():
            watch(f"{contender}, {inducing} inducing points")
            call = partial(_backward, objective)
            seconds = measure_time(call, repeats=3 if quick else 7)
            rows.append(Timing(contender, inducing, seconds, None if quick else measure_peak_memory(call)))
    return BenchResult(
        rows, "ordinate", "inducing points", fitted_exponents(rows), [f"two layers, {BATCH} rows a step, {FEATURES} features"]
    )


def _growth(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for count in sizes or ((256, 512, 1024) if quick else BENCHES["kernel-machine-rows"].sizes):
        x, y = _rows(count)
        for inducing in (32, 64) if quick else (64, 128):
            watch(f"{inducing} inducing points, {count} rows")
            machine = SparseDeepKernelMachine(FEATURES, 1, inducing=inducing, kernels=KERNELS).initialise(x, y)
            call = partial(_backward, partial(machine.collapsed_bound, x, y))
            rows.append(Timing(f"{inducing} inducing points", count, measure_time(call, repeats=3 if quick else 7)))
    return BenchResult(rows, rows[0].contender, "rows", fitted_exponents(rows), ["the bound of all rows and its gradient"])


def _splits(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    splits = 4 if quick else SPLITS
    for count in sizes or ((16, 32) if quick else BENCHES["kernel-machine-splits"].sizes):
        x, y = _rows(count, splits)
        together = DeepKernelMachine(count, FEATURES, 1, kernels=KERNELS, batch=(splits,)).initialise(x, y)
        alone = [DeepKernelMachine(count, FEATURES, 1, kernels=KERNELS).initialise(*pair) for pair in zip(x, y, strict=True)]
        calls: dict[str, Callable[[], Any]] = {
            "at once": partial(_backward, together.objective),
            "one by one": partial(_one_by_one, alone),
        }
        for contender, call in calls.items():
            watch(f"{splits} problems {contender}, {count} rows")
            rows.append(Timing(contender, count, measure_time(call, repeats=3 if quick else 7)))
    return BenchResult(rows, "at once", "rows", fitted_exponents(rows), [f"a step of {splits} problems"])


def _one_by_one(machines: Sequence[DeepKernelMachine]) -> None:
    for machine in machines:
        _backward(machine.objective)


def _predictions(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    tests = _rows(64)[0]
    for count in sizes or ((64, 128) if quick else BENCHES["kernel-machine-predictions"].sizes):
        machine = DeepKernelMachine(count, FEATURES, 1, kernels=KERNELS).initialise(*_rows(count))
        kept = machine.prepared()
        calls = {"kept factors": partial(kept, tests), "afresh": partial(machine.predict, tests)}
        for contender, call in calls.items():
            watch(f"{contender}, {count} training rows")
            rows.append(Timing(contender, count, measure_time(call, repeats=3 if quick else 9)))
    return BenchResult(rows, "kept factors", "training rows", fitted_exponents(rows), ["mean and variance of 64 test rows"])


BENCHES = {
    "kernel-machine": Bench("A step of the exact deep kernel machine, against inverses and determinants", _exact, (128, 256, 512, 1024)),
    "kernel-machine-sparse": Bench(
        "A step with inducing points, against a doubly stochastic deep Gaussian process", _sparse, (32, 64, 128, 256)
    ),
    "kernel-machine-rows": Bench("A step with inducing points as the rows grow", _growth, (1000, 2000, 4000, 8000)),
    "kernel-machine-splits": Bench("Twenty problems at once, against one by one", _splits, (32, 64, 128)),
    "kernel-machine-predictions": Bench("Predictions from kept factors, against afresh", _predictions, (64, 128, 256, 512)),
}
