"""What an index in a folder costs: an adaptive search against one of every row at full width, and the time and memory of a million vectors.

- Adaptive search: the embeddings of a nested network (16, 64 and 256 dimensions, trained here for some hundred steps) on MNIST, whose images are multiplied by shifting them by a pixel or two, so that as many real vectors are searched
  as are asked for; queries are test images, and what has their class counts as found. faiss searches every row at 256 dimensions, and makes a shortlist of 200 at 16 which ordinate sorts again at 256; so do a graph, cells, and
  ordinate's own search of every prefix. Beside the time stand mAP@10, the multiply-adds of a query as they were counted, and the time of one query at a time. Where there is no MNIST, or for a quick look, digits serve.
- Size of an index: vectors are written to a file, an index is made from that file and searched, each in a process of its own, whose peak memory is all that it held: libraries, and the pages of mapped files that were in use.
"""

import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ordinate.bench.base import Bench, BenchResult, Timing
from ordinate.bench.nested import nested_vectors
from ordinate.data.images import open_images
from ordinate.experiment.measure import measure_time
from ordinate.experiment.setting import Setting
from ordinate.ground.errors import MissingError, require
from ordinate.retrieve.embeddings import Embedded, Part, open_embeddings, write_embeddings
from ordinate.retrieve.file_store import FileStore
from ordinate.retrieve.metrics import retrieval_metrics
from ordinate.retrieve.nested_index import search_flops
from ordinate.retrieve.stored_index import StoredIndex
from ordinate.retrieve.vector_files import prepared
from ordinate.tasks.run_encoder import Encoder, load_encoder
from ordinate.tasks.training_run import Request, train_run

__all__ = ["BENCHES", "Labelled", "adaptive_search", "shifted_embeddings"]

WIDTH, SHORT, SHORTLIST, RESULTS = 256, 16, 200, 10
DIMS = (SHORT, 64, WIDTH)
_MOST_AT_FULL = 200_000  # rows beyond which learning cells at the full width takes minutes
_SHIFTS = sorted(((dx, dy) for dx in range(-2, 3) for dy in range(-2, 3)), key=lambda shift: (shift[0] ** 2 + shift[1] ** 2, shift))


class Labelled(NamedTuple):
    """Vectors (N, d) and their labels (N,)."""

    vectors: Tensor
    labels: Tensor


def shifted_embeddings(encoder: Encoder, name: str, rows: int, asked: int) -> tuple[Labelled, Labelled]:
    """Embeddings of a named dataset's training images, shifted by ever more until there are `rows`, and of `asked` test images."""
    data = open_images(name)

    def embedded(source: Any, count: int, shift: tuple[int, int]) -> Labelled:
        batches = [source.take(part) for part in torch.arange(count).split(1000)]
        vectors = [encoder.encode(torch.roll(batch["image"], shift, (3, 2))).cpu() for batch in batches]
        return Labelled(torch.cat(vectors), torch.cat([batch["label"] for batch in batches]))

    parts, left = [], rows
    for shift in _SHIFTS:
        parts.append(embedded(data.train, min(left, len(data.train)), shift))
        left -= len(parts[-1].labels)
        if not left:
            break
    gallery = Labelled(torch.cat([part.vectors for part in parts]), torch.cat([part.labels for part in parts]))
    return gallery, embedded(data.test, min(asked, len(data.test)), (0, 0))


def _trained(name: str, steps: int, folder: Path) -> Encoder:
    request = Request(
        "mlp",
        "classification",
        data=name,
        arguments={"hidden": [512], "num_features": WIDTH},
        options={"matryoshka": list(DIMS)},
        batch_size=128,
    )
    train_run(request, Setting(scale="smoke", steps=steps), folder)
    return load_encoder(folder)


class _Way(NamedTuple):
    """A way to search: its call, which gives rows (Q, k), and how many multiply-adds a query it took when it was last called."""

    call: Callable[[Tensor], Tensor]
    work: Callable[[], float]


def _faiss_ways(gallery: Labelled, store: FileStore) -> dict[str, _Way]:
    faiss, rows = require("faiss", "retrieval"), len(gallery.labels)
    whole, short = faiss.IndexFlatL2(WIDTH), faiss.IndexFlatL2(SHORT)
    whole.add(prepared(gallery.vectors, WIDTH, "cosine").numpy())
    short.add(prepared(gallery.vectors, SHORT, "cosine").numpy())

    def adaptive(queries: Tensor) -> Tensor:
        found = torch.from_numpy(short.search(prepared(queries, SHORT, "cosine").numpy(), SHORTLIST)[1])
        return found.gather(1, store.files.scores(prepared(queries, WIDTH, "cosine"), found).topk(RESULTS, dim=1).indices)

    return {
        f"faiss, every row at {WIDTH}": _Way(
            lambda queries: torch.from_numpy(whole.search(prepared(queries, WIDTH, "cosine").numpy(), RESULTS)[1]),
            lambda: search_flops(rows, WIDTH),
        ),
        f"faiss, every row at {SHORT}, then {WIDTH}": _Way(adaptive, lambda: search_flops(rows, SHORT, [(SHORTLIST, WIDTH)])),
    }


