"""The outermost layer of the server: every request is let in or refused, timed, counted and logged; every answer carries the headers that keep a browser from misreading it; whatever goes wrong is one message."""

import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from ordinate.retrieve.server.access import Access
from ordinate.retrieve.server.logs import note
from ordinate.retrieve.server.metrics import Metrics
from ordinate.retrieve.server.refusal import Refused

__all__ = ["NUMBER", "Observed", "broken"]

Message: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

_SAFE = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_CLOSED = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_LONGEST_PATH = 200

NUMBER = "ordinate.request"
"""Where a request's number stands in its scope."""


def broken(number: str) -> str:
    """What is said to a client of a fault that is not its own."""
    return f"something went wrong in the server: its log has more under {number}"


class Observed:
    """Wraps an ASGI application."""

    def __init__(self, app: Application, access: Access, metrics: Metrics, check_room: Callable[[str], None]) -> None:
        """
        Args:
            app: what answers the requests that are let in.
            access: who is.
            check_room: raises `Refused` where there is no room for one more request for a path. Asked before anything else is done for a request, so that refusing many leaves time to serve a few.
            metrics: where they are counted.
        """
        self._app = app
        self._access = access
        self._metrics = metrics
        self._check_room = check_room

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        number = uuid.uuid4().hex[:16]
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), *_SAFE, (b"x-request-id", number.encode())]
                if not any(name == _CLOSED[0] for name, _ in headers):
                    headers.append(_CLOSED)
                message = {**message, "headers": headers}
            await send(message)

        try:
            try:
                self._access.check(scope["path"], dict(scope["headers"]))
                self._check_room(scope["path"])
                await self._app({**scope, NUMBER: number}, receive, answer)
            except Refused as refused:
                await _refuse(answer, refused.status, refused.message, refused.headers)
            except Exception as error:
                note("error", {"request": number}, level=logging.ERROR, error=error)
                if not status:
                    await _refuse(answer, 500, broken(number), {})
        finally:
            seconds = time.perf_counter() - begun
            self._metrics.request(scope["method"], scope["path"], status, seconds)
            client = scope.get("client")
            note(
                "request",
                {
                    "request": number,
                    "method": scope["method"][:20],
                    "path": scope["path"][:_LONGEST_PATH],
                    "status": status,
                    "seconds": round(seconds, 5),
                    "client": client[0] if client else None,
                },
            )


async def _refuse(send: Send, status: int, message: str, headers: Mapping[str, str]) -> None:
    body = json.dumps({"error": message}).encode()
    fields = {"content-type": "application/json", "content-length": str(len(body)), "cache-control": "no-store", **headers}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
