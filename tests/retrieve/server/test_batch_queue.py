import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ordinate.retrieve.server.batch_queue import BatchQueue
from ordinate.retrieve.server.refusal import Refused


def living(queue: BatchQueue[Any, Any], do: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """`do()` while the queue runs, within ten seconds."""

    async def both() -> Any:
        task = asyncio.create_task(queue.run())
        try:
            async with asyncio.timeout(10):
                return await do()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return asyncio.run(both())


def test_each_job_gets_its_own_answer_and_batches_hold_what_waits() -> None:
    batches: list[list[int]] = []
    first = threading.Event()

    def work(jobs: list[int]) -> list[int]:
        batches.append(jobs)
        first.wait(5)
        return [10 * job for job in jobs]

    queue: BatchQueue[int, int] = BatchQueue(work, places=99, rows=4)

    async def do() -> list[int]:
        tasks = [asyncio.create_task(queue.ask(job)) for job in range(8)]
        while not batches:
            await asyncio.sleep(0.001)
        first.set()
        return await asyncio.gather(*tasks)

    assert living(queue, do) == [10 * job for job in range(8)]
    assert [job for batch in batches for job in batch] == list(range(8)) and max(map(len, batches)) == 4


def test_rows_count_and_a_large_job_goes_alone() -> None:
    batches: list[list[int]] = []

    def work(jobs: list[int]) -> list[int]:
        batches.append(jobs)
        time.sleep(0.05 if len(batches) == 1 else 0)
        return jobs

    queue: BatchQueue[int, int] = BatchQueue(work, places=99, rows=8)

    async def do() -> None:
        await asyncio.gather(*(queue.ask(rows, rows) for rows in (1, 100, 5, 3, 1)))

    living(queue, do)
    assert [100] in batches and [5, 3] in batches


def test_a_place_more_than_there_are_is_refused_with_when_to_come_again() -> None:
    queue: BatchQueue[int, int] = BatchQueue(lambda jobs: jobs, places=2, rows=1)
    with queue.place(), queue.place():
        assert queue.inside == 2
        with pytest.raises(Refused) as refusal, queue.place():
            pass
        assert refusal.value.status == 429 and int(refusal.value.headers["Retry-After"]) >= 1
    assert queue.inside == 0
    with queue.place():
        pass


def test_the_wait_that_is_named_grows_with_the_time_that_jobs_take() -> None:
    def work(jobs: list[int]) -> list[int]:
        time.sleep(0.2)
        return jobs

    queue: BatchQueue[int, int] = BatchQueue(work, places=100, rows=1)
    living(queue, lambda: queue.ask(1))
    places = [queue.place() for _ in range(100)]
    for place in places:
        place.__enter__()
    with pytest.raises(Refused) as refusal, queue.place():
        pass
    assert 1 < int(refusal.value.headers["Retry-After"]) <= 60
    for place in places:
        place.__exit__(None, None, None)


def test_one_bad_job_fails_alone() -> None:
    held = threading.Event()

    def work(jobs: list[int]) -> list[float]:
        held.wait(5)
        return [1 / job for job in jobs]

    queue: BatchQueue[int, float] = BatchQueue(work, places=9, rows=9)

    async def do() -> list[Any]:
        tasks = [asyncio.create_task(queue.ask(job)) for job in (4, 2, 0, 1)]
        await asyncio.sleep(0.02)
        held.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    quarter, half, none, whole = living(queue, do)
    assert (quarter, half, whole) == (0.25, 0.5, 1.0) and isinstance(none, ZeroDivisionError)


def test_who_gives_up_leaves_the_line_and_is_not_computed() -> None:
    held, seen = threading.Event(), []

    def work(jobs: list[int]) -> list[int]:
        seen.extend(jobs)
        held.wait(5)
        return jobs

    queue: BatchQueue[int, int] = BatchQueue(work, places=9, rows=1)

    async def do() -> None:
        first = asyncio.create_task(queue.ask(1))
        while not seen:
            await asyncio.sleep(0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await queue.ask(2)
        assert len(queue) == 0
        third = asyncio.create_task(queue.ask(3))
        held.set()
        assert (await first, await third) == (1, 3)

    living(queue, do)
    assert seen == [1, 3]


def test_an_answer_that_nobody_waits_for_is_let_go() -> None:
    held = threading.Event()

    def work(jobs: list[int]) -> list[int]:
        held.wait(5)
        return jobs

    queue: BatchQueue[int, int] = BatchQueue(work, places=9, rows=4)

    async def do() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await queue.ask(1)
        held.set()
        return await queue.ask(2)

    assert living(queue, do) == 2


def test_batches_are_watched() -> None:
    watched: list[tuple[int, float]] = []
    queue: BatchQueue[int, int] = BatchQueue(
        lambda jobs: jobs, places=9, rows=4, watch=lambda rows, seconds: watched.append((rows, seconds))
    )
    living(queue, lambda: queue.ask(1, rows=3))
    assert [rows for rows, _ in watched] == [3] and watched[0][1] >= 0
