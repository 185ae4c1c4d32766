"""Time, memory and growth, measured.

Wall time is read from a monotonic clock and CPU time over all threads. Peak memory is the growth of the process's resident set (its high-water mark is reset first, where the system
lets one), or the allocator's own count on a GPU. A big-O claim is the slope of log cost over log size, with the interval of the regression.
"""

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from ordinate.ground.errors import InputError

__all__ = ["Usage", "count_flops", "fit_exponent", "measure_peak_memory", "measure_time", "measure_usage"]


@dataclass
class Usage:
    """Filled when the `with` block of `measure_usage` ends: seconds of wall and CPU time, and bytes at the peak beyond the start (None where unknown)."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int | None = None


def _status(field: str) -> int | None:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


@contextmanager
def measure_usage(device: str = "cpu") -> Iterator[Usage]:
    """Measure what the block takes; the yielded `Usage` is filled at its end, whether or not it raised."""
    usage = Usage()
    on_gpu = torch.device(device).type == "cuda"
    gc.collect()
    gc.freeze()  # or the next measurement looks through every imported module again, a fifth of a second each time
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
        before: int | None = torch.cuda.memory_allocated(device)
    else:
        before = _status("VmRSS:") if _reset_peak() else None
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield usage
    finally:
        if on_gpu:
            torch.cuda.synchronize(device)
            peak: int | None = torch.cuda.max_memory_allocated(device)
        else:
            peak = _status("VmHWM:")
        usage.wall_seconds, usage.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        if peak is not None and before is not None:
            usage.peak_memory_bytes = max(0, peak - before)


def measure_peak_memory(call: Callable[[], Any], device: str = "cpu") -> int:
    """Bytes that `call()` needs at its peak beyond what is held before it. On a CPU the unit is the page, and memory that the allocator kept from before counts as free: measure the large things first, or in a process of their own."""
    with measure_usage(device) as usage:
        call()
    if usage.peak_memory_bytes is not None:
        return usage.peak_memory_bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure_time(call: Callable[[], Any], *, repeats: int = 5, warmup: int = 1, device: str = "cpu") -> float:
    """The median over `repeats` of the seconds that `call()` takes, after `warmup` calls that do not count."""
    on_gpu = torch.device(device).type == "cuda"
    seconds = []
    for number in range(warmup + repeats):
        start = time.perf_counter()
        call()
        if on_gpu:
            torch.cuda.synchronize(device)
        if number >= warmup:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def count_flops(call: Callable[[], Any]) -> int:
    """Floating-point operations of `call()`, by torch's own counter: matrix products, convolutions and fused attention; Fourier transforms and element-wise work are not counted."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def fit_exponent(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float, float]:
    """The exponent p of cost ~ size^p by least squares on logarithms, with its 95 % interval: (p, low, high).

    Raises:
        InputError: fewer than three sizes, or numbers that have no logarithm.
    """
    if len(sizes) != len(costs) or len(sizes) < 3:
        raise InputError(f"an exponent with an interval needs at least three sizes with their costs, not {len(sizes)} and {len(costs)}")
    x, y = np.asarray(sizes, dtype=float), np.asarray(costs, dtype=float)
    if (x <= 0).any() or (y <= 0).any():
        raise InputError("sizes and costs must be positive")
    line = stats.linregress(np.log(x), np.log(y))
    half = float(stats.t.ppf(0.975, len(x) - 2) * line.stderr)
    return float(line.slope), float(line.slope) - half, float(line.slope) + half
