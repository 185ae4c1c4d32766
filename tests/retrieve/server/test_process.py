"""The server as a process: it listens, drains when it is told to end, and comes back after a kill."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ordinate.ground.errors import InputError
from ordinate.retrieve.server.process import listen
from tests.retrieve.server.made import base64_png, vectors

ROOT = Path(__file__).parents[3]


@contextmanager
def process(seconds: float = 0.0, timeout: float = 10.0) -> Iterator[tuple["subprocess.Popen[str]", httpx.Client]]:
    command = [sys.executable, "-m", "tests.retrieve.server.stand", str(seconds), str(timeout)]
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        url = started.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), started.communicate()
        with httpx.Client(base_url=url, timeout=20) as client:
            yield started, client
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate()


def inside(client: httpx.Client) -> int:
    line = next(line for line in client.get("/metrics").text.splitlines() if line.startswith("ordinate_requests_inside "))
    return int(float(line.split()[1]))


def test_a_signal_ends_it_after_what_is_inside_was_answered() -> None:
    """Six requests are answered; one whose body never ends is refused, and does not keep the server."""
    with process(seconds=0.4, timeout=3) as (started, client), ThreadPoolExecutor(6) as pool, httpx.Client(timeout=20) as asking:
        url = f"{client.base_url}embed"
        answers = [pool.submit(asking.post, url, json={"images": [base64_png(seed)]}) for seed in range(6)]
        with socket.create_connection((client.base_url.host, client.base_url.port)) as slow:
            slow.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            while inside(client) < 7:
                time.sleep(0.005)
            started.send_signal(signal.SIGTERM)
            assert [answer.result().status_code for answer in answers] == [200] * 6
            _, said = started.communicate(timeout=20)
            assert slow.recv(1 << 16).startswith(b"HTTP/1.1 408")
        assert started.returncode == 0
        lines = [json.loads(line) for line in said.splitlines()]
        assert [line["event"] for line in lines if line["event"] != "request"] == ["serving", "stopping", "stopped"]
        assert sorted(line["status"] for line in lines if line["event"] == "request" and line["method"] == "POST") == [200] * 6 + [408]
        with pytest.raises(httpx.ConnectError):
            httpx.get(str(client.base_url))


def test_after_a_kill_the_same_place_serves_again() -> None:
    with process() as (started, client):
        assert client.post("/search", json=vectors()).status_code == 200
        started.kill()
        started.communicate(timeout=10)
        port = client.base_url.port
    listener = listen("127.0.0.1", port)
    assert listener.getsockname()[1] == port
    listener.close()


def test_a_place_that_cannot_be_had_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"cannot listen at 127.0.0.1:{port} .*choose another place with --host and --port"):
            listen("127.0.0.1", port)
    for host, port in (("no.such.host.invalid", 80), ("192.0.2.1", 0)):
        with pytest.raises(InputError, match="cannot listen"):
            listen(host, port)
    with pytest.raises(InputError, match="between 0 and 65535"):
        listen("127.0.0.1", 99_999)
