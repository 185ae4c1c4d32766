"""Token mixers side by side: time and peak memory of a forward pass against the length, and the exponents that they grow with.

Every registered mixer takes part at its defaults (one sequence, width 64, 4 heads of 16 dimensions, not causal, no gradients), and kernelized attention once more with each of its methods. The peer is softmax attention
through PyTorch's fused kernels. Time is the median over repeats; memory is the growth of a fresh process at its longest length first, so that nothing is left over from a longer one. What would form an L x L matrix of more than a
gibibyte is left out, with a remark.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch

from ordinate.bench.base import Bench, BenchResult, Timing
from ordinate.experiment.measure import fit_exponent, measure_peak_memory, measure_time
from ordinate.nn.mixers import create_mixer, list_mixers
from ordinate.nn.mixers.base import TokenMixer

__all__ = ["BENCHES", "contenders"]

DIM, HEADS = 64, 4
PEER = "softmax"
_FITTED_FROM = 1024  # below, time is that of starting kernels and not of the length
_MOST_SQUARE = 1 << 30
_QUADRATIC = {"nprf, naive": 4 * HEADS * 2}
_SECONDS_TO_REPEAT = 1.0


def contenders() -> dict[str, dict[str, Any]]:
    """What is timed: a label to the name of a mixer and further arguments. Mixers of images are asked for a square of patches and are left out."""
    found: dict[str, dict[str, Any]] = {name: {"name": name} for name in list_mixers() if not name.endswith("-2d")}
    return found | {f"nprf, {method}": {"name": "nprf", "method": method} for method in ("fft", "chunked", "naive")}


def _make(label: str, length: int, device: str) -> TokenMixer:
    torch.manual_seed(0)
    arguments = dict(contenders()[label])
    return create_mixer(arguments.pop("name"), DIM, heads=HEADS, max_length=length, **arguments).to(device).eval()


def _call(label: str, length: int, device: str) -> Callable[[], Any]:
    mixer = _make(label, length, device)
    x = torch.randn(1, length, DIM, device=device)

    @torch.no_grad()
    def call() -> Any:
        return mixer(x)

    return call


def _peak(label: str, length: int, device: str, threads: int) -> int:
    torch.set_num_threads(threads)
    return measure_peak_memory(_call(label, length, device), device)


def _fits(label: str, length: int) -> bool:
    return _QUADRATIC.get(label, 0) * length**2 <= _MOST_SQUARE


def _run(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    lengths = list(sizes or (BENCHES["mixers"].sizes[:3] if quick else BENCHES["mixers"].sizes))
    rows = []
    for label in contenders():
        fitting = [length for length in lengths if _fits(label, length)]
        memory = {} if quick else _memory(label, fitting, device, watch)
        for length in fitting:
            watch(f"{label}, {length:,} positions")
            call = _call(label, length, device)
            once = measure_time(call, repeats=1, device=device)
            seconds = once if once > _SECONDS_TO_REPEAT else measure_time(call, repeats=3 if quick else 7, warmup=0, device=device)
            rows.append(Timing(label, length, seconds, memory.get(length)))
    return BenchResult(rows, peer=PEER, size_name="length", exponents=_exponents(rows), remarks=_remarks(rows, lengths))


def _memory(label: str, lengths: Sequence[int], device: str, watch: Callable[[str], Any]) -> dict[int, int]:
    watch(f"{label}, memory")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return {
            length: pool.submit(_peak, label, length, device, torch.get_num_threads()).result() for length in sorted(lengths, reverse=True)
        }


def _exponents(rows: Sequence[Timing]) -> dict[str, tuple[float, float, float]]:
    found = {}
    for label in dict.fromkeys(row.contender for row in rows):
        times = [(row.size, row.seconds) for row in rows if row.contender == label and row.size is not None and row.size >= _FITTED_FROM]
        if len(times) >= 3:
            found[label] = fit_exponent(*zip(*times, strict=True))
    return found


def _remarks(rows: Sequence[Timing], lengths: Sequence[int]) -> list[str]:
    times = {(row.contender, row.size): row.seconds for row in rows}
    remarks = [f"exponents are fitted to lengths from {_FITTED_FROM:,} on"]
    for peer in ("softmax", "softmax-rpe"):
        ahead = None
        for length in sorted(lengths, reverse=True):
            if times["nprf", length] >= times[peer, length]:
                break
            ahead = length
        remarks.append(
            f"nprf is ahead of {peer} from a length of {ahead:,} on"
            if ahead
            else f"nprf is not ahead of {peer} at {max(lengths):,} or below"
        )
    left_out = sorted({label for label in contenders() for length in lengths if not _fits(label, length)})
    remarks += [f"{label} is left out where its matrix would be larger than {_MOST_SQUARE >> 30} GiB" for label in left_out]
    return remarks


BENCHES = {
    "mixers": Bench(
        "Token mixers: a forward pass of one sequence of 64 features with 4 heads",
        _run,
        (256, 512, 1024, 2048, 4096, 8192, 16384),
    )
}