def _index_way(index: StoredIndex) -> _Way:
    """An index at its smallest size and then the whole; faiss counts the distances that it computes."""
    low, reranks = index.dims[0], [(SHORTLIST, WIDTH)] if index.dims[0] < WIDTH else []
    length = min(SHORTLIST, len(index))

    def work() -> float:
        if index.backend == "flat":
            return search_flops(len(index), low, reranks)
        stats = require("faiss", "retrieval").cvar
        counted = stats.indexIVF_stats if index.backend == "ivf" else stats.hnsw_stats
        asked = counted.nq if index.backend == "ivf" else counted.n1
        cells = index.facts["cells"] if index.backend == "ivf" else 0
        return low * (cells + counted.ndis / asked) + search_flops(0, low, reranks)

    def call(queries: Tensor) -> Tensor:
        if index.backend != "flat":
            stats = require("faiss", "retrieval").cvar
            (stats.indexIVF_stats if index.backend == "ivf" else stats.hnsw_stats).reset()
        return index.search(queries, RESULTS, low, WIDTH, length).rows

    return _Way(call, work)


def adaptive_search(
    gallery: Labelled, queries: Labelled, folder: Path, repeats: int, watch: Callable[[str], Any]
) -> tuple[list[Timing], list[str]]:
    """Every way to search `gallery` for `queries`, in turns: their timings, and remarks.

    Args:
        gallery, queries: of vectors that are 256 wide.
        folder: an empty one, for the indexes.
        repeats: rounds, in each of which every way has its turn.
        watch: told what is being done.
    """
    rows = len(gallery.labels)
    remarks: list[str] = []
    ways: dict[str, _Way] = {}
    embedded = Embedded([str(row) for row in range(rows)], gallery.vectors)
    has_faiss = find_spec("faiss") is not None
    if not has_faiss:
        remarks.append("faiss is not installed, and not raced: pip install 'ordinate[retrieval]'")
    for backend in ("flat", "ivf", "hnsw") if has_faiss else ("flat",):
        watch(f"an index of {rows:,} rows: {backend}")
        index = StoredIndex.create(folder / f"{backend}-{rows}", embedded, dims=DIMS, backend=backend)
        if backend == "flat" and has_faiss and isinstance(index.store, FileStore):
            ways |= _faiss_ways(gallery, index.store)
        ways[f"{_NAMED[backend]} at {SHORT}, then {WIDTH}"] = _index_way(index)
    if has_faiss and rows <= _MOST_AT_FULL:
        watch(f"an index of {rows:,} rows: cells at the full width")
        ways[f"faiss, cells at {WIDTH}"] = _index_way(StoredIndex.create(folder / f"whole-{rows}", embedded, dims=[WIDTH], backend="ivf"))
    watch(f"{len(ways)} ways to search {rows:,} rows, in turns")
    quality, work = {}, {}
    for name, way in ways.items():
        quality[name] = retrieval_metrics(way.call(queries.vectors), queries.labels, gallery.labels, RESULTS)["map"]
        work[name] = way.work()
    together: dict[str, list[float]] = {name: [] for name in ways}
    alone: dict[str, list[float]] = {name: [] for name in ways}
    single = queries.vectors[:50].split(1)
    for _ in range(repeats):
        for name, way in ways.items():
            together[name].append(measure_time(partial(way.call, queries.vectors), repeats=1, warmup=0))
            alone[name].append(measure_time(lambda way=way: [way.call(query) for query in single], repeats=1, warmup=0) / len(single))  # type: ignore[misc]
    asked = len(queries.labels)
    timings = [
        Timing(
            name,
            rows,
            _median(together[name]),
            extra={
                "queries a second": asked / _median(together[name]),
                "one query, ms": 1e3 * _median(alone[name]),
                "mAP@10, %": 100 * quality[name],
                "multiply-adds a query": work[name],
            },
        )
        for name in ways
    ]
    return timings, remarks


_NAMED = {"flat": "ordinate, every row", "ivf": "faiss, cells", "hnsw": "faiss, a graph"}


def _median(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).quantile(0.5))


