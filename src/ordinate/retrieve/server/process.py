"""A server as a process: it listens, says so, and ends when it is told to, after the requests inside have been answered.

SIGTERM and SIGINT close the listening socket; requests that are inside are finished (each is bounded by the server's timeout, and so is the end); a second SIGINT ends it at once.
"""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from ordinate.ground.errors import InputError
from ordinate.retrieve.server.app import Server
from ordinate.retrieve.server.logs import note

__all__ = ["listen", "run_server"]

_BACKLOG = 512
_GRACE = 3  # seconds beyond a request's own time, for its answer to be sent
_IDLE = 15  # seconds that a connection without a request is kept


class _Uvicorn(uvicorn.Server):
    """uvicorn, which after a signal ends as a program does that was asked to: it would raise the signal once more."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT while the block runs."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals reach the main thread alone
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, after what is inside. That it begins is logged here and not in the signal's handler, which may have interrupted the log itself."""
        note("stopping", {"signals": [signal.Signals(number).name for number in self._captured_signals]})
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        InputError: the name is not known, or the port is none or cannot be had.
    """
    if not 0 <= port < 1 << 16:
        raise InputError(f"a port is a number between 0 and 65535, not {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot listen at {host}:{port} ({reason}): choose another place with --host and --port") from None
    return listener


def run_server(server: Server, listener: socket.socket, ready: Callable[[str], None] | None = None) -> None:
    """Serve at `listener` until a signal ends it.

    Args:
        server: what is served.
        listener: of `listen`; closed at the end.
        ready: told the address when the first request can be sent.
    """
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    config = uvicorn.Config(
        server.app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=int(server.limits.timeout) + _GRACE,
        backlog=_BACKLOG,
    )
    note("serving", {"url": url, "run": server.served.run, "rows": len(server.served.index)})
    if ready is not None:
        ready(url)  # the socket listens already: whoever connects from now on is answered
    _Uvicorn(config).run(sockets=[listener])
    note("stopped")
