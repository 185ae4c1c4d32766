"""What a server serves at the moment, and the work that one batch of requests is.

Every request is bound to what was served when it came in: the encoder, the index, and the rules that follow from both. When another model takes over, the requests inside are finished by the old one, those that come
after are served by the new one, and none fails.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.objectives.matryoshka import truncate
from ordinate.retrieve.server.queries import Query, Rules
from ordinate.retrieve.stored_index import Hits

__all__ = ["Answer", "Encoder", "Index", "Job", "Served", "compute"]

RESULTS, SHORTLIST = 10, 200
"""Neighbours of a query, and the length of a shortlist, where a request does not say."""


@runtime_checkable
class Index(Protocol):
    """What a server needs of an index."""

    def __len__(self) -> int: ...

    def search(
        self,
        vectors: Float[Tensor, "queries dim"],
        k: int,
        shortlist_dim: int | None = None,
        rerank_dim: int | None = None,
        shortlist: int = 200,
    ) -> Hits:
        """The k nearest rows of every query."""
        ...

    def labels(self, rows: Sequence[int]) -> list[str] | None:
        """The labels of some rows, or None where there are none."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """What a server needs of an encoder."""

    kind: str

    def encode(self, inputs: Sequence[Any]) -> Float[Tensor, "batch dim"]:
        """Embeddings of some inputs."""
        ...


@dataclass(frozen=True, eq=False)
class Served:
    """An encoder and an index that belong together.

    Attributes:
        encoder, index: the two.
        run: the encoder's run folder, as it is shown.
        fingerprint: of the encoder, as one word.
        welcome: fingerprints of all models whose vectors the index takes.
        rules: what may be asked.
        dims: the nested sizes, the last the width.
        knows: whether the index has a row of that id.
        prepare: one input as it was sent, a picture's file or a text, to what the encoder takes. Called in a thread of its own for every request, beside the batches; raises `InputError` for what cannot be read.
    """

    encoder: Encoder
    index: Index
    run: str
    fingerprint: str
    welcome: frozenset[str]
    rules: Rules
    dims: tuple[int, ...]
    knows: Callable[[str], bool]
    prepare: Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Job:
    """A query, by whom it is served, and whether its neighbours are wanted or its embedding alone."""

    served: Served
    query: Query
    searching: bool


@dataclass(frozen=True)
class Answer:
    """Embeddings (Q, m), or the neighbours of every query, nearest first, as (id, score, label or None)."""

    vectors: Float[Tensor, "queries dim"] | None = None
    neighbours: list[list[tuple[str, float, str | None]]] | None = None


@dataclass(frozen=True)
class _Way:
    """How an index is searched: queries of one way are searched together."""

    k: int
    shortlist_dim: int | None
    rerank_dim: int | None
    shortlist: int


def compute(jobs: Sequence[Job]) -> list[Answer]:
    """The answers of a batch: all inputs of one encoder are encoded together, and all queries of one way searched together.

    Raises:
        InputError: an input that the encoder refuses, or sizes that the index does.
    """
    answers: dict[Job, Answer] = {}
    for served in dict.fromkeys(job.served for job in jobs):
        mine = [job for job in jobs if job.served is served]
        vectors = _vectors(served, mine)
        ways: dict[_Way, list[Job]] = {}
        for job in mine:
            if job.searching:
                ways.setdefault(_way(job), []).append(job)
            else:
                dim = job.query.options.dim
                answers[job] = Answer(vectors=vectors[job] if dim is None else truncate(vectors[job], dim))
        for way, alike in ways.items():
            hits = served.index.search(torch.cat([vectors[job] for job in alike]), way.k, way.shortlist_dim, way.rerank_dim, way.shortlist)
            neighbours = _neighbours(served.index, hits)
            for job in alike:
                answers[job], neighbours = Answer(neighbours=neighbours[: len(job.query)]), neighbours[len(job.query) :]
    return [answers[job] for job in jobs]


def _vectors(served: Served, jobs: Sequence[Job]) -> dict[Job, Tensor]:
    found = {job: job.query.vectors for job in jobs if job.query.vectors is not None}
    to_encode = [job for job in jobs if job.query.inputs is not None]
    inputs = [each for job in to_encode for each in job.query.inputs or ()]
    if inputs:
        at_once = served.rules.limits.batch
        parts = [served.encoder.encode(inputs[start : start + at_once]) for start in range(0, len(inputs), at_once)]
        encoded = torch.cat(parts).float().cpu().split([len(job.query) for job in to_encode])
        found |= dict(zip(to_encode, encoded, strict=True))
    return found


def _neighbours(index: Index, hits: Hits) -> list[list[tuple[str, float, str | None]]]:
    labels = index.labels(hits.rows.flatten().tolist())
    each = repeat(None) if labels is None else iter(labels)
    return [
        [(name, score, next(each)) for name, score in zip(*row, strict=True)] for row in zip(hits.ids, hits.scores.tolist(), strict=True)
    ]


def _way(job: Job) -> _Way:
    options, rows = job.query.options, len(job.served.index)
    k = min(options.k or RESULTS, rows)
    return _Way(k, options.shortlist_dim, options.rerank_dim, min(max(options.shortlist or SHORTLIST, k), rows))
