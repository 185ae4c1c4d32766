"""Search among nested embeddings: one encoder a seed is trained on images with nested classifiers, and the same embeddings are searched in every arm's way.

The training images are the database and the held-out ones the queries; a result is right if it has the query's class. Multiply-adds are counted exactly, and seconds are those of the same backend in the same run.

Source: Kusupati et al., "Matryoshka Representation Learning", 2022, section 4.3 and appendices E and F.
"""

import time
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial

import torch
from torch import Tensor

from ordinate.data.batches import Shuffled
from ordinate.data.images import ImageData, open_images
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.models.mlp import MLP
from ordinate.nn.nested_head import check_dims
from ordinate.objectives.matryoshka import NestedClassification
from ordinate.retrieve.metrics import retrieval_metrics
from ordinate.retrieve.nested_index import Found, NestedIndex, search_flops
from ordinate.tasks.nested_embeddings import embed_source, take_some
from ordinate.tasks.training import make_seeded, train_arm
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "NestedSearch", "Search", "adaptive", "full", "funnel"]

_RESULTS = 10


class Search:
    """One way to search: `search(index, queries)` -> the ten nearest, at `flops(rows)` multiply-adds a query."""

    def __init__(self, run: Callable[[NestedIndex, Tensor], Found], flops: Callable[[int], int]) -> None:
        self.run = run
        self.flops = flops


def full(size: int) -> Search:
    """Every row at one size."""
    return Search(lambda index, queries: index.search(queries, _RESULTS, size), lambda rows: search_flops(rows, size))


def adaptive(d_short: int, d_rerank: int, shortlist: int) -> Search:
    """A shortlist at a small size, sorted again at a large one."""
    return Search(
        lambda index, queries: index.adaptive(queries, _RESULTS, shortlist, d_short, d_rerank),
        lambda rows: search_flops(rows, d_short, [(min(shortlist, rows), d_rerank)]),
    )


def funnel(d_short: int, dims: Sequence[int], lengths: Sequence[int]) -> Search:
    """A shortlist that is halved while the size is doubled."""
    return Search(
        lambda index, queries: index.funnel(queries, dims, lengths, d_short, _RESULTS),
        lambda rows: search_flops(rows, d_short, list(zip(lengths, dims, strict=True))),
    )


class NestedSearch(Task):
    """Ways to search the same nested embeddings. An arm's `make` takes nothing and gives a `Search`."""

    name = "nested-search"
    metrics = (
        Metric("map@10", "%", meaning="mean average precision of the ten nearest"),
        Metric("top1", "%", meaning="of queries whose nearest row has their class"),
        Metric("flops", higher_is_better=False, meaning="multiply-adds a query"),
        Metric("seconds", "s", higher_is_better=False, meaning="for all queries"),
    )

    def __init__(
        self,
        data: str | ImageData,
        dims: Sequence[int],
        *,
        steps: int,
        most_trained: int | None = None,
        most_tested: int | None = None,
        batch_size: int = 128,
        lr: float = 3e-3,
    ) -> None:
        """
        Args:
            data: images, by name or path, or opened already.
            dims: the nested sizes; the last is the encoder's width.
            steps: optimizer steps of the encoder.
            most_trained: rows of the database, at most.
            most_tested: queries, at most.
            batch_size: images a step.
            lr: the peak learning rate.
        """
        self.given = data
        self.dims = check_dims(dims)
        self.steps = steps
        self.most_trained = most_trained
        self.most_tested = most_tested
        self.batch_size = batch_size
        self.lr = lr
        self.title = f"Search among nested embeddings of {data if isinstance(data, str) else data.name}"
        self.embeddings = lru_cache(maxsize=1)(self._embeddings)

    @cached_property
    def data(self) -> ImageData:
        """The images, opened when they are first needed."""
        return open_images(self.given) if isinstance(self.given, str) else self.given

    def _embeddings(self, seed: int, setting: Setting) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Database, its labels, queries and theirs, of the encoder of one seed: the same for every arm."""
        data = self.data
        database, queries = take_some(data.train, self.most_trained, "trained"), take_some(data.test, self.most_tested, "tested")
        channels, height, width = data.shape
        make = partial(MLP, len(data.classes), (height, width), channels, num_features=self.dims[-1])
        encoder = make_seeded(make, seed)
        objective = make_seeded(partial(NestedClassification.for_model, encoder, dims=self.dims), seed)
        batches = Shuffled(database, min(self.batch_size, len(database)), seed)
        train_arm(encoder, objective, batches, Recipe(steps=self.steps, lr=self.lr), Run(seed, setting))
        with torch.no_grad():
            return (*embed_source(encoder, database, setting.device), *embed_source(encoder, queries, setting.device))

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Search in one arm's way at one seed; building the index is not counted."""
        database, labels, queries, query_labels = self.embeddings(run.seed, run.setting)
        search: Search = arm.make()
        index = NestedIndex(database, self.dims)
        search.run(index, queries[:16])  # sizes are laid out when they are first searched
        start = time.perf_counter()
        found = search.run(index, queries)
        seconds = time.perf_counter() - start
        scores = retrieval_metrics(found.ids, query_labels, labels, _RESULTS)
        metrics = {
            "map@10": 100 * scores["map"],
            "top1": 100 * scores["top1"],
            "flops": float(search.flops(len(database))),
            "seconds": seconds,
        }
        return Outcome(metrics, notes={"rows": len(database), "queries": len(queries)})

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "NestedSearch":
        """On a named dataset or a folder with one subfolder a class."""
        return cls(
            open_images(data or "digits", strict=strict),
            (16, 32, 64, 128, 256),
            steps=setting.pick(smoke=60, full=600),
            most_trained=setting.pick(smoke=2_000, full=50_000),
            most_tested=setting.pick(smoke=200, full=2_000),
        )

    def arm(self, name: str) -> Arm:
        """``full``, ``full-M`` at a size M, ``adaptive`` or ``funnel``."""
        small, whole = self.dims[0], self.dims[-1]
        known = {
            "full": partial(full, whole),
            "adaptive": partial(adaptive, small, whole, 200),
            "funnel": partial(funnel, small, self.dims[1:], [400 >> stage for stage in range(len(self.dims) - 1)]),
            **{f"full-{size}": partial(full, size) for size in self.dims[:-1]},
        }
        if name not in known:
            raise InputError(f"task {self.name!r} has no arm {name!r}: it has {', '.join(known)}")
        return Arm(name, known[name], role="baseline" if name.startswith("full") else "method")


TASKS = {NestedSearch.name: NestedSearch}