def _adaptive(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    folder = Path(tempfile.mkdtemp(prefix="ordinate-bench-"))
    try:
        name, steps, asked = ("digits", 60, 200) if quick else ("mnist", 600, 1000)
        watch(f"a nested network on {name}")
        try:
            encoder = _trained(name, steps, folder / "run")
        except MissingError:
            name = "digits"
            encoder = _trained(name, steps, folder / "run")
        timings: list[Timing] = []
        remarks = [f"{asked} queries together, the {RESULTS} nearest; embeddings of {name} by a network trained for {steps} steps"]
        for rows in sizes or ((5_000,) if quick else BENCHES["adaptive-search"].sizes):
            watch(f"{rows:,} embeddings")
            gallery, queries = shifted_embeddings(encoder, name, rows, asked)
            more, said = adaptive_search(gallery, queries, folder, 3, watch)
            timings += more
            remarks += [each for each in said if each not in remarks]
            remarks += _ratios(more)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return BenchResult(timings, peer=timings[0].contender, size_name="rows", remarks=remarks)


def _ratios(timings: Sequence[Timing]) -> list[str]:
    """How many times faster, and with how many times less work, than the first."""
    first = timings[0]
    found = []
    for each in timings[1:]:
        loss = float(first.extra["mAP@10, %"]) - float(each.extra["mAP@10, %"])
        found.append(
            f"{each.size:,} rows, {each.contender}: {first.seconds / each.seconds:.1f} times as fast, 1/"
            f"{float(first.extra['multiply-adds a query']) / float(each.extra['multiply-adds a query']):.0f} of the work, mAP@10 {-loss:+.2f} points"
        )
    return found


def _chunks(rows: int, at_once: int = 50_000) -> Iterator[Part]:
    for number, start in enumerate(range(0, rows, at_once)):
        stop = min(start + at_once, rows)
        yield Part([str(row) for row in range(start, stop)], nested_vectors(stop - start, WIDTH, number))


def _peak() -> int:
    """The most memory that this process held, in bytes; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def _made(file: Path, index: Path, backend: str) -> tuple[float, int]:
    start = time.perf_counter()
    StoredIndex.create(index, open_embeddings(file), dims=DIMS, backend=backend)
    return time.perf_counter() - start, _peak()


def _searched(file: Path, index: Path, asked: int) -> tuple[float, int]:
    opened, queries = StoredIndex.open(index), nested_vectors(asked, WIDTH, 1 << 20)
    return measure_time(lambda: opened.search(queries, RESULTS), repeats=3), _peak()


def _by_faiss(file: Path, index: Path, asked: int) -> tuple[float, int]:
    faiss, queries = require("faiss", "retrieval"), nested_vectors(asked, WIDTH, 1 << 20)
    whole = faiss.IndexFlatL2(WIDTH)
    for part in open_embeddings(file).parts(1 << 14):
        whole.add(prepared(part.vectors, WIDTH, "cosine").numpy())
    return measure_time(lambda: whole.search(prepared(queries, WIDTH, "cosine").numpy(), RESULTS), repeats=3), _peak()


def _size(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    folder, asked = Path(tempfile.mkdtemp(prefix="ordinate-bench-")), 1000
    timings: list[Timing] = []
    try:
        for rows in sizes or ((20_000,) if quick else BENCHES["index-size"].sizes):
            watch(f"{rows:,} vectors are written")
            file = folder / f"{rows}.npy"
            write_embeddings(file, _chunks(rows))
            with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as alone:  # a process of its own for every call

                def timed(name: str, call: Callable[..., tuple[float, int]], *arguments: Any, rows: int = rows, alone: Any = alone) -> None:
                    watch(f"{rows:,} vectors: {name}")
                    seconds, peak = alone.apply(call, arguments)
                    timings.append(Timing(name, rows, seconds, memory_bytes=peak))

                if find_spec("faiss"):
                    timed(f"{asked} queries, faiss, every row in memory", _by_faiss, file, folder, asked)
                for backend in ("flat", "ivf", "hnsw") if find_spec("faiss") else ("flat",):
                    index = folder / backend
                    timed(f"made, {backend}", _made, file, index, backend)
                    timed(f"{asked} queries, {backend}", _searched, file, index, asked)
                    shutil.rmtree(index)
            file.unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    remarks = [f"vectors {WIDTH} wide, searched at {SHORT} and sorted again at {WIDTH}; memory is all that the process held at its peak"]
    return BenchResult(timings, peer=timings[0].contender, size_name="rows", remarks=remarks)


BENCHES = {
    "adaptive-search": Bench(
        "Adaptive search of an index, 16 then 256 dimensions, against every row at 256", _adaptive, (100_000, 300_000, 1_000_000)
    ),
    "index-size": Bench("An index of a million vectors: the time and memory to make and to search it", _size, (1_000_000,)),
}
