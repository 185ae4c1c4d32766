"""A bounded line of jobs before one worker thread, which takes as many at a time as a batch holds.

A request takes a *place* before its body is read and gives it back with its answer. When all places are taken, the next request is refused at once and told when to come again: what is accepted is served in about the
same time however much is asked for, and memory does not grow with the load.

Nothing waits for a batch to fill. While one batch is computed the next one gathers, so that batches are small when little is asked for and full when much is.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from ordinate.retrieve.server.refusal import Refused

__all__ = ["BatchQueue"]

Job = TypeVar("Job")
Answer = TypeVar("Answer")

_LONGEST_RETRY = 60
_MEMORY = 0.1  # how much the last batch counts in the running mean of seconds a job


@dataclass(eq=False)
class _Waiting(Generic[Job, Answer]):
    job: Job
    rows: int
    answer: "asyncio.Future[Answer]"


class BatchQueue(Generic[Job, Answer]):
    """Jobs in line before one thread. `run` must be running in the loop for anything to be answered."""

    def __init__(
        self,
        work: Callable[[list[Job]], Sequence[Answer]],
        *,
        places: int,
        rows: int,
        watch: Callable[[int, float], None] | None = None,
    ) -> None:
        """
        Args:
            work: the answers of some jobs, in their order. Called in a thread of its own, one call at a time. If it raises on several jobs, each of them is tried alone, so that one bad job fails by itself.
            places: how many requests may be inside at once.
            rows: how many rows a batch has at most; a job of more is a batch of its own.
            watch: told the rows and the seconds of every batch.
        """
        self._work = work
        self._places = places
        self._rows = rows
        self._watch = watch
        self._line: deque[_Waiting[Job, Answer]] = deque()
        self._some = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._seconds_a_job = 0.0
        self.inside = 0
        """Requests that have a place."""

    def __len__(self) -> int:
        """Jobs in line."""
        return len(self._line)

    def check_room(self) -> None:
        """Raise `Refused`, 429, where all places are taken; ``Retry-After`` says in how many seconds one is likely to be free."""
        if self.inside >= self._places:
            wait = min(max(1, math.ceil(self._seconds_a_job * self.inside)), _LONGEST_RETRY)
            raise Refused(429, f"the server is busy: try again in {wait} s", {"Retry-After": str(wait)})

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place while the block runs.

        Raises:
            Refused: 429, all places are taken.
        """
        self.check_room()
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def ask(self, job: Job, rows: int = 1) -> Answer:
        """The answer to `job`, which counts as so many rows. A caller that is cancelled meanwhile takes its job out of the line."""
        waiting: _Waiting[Job, Answer] = _Waiting(job, rows, asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        self._some.set()
        try:
            return await waiting.answer
        finally:
            if waiting in self._line:
                self._line.remove(waiting)

    async def run(self) -> None:
        """Answer jobs until cancelled."""
        try:
            while True:
                await self._some.wait()
                batch = self._next()
                if batch:
                    await self._answer(batch)
                else:
                    self._some.clear()
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> list[_Waiting[Job, Answer]]:
        batch: list[_Waiting[Job, Answer]] = []
        rows = 0
        while self._line and (not batch or rows + self._line[0].rows <= self._rows):
            waiting = self._line.popleft()
            batch.append(waiting)
            rows += waiting.rows
        return batch

    async def _answer(self, batch: Sequence[_Waiting[Job, Answer]]) -> None:
        begun = time.perf_counter()
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._work, [waiting.job for waiting in batch])
        except Exception as error:
            if len(batch) > 1:
                for waiting in batch:
                    await self._answer([waiting])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        seconds = time.perf_counter() - begun
        self._seconds_a_job += _MEMORY * (seconds / len(batch) - self._seconds_a_job)
        if self._watch is not None:
            self._watch(sum(waiting.rows for waiting in batch), seconds)
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(answer)
