"""A server that is asked for more than it can serve: what becomes of the requests that it takes, and of its memory.

`ordinate serve` runs in a process of its own, over a vision transformer and an index of random vectors; this process sends it pictures. First it is found how many it answers a second when 16 clients each wait for their answer. Then
pictures are sent at a multiple of that rate whether or not earlier ones were answered (an *open loop*: a closed one slows down with its server and cannot overload it). An accepted request's time runs from when it was due, not
from when it could be sent, so that a client that falls behind does not flatter the server.

The peer is the same server with room for everybody: nothing is refused, and every request waits behind all that came before it.
"""

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ordinate.bench.base import Bench, BenchResult, Timing
from ordinate.experiment.setting import Setting
from ordinate.ground.errors import require
from ordinate.retrieve.embeddings import Embedded
from ordinate.retrieve.stored_index import StoredIndex
from ordinate.tasks.run_encoder import load_encoder
from ordinate.tasks.training_run import Request, train_run

__all__ = ["BENCHES", "Load", "closed_loop", "open_loop"]

CLIENTS, ROWS, BOUNDED, UNBOUNDED = 16, 10_000, 64, 1_000_000
_PATIENCE = 30.0
_MOST_OPEN = 2000  # connections; one more is not opened, and counts as not connected


@dataclass
class Load:
    """What became of requests.

    Attributes:
        seconds: for how long they were sent.
        sent: how many.
        statuses: how many were answered with each status; 0 stands for those that were not answered at all.
        times: seconds of those that were answered with 200.
        late: the most by which the client itself was late in sending, in seconds.
    """

    seconds: float
    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    late: float = 0.0

    @property
    def rate(self) -> float:
        """Answers of 200 a second."""
        return len(self.times) / self.seconds

    def quantile(self, part: float) -> float:
        """Seconds that a part of the answers of 200 came within; NaN where there are none."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


class _Client:
    """HTTP/1.1 over connections that are kept: as little as there can be, so that the client takes little of the machine."""

    def __init__(self, host: str, port: int) -> None:
        self._place = host, port
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self.open = 0

    async def post(self, message: bytes) -> int:
        """The status of the answer; 0 for none."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._post(message)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            return 0

    async def _post(self, message: bytes) -> int:
        if self._idle:
            reader, writer = self._idle.pop()
        elif self.open >= _MOST_OPEN:
            raise OSError("too many connections")
        else:
            reader, writer = await asyncio.open_connection(*self._place)
            self.open += 1
        try:
            writer.write(message)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, rest = head.partition(b"content-length:")
            await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
        except BaseException:
            self.open -= 1
            writer.close()
            raise
        self._idle.append((reader, writer))
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        """Close the connections that wait."""
        for _, writer in self._idle:
            writer.close()


