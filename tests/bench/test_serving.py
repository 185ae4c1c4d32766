"""The clients of the serving bench count what became of every request."""

import asyncio

import pytest

from ordinate.bench.base import get_bench
from ordinate.bench.serving import Load, closed_loop, open_loop
from ordinate.retrieve.server.limits import Limits
from tests.retrieve.server.made import MadeEncoder, png, standing


def message(path: str = "/search") -> bytes:
    body = png()
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_an_open_loop_sends_at_its_rate_and_what_is_too_much_is_refused() -> None:
    encoder = MadeEncoder(seconds=0.1)
    with standing(encoder, Limits(queue=3, batch=1)) as (_, client):
        host, port = str(client.base_url.host), int(client.base_url.port or 0)
        load = asyncio.run(open_loop(host, port, [message()], rate=60, seconds=0.5))
    assert load.sent == sum(load.statuses.values()) == 30
    assert set(load.statuses) == {200, 429} and load.statuses[429] >= 10
    assert load.statuses[200] == len(load.times) and load.quantile(0.5) <= load.quantile(0.99) == max(load.times)


def test_a_closed_loop_waits_for_every_answer() -> None:
    with standing(limits=Limits(queue=4)) as (_, client):
        host, port = str(client.base_url.host), int(client.base_url.port or 0)
        load = asyncio.run(closed_loop(host, port, [message(), message("/embed")], clients=3, seconds=0.3))
        refused = asyncio.run(closed_loop(host, port, [message("/nothing")], clients=1, seconds=0.1))
    assert set(load.statuses) == {200} and load.rate > 3
    assert set(refused.statuses) == {404} and refused.times == [] and refused.quantile(0.5) != refused.quantile(0.5)


def test_a_server_that_is_not_there_is_counted() -> None:
    load = asyncio.run(open_loop("127.0.0.1", 9, [message()], rate=20, seconds=0.1))
    assert load.statuses == {0: 2} and load.rate == 0


def test_quantiles() -> None:
    load = Load(2.0, times=[float(value) for value in range(100)])
    assert (load.rate, load.quantile(0.5), load.quantile(0.99)) == (50.0, 50.0, 99.0)


def test_the_bench_runs() -> None:
    said: list[str] = []
    result = get_bench("serving").run([2], "cpu", True, said.append)
    assert [(row.contender, row.size) for row in result.rows] == [("queue of 64", 2), ("queue without end", 2)]
    assert all(row.seconds > 0 and row.extra["other"] == 0 for row in result.rows) and len(result.remarks) == 3 and said
    assert result.rows[1].extra["429"] == pytest.approx(0)
