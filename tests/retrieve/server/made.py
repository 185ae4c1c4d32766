"""A server over an encoder and an index that are made up, for the tests: an encoder that can be told to wait or to fail, and rows that are known."""

import base64
import io
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import torch
import uvicorn
from PIL import Image
from torch import Tensor

from ordinate.retrieve.nested_index import NestedIndex
from ordinate.retrieve.server.access import Access
from ordinate.retrieve.server.app import Server
from ordinate.retrieve.server.limits import Limits
from ordinate.retrieve.server.queries import Rules
from ordinate.retrieve.server.served import Served
from ordinate.retrieve.stored_index import Hits

WIDTH, ROWS = 16, 500
DIMS = (4, 8, 16)


class MadeIndex:
    """Random rows called row-0, row-1, ..."""

    def __init__(self, seed: int = 0) -> None:
        self.vectors = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(seed))
        self._nested = NestedIndex(self.vectors, DIMS)

    def __len__(self) -> int:
        return ROWS

    def search(
        self, vectors: Tensor, k: int, shortlist_dim: int | None = None, rerank_dim: int | None = None, shortlist: int = 200
    ) -> Hits:
        short, rerank = shortlist_dim or WIDTH, rerank_dim or WIDTH
        found = self._nested.search(vectors, k) if short == rerank == WIDTH else self._nested.adaptive(vectors, k, shortlist, short, rerank)
        return Hits([[f"row-{row}" for row in rows] for rows in found.ids.tolist()], 1 - found.distances / 2, found.ids)

    def labels(self, rows: Sequence[int]) -> list[str] | None:
        return [f"class-{row % 10}" for row in rows]


@dataclass
class MadeEncoder:
    """Embeds anything by the hash of its bytes. `gate` closed, it waits; `broken`, it raises."""

    kind: str = "image"
    gate: threading.Event = field(default_factory=threading.Event)
    broken: Exception | None = None
    batches: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.gate.set()

    def encode(self, inputs: Sequence[Any]) -> Tensor:
        self.batches.append(len(inputs))
        self.gate.wait(20)
        time.sleep(self.seconds)
        if self.broken is not None:
            raise self.broken
        data = [each.encode() if isinstance(each, str) else each for each in inputs]
        return torch.stack([torch.randn(WIDTH, generator=torch.Generator().manual_seed(zlib.crc32(each))) for each in data])


def served(
    encoder: MadeEncoder, limits: Limits, *, index: MadeIndex | None = None, name: str = "first", prepare: Any = None, knows: Any = None
) -> Served:
    rules = Rules(encoder.kind, WIDTH, limits)
    return Served(
        encoder,
        index or MadeIndex(),
        name,
        name,
        frozenset({"first", name}),
        rules,
        DIMS,
        (lambda each: True) if knows is None else knows.__contains__,
        prepare or (lambda each: each),
    )


@contextmanager
def standing(
    encoder: MadeEncoder | None = None,
    limits: Limits | None = None,
    *,
    token: str | None = None,
    thumbnails: Any = None,
    watch: Any = None,
    knows: Any = None,
) -> Iterator[tuple[Server, httpx.Client]]:
    """A server in a thread of this process, and a client of it."""
    limits = limits or Limits()
    server = Server(
        served(encoder or MadeEncoder(), limits, knows=knows),
        limits=limits,
        access=Access("127.0.0.1", token),
        thumbnails=thumbnails,
        watch=watch,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    own = uvicorn.Server(uvicorn.Config(server.app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=own.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    host, port = listener.getsockname()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.Client(base_url=f"http://{host}:{port}", headers=headers, timeout=30) as client:
            yield server, client
    finally:
        own.should_exit = True
        thread.join(15)
        listener.close()
        assert not thread.is_alive(), "the server does not end"


def png(width: int = 12, height: int = 12, seed: int = 0) -> bytes:
    """A picture's file."""
    pixels = torch.randint(256, (height, width, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(written, "PNG")
    return written.getvalue()


def base64_png(seed: int = 0) -> str:
    return base64.b64encode(png(seed=seed)).decode()


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG of a few kilobytes that would decode to `width` x `height` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")


def raw(client: httpx.Client, data: bytes, patience: float = 10.0) -> bytes:
    """Whatever comes back when `data` is sent as it is."""
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=patience) as connection:
        connection.sendall(data)
        found = b""
        try:
            while piece := connection.recv(1 << 16):
                found += piece
                if b"\r\n\r\n" in found and found.rstrip().endswith(b"}"):
                    break
        except (TimeoutError, ConnectionResetError):
            pass
        return found


def vectors(count: int = 1, value: float = 0.5) -> dict[str, Any]:
    return {"vectors": [[value] * WIDTH] * count}


def refused(answer: httpx.Response, status: int, words: str) -> None:
    """One clear message with that status, and nothing of the server's inside."""
    assert answer.status_code == status, (answer.status_code, answer.text[:300])
    assert answer.headers["content-type"] == "application/json"
    document = json.loads(answer.text)
    assert list(document) == ["error"] and words in document["error"], document
    assert "\n" not in document["error"] and len(document["error"]) < 400
    assert "Traceback" not in answer.text and ".py" not in answer.text