async def closed_loop(host: str, port: int, messages: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Clients that each send their next request when the last was answered.

    Args:
        host, port: of the server.
        messages: whole requests, sent in turn.
        clients: how many.
        seconds: for how long.
    """
    client, load, begun = _Client(host, port), Load(seconds), time.perf_counter()

    async def ask(number: int) -> None:
        while (sent := time.perf_counter()) - begun < seconds:
            status = await client.post(messages[(load.sent + number) % len(messages)])
            _count(load, status, time.perf_counter() - sent)

    await asyncio.gather(*(ask(number) for number in range(clients)))
    client.close()
    load.seconds = time.perf_counter() - begun
    return load


async def open_loop(host: str, port: int, messages: Sequence[bytes], rate: float, seconds: float) -> Load:
    """Requests at a fixed rate, whether or not earlier ones were answered.

    Args:
        host, port: of the server.
        messages: whole requests, sent in turn.
        rate: requests a second.
        seconds: for how long.
    """
    client, load, begun = _Client(host, port), Load(seconds), time.perf_counter()
    running: set[asyncio.Task[None]] = set()

    async def ask(due: float, message: bytes) -> None:
        load.late = max(load.late, time.perf_counter() - due)
        status = await client.post(message)
        _count(load, status, time.perf_counter() - due)

    for number in range(int(rate * seconds)):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(ask(due, messages[number % len(messages)]))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.wait(running)
    client.close()
    return load


def _count(load: Load, status: int, seconds: float) -> None:
    load.sent += 1
    load.statuses[status] += 1
    if status == 200:
        load.times.append(seconds)


def _messages(count: int, side: int) -> list[bytes]:
    """Whole requests, each with a picture of its own."""
    drawn = torch.Generator().manual_seed(0)
    found = []
    for _ in range(count):
        written = io.BytesIO()
        Image.fromarray(torch.randint(256, (side, side), generator=drawn, dtype=torch.uint8).numpy()).save(written, "PNG")
        body = written.getvalue()
        head = f"POST /search?k=10 HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
        found.append(head.encode() + body)
    return found


def _prepare(folder: Path, quick: bool, device: str) -> None:
    """A run and an index, as `ordinate serve` takes them. Neither need be any good."""
    request = Request(model="mlp" if quick else "vit-tiny", objective="classification", data="digits" if quick else "digits@32")
    train_run(request, Setting(device=device, steps=1), folder / "run")
    fingerprint = load_encoder(folder / "run").fingerprint
    vectors: Tensor = F.normalize(torch.randn(ROWS, fingerprint.width, generator=torch.Generator().manual_seed(0)), dim=1)
    names = [f"row-{row}" for row in range(ROWS)]
    StoredIndex.create(folder / "index", Embedded(names, vectors), fingerprint=fingerprint, run=str(folder / "run"))


@contextlib.contextmanager
def _server(folder: Path, queue: int, device: str) -> Iterator[tuple[str, int, int]]:
    """A server in a process of its own: host, port, process."""
    command = [sys.executable, "-m", "ordinate.cli", "serve", str(folder / "run"), "--index", str(folder / "index")]
    options = ["--port", "0", "--json", "--images", "none", "--max-queue", str(queue), "--timeout", str(_PATIENCE), "--device", device]
    started = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert started.stdout is not None
        told = ""
        while not told.endswith("}\n"):
            line = started.stdout.readline()
            if not line:
                raise RuntimeError(f"the server ended with {started.wait()}")
            told += line
        host, _, port = json.loads(told)["url"].removeprefix("http://").rpartition(":")
        yield host, int(port), started.pid
    finally:
        started.terminate()
        try:
            started.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        if started.stdout is not None:
            started.stdout.close()


def _peak(process: int) -> int | None:
    """The most memory that a process has had, in bytes, where the system tells."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return None


def _serving(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    for module in ("fastapi", "uvicorn", "prometheus_client"):
        require(module, "serve")
    messages = _messages(64, 8 if quick else 32)
    rows, remarks = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        watch("a run and an index to serve")
        _prepare(folder, quick, device)
        capacity = 0.0
        for contender, queue in (("queue of 64", BOUNDED), ("queue without end", UNBOUNDED)):
            for factor in sizes or BENCHES["serving"].sizes:
                seconds = 1.0 if quick else 60.0 if (factor, queue) == (4, BOUNDED) else 15.0
                with _server(folder, queue, device) as (host, port, process):
                    asyncio.run(closed_loop(host, port, messages, CLIENTS, 0.5 if quick else 3.0))  # the first requests warm up
                    if not capacity:
                        capacity = asyncio.run(closed_loop(host, port, messages, CLIENTS, 1.0 if quick else 8.0)).rate
                    before = _peak(process)
                    watch(f"{contender}: {factor} x {capacity:.0f} requests a second for {seconds:g} s")
                    load = asyncio.run(open_loop(host, port, messages, factor * capacity, seconds))
                    peak = _peak(process)
                others = load.sent - load.statuses[200] - load.statuses[429]
                extra: dict[str, float | str] = {
                    "offered/s": round(load.sent / seconds, 1),
                    "accepted/s": round(load.rate, 1),
                    "p99 ms": round(1e3 * load.quantile(0.99), 1),
                    "429": load.statuses[429],
                    "other": others,
                }
                grown = None if peak is None or before is None else peak - before
                rows.append(Timing(contender, factor, load.quantile(0.5), grown, extra))
                remarks.append(
                    f"{contender}, {factor} x: {load.sent} requests in {seconds:g} s, {load.statuses[200]} accepted (p50 {1e3 * load.quantile(0.5):.0f} ms, p99 {1e3 * load.quantile(0.99):.0f} ms), "
                    f"{load.statuses[429]} told to come again, {others} neither; peak memory {'unknown' if peak is None else f'{peak / 2**20:.0f} MiB'}; "
                    f"the client was late by at most {1e3 * load.late:.0f} ms"
                )
    remarks.insert(
        0,
        f"it serves {capacity:.0f} requests a second to {CLIENTS} clients that wait; {os.cpu_count()} cores for server and client together",
    )
    return BenchResult(rows, "queue without end", "times what it can serve", remarks=remarks)


BENCHES = {
    "serving": Bench(
        "A server at and beyond what it can serve: median time of accepted requests, and memory beyond the idle server", _serving, (1, 4)
    )
}
