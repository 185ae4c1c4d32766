"""Logs: one JSON object a line, on stderr.

Whoever reads them may be slow or stuck. Lines are therefore handed to a thread through a queue of bounded length; those that find it full are dropped and counted, and the count is in the next line that is written.
"""

import json
import logging
import queue
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

__all__ = ["JsonLines", "Writer", "logging_to", "note"]

_LOGGER = logging.getLogger("ordinate.server")
_LONGEST_LINE = 10_000


def note(event: str, fields: Mapping[str, Any] | None = None, *, level: int = logging.INFO, error: BaseException | None = None) -> None:
    """Log that something happened.

    Args:
        event: a word or two: ``"request"``.
        fields: JSON values that belong to it. Never a token, nor what was in a query.
        level: of `logging`.
        error: what was raised; its traceback goes to the log, and nowhere else.
    """
    _LOGGER.log(level, event, extra={"fields": dict(fields or {})}, exc_info=error)


@runtime_checkable
class Stream(Protocol):
    """Where lines can be written to."""

    def write(self, text: str, /) -> Any: ...

    def flush(self) -> Any: ...


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, event, and the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": " ".join(record.getMessage().split()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)[-_LONGEST_LINE:]
        return json.dumps(document, ensure_ascii=True, default=str)


class Writer(logging.Handler):
    """Hands lines to a thread that writes them."""

    def __init__(self, stream: Stream, most: int = 10_000) -> None:
        """
        Args:
            stream: where lines go.
            most: how many may wait.
        """
        super().__init__()
        self.setFormatter(JsonLines())
        self.dropped = 0
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(most)
        self._thread = threading.Thread(target=self._write, name="logs", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line, or drop it."""
        if self.dropped:
            fields = getattr(record, "fields", {})
            record.fields = {**fields, "dropped_lines": self.dropped}
        try:
            self._lines.put_nowait(self.format(record))
            self.dropped = 0
        except queue.Full:
            self.dropped += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line + "\n")
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                return  # nobody reads any more

    def close(self) -> None:
        """Write what waits, for at most two seconds."""
        try:
            self._lines.put_nowait(None)
            self._thread.join(2.0)
        except queue.Full:
            pass
        super().close()


def logging_to(stream: Stream | None = None) -> Writer:
    """Send the server's lines, uvicorn's warnings and Python's, to `stream` (stderr); close what is returned when the server has ended."""
    writer = Writer(stream or sys.stderr)
    logging.captureWarnings(True)
    for name, least in (("ordinate.server", logging.INFO), ("uvicorn", logging.WARNING), ("py.warnings", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [writer], False
        logger.setLevel(least)
    return writer
