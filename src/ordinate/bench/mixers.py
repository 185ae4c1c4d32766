"""Token mixers side by side: time and peak memory of a forward pass against the length, and the exponents that they grow with.

Every registered mixer takes part at its defaults (one sequence, width 64, 4 heads of 16 dimensions, not causal, no gradients). Kernelized attention takes part once more with each of its methods, and so do two peers that are written
here: softmax attention whose relative bias is formed as a matrix, as it commonly is, and the FFT of all m (d + 1) channels at once, as the formula has it.

Ratios are against softmax attention through PyTorch's fused kernels. Time is the median over repeats; memory is the growth of a fresh process, at its longest length first, so that nothing is left over from a longer one.
What would form an L x L matrix of more than a gibibyte, or as many channels, is left out, with a remark.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ordinate.bench.base import Bench, BenchResult, Timing, fitted_exponents
from ordinate.experiment.measure import measure_peak_memory, measure_time
from ordinate.nn.mixers import TokenMixer, create_mixer, list_mixers
from ordinate.nn.mixers.nprf import KernelRPEAttention
from ordinate.nn.mixers.softmax import RelativeSoftmaxAttention
from ordinate.nn.toeplitz import fft_lengths, toeplitz_matrix, toeplitz_spectrum

__all__ = ["BENCHES", "Contender", "MatrixBias", "UnblockedFFT", "contenders"]

DIM, HEADS = 64, 4
PEER = "softmax"
_FITTED_FROM = 1024  # below, time is that of starting kernels and not of the length
_MOST_BYTES = 1 << 30
_SECONDS_TO_REPEAT = 1.0
_RIVALS = ("softmax", "softmax-rpe", "softmax-rpe, matrix")


class MatrixBias(RelativeSoftmaxAttention):
    """Softmax attention with its relative bias formed as an H x L x L matrix."""

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        bias = toeplitz_matrix(self.relative(q.shape[2], k.shape[2]), q.shape[2]).contiguous()
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])


class UnblockedFFT(KernelRPEAttention):
    """Kernelized attention by one FFT of all channels, without blocks and without a guard against rounding."""

    def _attend(self, phi_q: Tensor, phi_k: Tensor, v: Tensor, scale: Tensor | None, counts: Tensor | None) -> Tensor:
        length = phi_q.shape[2]
        values = torch.cat([v, v.new_ones(*v.shape[:-1], 1)], dim=-1)
        diagonals = self.relative(length) if self.relative is not None else v.new_zeros(self.heads.count, 2 * length - 1)
        spectrum = toeplitz_spectrum((diagonals - diagonals.amax()).exp(), (length,), (length,))[:, None, None]
        (circle,) = fft_lengths((length,), (length,))
        channels = phi_k.mT[:, :, :, None] * values.mT[:, :, None]
        products = torch.fft.irfft(torch.fft.rfft(channels, n=circle) * spectrum, n=circle)[..., :length]
        sums = (products * phi_q.mT[:, :, :, None]).sum(2).mT
        return sums[..., :-1] / sums[..., -1:]


@dataclass(frozen=True)
class Contender:
    """What is timed.

    Attributes:
        make: `make(dim, heads=, max_length=)` -> a mixer.
        square: bytes that it holds at once for every pair of positions.
        line: bytes for every position.
    """

    make: Callable[..., TokenMixer]
    square: int = 0
    line: int = 0


def contenders() -> dict[str, Contender]:
    """What takes part, by its name in the table."""
    width = DIM // HEADS
    matrix = 4 * HEADS
    return {name: Contender(partial(create_mixer, name)) for name in list_mixers()} | {
        "softmax-rpe, matrix": Contender(MatrixBias, square=matrix),
        "nprf, fft": Contender(partial(create_mixer, "nprf", method="fft")),
        "nprf, fft unblocked": Contender(UnblockedFFT, line=matrix * 2 * width * (width + 1)),
        "nprf, chunked": Contender(partial(create_mixer, "nprf", method="chunked")),
        "nprf, naive": Contender(partial(create_mixer, "nprf", method="naive"), square=2 * matrix),
    }


def _call(label: str, length: int, device: str) -> Callable[[], Any]:
    torch.manual_seed(0)
    mixer = contenders()[label].make(DIM, heads=HEADS, max_length=length).to(device).eval()
    x = torch.randn(1, length, DIM, device=device)

    @torch.no_grad()
    def call() -> Any:
        return mixer(x)

    return call


def _peak(label: str, length: int, device: str, threads: int) -> int:
    torch.set_num_threads(threads)
    return measure_peak_memory(_call(label, length, device), device)


def _fits(contender: Contender, length: int) -> bool:
    return contender.square * length**2 + contender.line * length <= _MOST_BYTES


def _run(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    lengths = list(sizes or (BENCHES["mixers"].sizes[:3] if quick else BENCHES["mixers"].sizes))
    rows = []
    for label, contender in contenders().items():
        fitting = [length for length in lengths if _fits(contender, length)]
        memory = {} if quick else _memory(label, fitting, device, watch)
        for length in fitting:
            watch(f"{label}, {length:,} positions")
            call = _call(label, length, device)
            once = measure_time(call, repeats=1, device=device)
            seconds = once if once > _SECONDS_TO_REPEAT else measure_time(call, repeats=3 if quick else 7, warmup=0, device=device)
            rows.append(Timing(label, length, seconds, memory.get(length)))
    return BenchResult(
        rows, peer=PEER, size_name="length", exponents=fitted_exponents(rows, start=_FITTED_FROM), remarks=_remarks(rows, lengths)
    )


def _memory(label: str, lengths: Sequence[int], device: str, watch: Callable[[str], Any]) -> dict[int, int]:
    watch(f"{label}, memory")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return {
            length: pool.submit(_peak, label, length, device, torch.get_num_threads()).result() for length in sorted(lengths, reverse=True)
        }


def _remarks(rows: Sequence[Timing], lengths: Sequence[int]) -> list[str]:
    times = {(row.contender, row.size): row.seconds for row in rows}
    remarks = [f"exponents are fitted to lengths from {_FITTED_FROM:,} on"]
    for rival in _RIVALS:
        ahead = None
        measured = [length for length in sorted(lengths, reverse=True) if (rival, length) in times]
        for length in measured:
            if times["nprf", length] >= times[rival, length]:
                break
            ahead = length
        remarks.append(
            f"nprf is ahead of {rival} from a length of {ahead:,} on"
            if ahead
            else f"nprf is not ahead of {rival} at {max(measured, default=0):,} or below"
        )
    left_out = [label for label, contender in contenders().items() if any(not _fits(contender, length) for length in lengths)]
    remarks += [f"{label} is left out where it would hold more than {_MOST_BYTES >> 30} GiB at once" for label in left_out]
    return remarks


BENCHES = {
    "mixers": Bench(
        "Token mixers: a forward pass of one sequence of 64 features with 4 heads",
        _run,
        (256, 512, 1024, 2048, 4096, 8192, 16384),
    )
}
