"""The theory of deep networks as software: recursions against naive quadrature, kernels of many inputs, ensembles against a loop over networks, and tangent kernels against whole Jacobians.

The peers are direct readings of the formulas, written here: an average is a quadrature of its own, a kernel of two inputs a sum over a grid, an ensemble a Python loop, and a tangent kernel the Jacobian of all outputs by all parameters.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ordinate.analyze.criticality import find_criticality
from ordinate.analyze.empirical import empirical_ntk
from ordinate.analyze.flow import rg_flow
from ordinate.analyze.kernels import cross_averages
from ordinate.analyze.layerwise import draw_layers
from ordinate.bench.base import Bench, BenchResult, Timing, fitted_exponents
from ordinate.experiment.measure import measure_peak_memory, measure_time
from ordinate.nn.activations import Activation
from ordinate.nn.deep_mlp import DeepMLP
from ordinate.nn.variance_init import variance_init_
from ordinate.train.ensemble import Ensemble

__all__ = ["BENCHES", "average_by_average", "kernel_on_a_grid", "networks_one_by_one"]

NETS = 256


def average_by_average(depth: int, nodes: int = 201) -> dict[str, float]:
    """The peer of `rg_flow`: tanh at criticality, every average its own Gauss-Hermite sum, for K, V and Θ alone."""
    places, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    K, V, Theta = 1.0, 0.0, 2.0
    for _ in range(depth - 1):

        def mean(f: Callable[[np.ndarray], np.ndarray], K: float = K) -> float:
            return float((weights * f(np.sqrt(K) * places)).sum())

        square = mean(lambda z: np.tanh(z) ** 2)
        parallel = mean(lambda z: z * np.tanh(z) * (1 - np.tanh(z) ** 2)) / K
        V = mean(lambda z: np.tanh(z) ** 4) - square**2 + parallel**2 * V
        Theta = 1 + square + mean(lambda z: (1 - np.tanh(z) ** 2) ** 2) * Theta
        K = square
    return {"K": K, "V": V, "Theta": Theta}


def kernel_on_a_grid(act: Activation, kernel: Tensor, nodes: int = 101) -> Tensor:
    """The peer of `cross_averages`: <σ_a σ_b> of every pair by a product of Gauss-Hermite rules."""
    places, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(nodes))
    weights = weights / weights.sum()
    found = torch.empty_like(kernel)
    for a in range(len(kernel)):
        for b in range(a + 1):
            root = torch.linalg.cholesky(kernel[[a, b]][:, [a, b]] + 1e-12 * torch.eye(2, dtype=kernel.dtype))
            z_a, z_b = root[0, 0] * places[:, None], root[1, 0] * places[:, None] + root[1, 1] * places[None, :]
            found[a, b] = found[b, a] = (weights[:, None] * weights[None, :] * act(z_a) * act(z_b)).sum()
    return found


def networks_one_by_one(networks: Sequence[nn.Module], x: Tensor) -> Tensor:
    """The peer of an ensemble."""
    with torch.no_grad():
        return torch.stack([network(x) for network in networks])


def _flow(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    act, rows = Activation.of("tanh"), []
    for depth in sizes or ((30, 100) if quick else BENCHES["rg-flow"].sizes):
        calls: dict[str, Callable[[], Any]] = {
            "ordinate, ten quantities": partial(rg_flow, act, depth, 0.0, 1.0),
            "average by average, three": partial(average_by_average, depth),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {depth} layers")
            rows.append(Timing(contender, depth, measure_time(call, repeats=3 if quick else 9)))
    return BenchResult(rows, "ordinate, ten quantities", "layers", fitted_exponents(rows))


def _kernels(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    act, rows = Activation.of("gelu"), []
    for inputs in sizes or ((8, 32) if quick else BENCHES["kernel-step"].sizes):
        x = torch.randn(inputs, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(inputs))
        kernel = 0.17 + 1.98 * x @ x.mT / 64
        exact = cross_averages(act, kernel, "closed")[0]
        calls: dict[str, Callable[[], Any]] = {
            "closed form": partial(cross_averages, act, kernel, "closed"),
            "expansion": partial(cross_averages, act, kernel, "hermite"),
            **({"quadrature by pairs": partial(cross_averages, act, kernel, "quadrature")} if inputs <= 32 else {}),
            **({"grid by pairs, values alone": partial(kernel_on_a_grid, act, kernel)} if inputs <= 32 else {}),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {inputs} inputs")
            seconds = measure_time(call, repeats=3)
            found = call()
            error = float(((found if isinstance(found, Tensor) else found[0]) - exact).abs().max() / exact.abs().max())
            rows.append(Timing(contender, inputs, seconds, extra={"largest error": error}))
    remark = "ways by pairs are timed up to 32 inputs; one layer, values and derivatives"
    return BenchResult(rows, "closed form", "inputs", fitted_exponents(rows), [remark])


def _ensembles(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows = []
    for width in sizes or ((16, 64) if quick else BENCHES["ensembles"].sizes):
        x = torch.randn(1, width, device=device)

        ensemble = Ensemble.make(partial(_network, width, device), range(NETS))
        networks = [ensemble.member(number) for number in range(NETS)]
        calls: dict[str, Callable[[], Any]] = {
            "ensemble": partial(_at_once, ensemble, x),
            "loop over networks": partial(networks_one_by_one, networks, x),
            "drawn and run by layers": partial(_by_layers, width, x),
            "made, initialised and looped": partial(_made_and_looped, width, device, x),
        }
        for contender, call in calls.items():
            watch(f"{contender}, width {width}")
            rows.append(Timing(contender, width, measure_time(call, repeats=3 if quick else 9, device=device)))
    remark = f"{NETS} networks of three layers on one input; the last two draw the weights too"
    return BenchResult(rows, "ensemble", "width", fitted_exponents(rows), [remark])


def _network(width: int, device: str) -> nn.Module:
    return DeepMLP([width] * 4, "tanh").to(device)


def _at_once(ensemble: Ensemble, x: Tensor) -> Tensor:
    with torch.no_grad():
        return ensemble(x)


def _by_layers(width: int, x: Tensor) -> Tensor:
    *_, last = draw_layers(Activation.of("tanh"), x, [width] * 3, 0.0, 1.0, NETS, torch.Generator().manual_seed(0), order=0)
    return last.z


def _made_and_looped(width: int, device: str, x: Tensor) -> Tensor:
    return networks_one_by_one([variance_init_(_network(width, device), 0.0, 1.0) for _ in range(NETS)], x)


def _tangents(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    report, rows = find_criticality("relu"), []
    for width in sizes or ((32, 128) if quick else BENCHES["empirical-ntk"].sizes):
        model = variance_init_(DeepMLP([64, width, width, width, 10], "relu"), report.C_b, report.C_W).to(device)
        x = torch.randn(16, 64, device=device)
        for method, contender in (("linear", "by activations"), ("jacobian", "whole Jacobian")):
            watch(f"{contender}, width {width}")
            call = partial(empirical_ntk, model, x, method=method)
            seconds = measure_time(call, repeats=3 if quick else 5, device=device)
            rows.append(Timing(contender, width, seconds, None if quick else measure_peak_memory(call, device)))
    return BenchResult(rows, "by activations", "width", fitted_exponents(rows), ["four layers, 16 inputs, 10 outputs"])


BENCHES = {
    "rg-flow": Bench("Ten quantities of a deep network in 1/width, against average by average", _flow, (30, 100, 300, 1000)),
    "kernel-step": Bench(
        "The kernel of many inputs through one layer of GELU, against quadrature of every pair", _kernels, (8, 32, 128, 512)
    ),
    "ensembles": Bench("256 small networks at once, against a loop over them", _ensembles, (16, 32, 64, 128)),
    "empirical-ntk": Bench("The tangent kernel of a network, against its whole Jacobian", _tangents, (32, 64, 128, 256)),
}
