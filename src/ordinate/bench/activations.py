"""Activations of feed-forward layers: forward and backward together, on as many numbers as a layer has at that width, against GELU.

The polynomial compositions are timed three ways: as the formula reads, in blocks that fit the cache (the default), and compiled. A whole feed-forward layer stands beside them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.bench.base import Bench, BenchResult, Timing
from ordinate.experiment.measure import measure_peak_memory, measure_time
from ordinate.nn.blocks import FeedForward
from ordinate.nn.polynomial_activations import PolyNorm, PolyReLU

__all__ = ["BENCHES", "naive_norm", "naive_relu"]

TOKENS = 2048
Function = Callable[[Tensor], Tensor]


def naive_norm(x: Tensor, a: Tensor) -> Tensor:
    """PolyNorm as its formula reads, every power and norm a tensor of its own."""
    terms = [a[i] * x**i * torch.rsqrt((x**i).square().mean(-1, keepdim=True) + 1e-6) for i in range(1, len(a))]
    return sum(terms, a[0])


def naive_relu(x: Tensor, a: Tensor) -> Tensor:
    """PolyReLU as its formula reads."""
    return sum((a[i] * F.relu(x) ** i for i in range(1, len(a))), a[0])


def _contenders(device: str) -> dict[str, Function]:
    a = torch.tensor([0.0, 1 / 3, 1 / 3, 1 / 3], device=device, requires_grad=True)
    return {
        "gelu": F.gelu,
        "relu": F.relu,
        "polyrelu, as written": partial(naive_relu, a=a),
        "polyrelu": PolyReLU().to(device),
        "polyrelu, compiled": PolyReLU(compiled=True).to(device),
        "polynorm, as written": partial(naive_norm, a=a),
        "polynorm": PolyNorm().to(device),
        "polynorm, compiled": PolyNorm(compiled=True).to(device),
    }


def _both_ways(function: Function, x: Tensor, upstream: Tensor) -> None:
    x.grad = None
    function(x).backward(upstream)


def _timings(contenders: dict[str, Function], widths: Sequence[int], device: str, quick: bool, watch: Callable[[str], Any]) -> list[Timing]:
    rows = []
    for width in widths:
        draws = torch.Generator(device).manual_seed(width)
        x = torch.randn(TOKENS // 8 if quick else TOKENS, width, generator=draws, device=device, requires_grad=True)
        upstream = torch.randn(x.shape, generator=draws, device=device)
        for name, function in contenders.items():
            watch(f"{name}, width {width}")
            call = partial(_both_ways, function, x, upstream)
            seconds = measure_time(call, repeats=3 if quick else 15, warmup=3, device=device)
            rows.append(Timing(name, width, seconds, None if quick else measure_peak_memory(call, device)))
    return rows


def _activations(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    contenders = _contenders(device)
    if quick:
        contenders = {name: function for name, function in contenders.items() if "compiled" not in name}
    rows = _timings(contenders, sizes or ((256,) if quick else BENCHES["activations"].sizes), device, quick, watch)
    return BenchResult(rows, peer="gelu", size_name="width", remarks=(f"{TOKENS:,} tokens, forward and backward, float32",))


def _feed_forward(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for width in sizes or ((64,) if quick else BENCHES["feed-forward"].sizes):
        layers: dict[str, nn.Module] = {name: FeedForward(width, activation=name, bias=False) for name in ("gelu", "polyrelu", "polynorm")}
        layers["swiglu"] = FeedForward(width, ratio=8 / 3, activation="swiglu", bias=False)
        rows += _timings({name: layer.to(device) for name, layer in layers.items()}, [width], device, quick, watch)
    return BenchResult(
        rows, peer="gelu", size_name="width", remarks=(f"whole layers of equal parameters on {TOKENS:,} tokens, forward and backward",)
    )


BENCHES = {
    "activations": Bench("Polynomial activations against GELU, forward and backward", _activations, (512, 1024, 2048, 4096)),
    "feed-forward": Bench("Feed-forward layers by activation", _feed_forward, (256, 512, 1024)),
}
