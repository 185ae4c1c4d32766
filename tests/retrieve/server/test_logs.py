import contextlib
import io
import json
import logging
import os
import threading
import time

from ordinate.retrieve.server.logs import JsonLines, Writer, logging_to, note


def test_lines_are_json_whatever_is_in_them() -> None:
    written = io.StringIO()
    writer = logging_to(written)
    note("request", {"path": 'a\n{"event": "forged"}\u2028', "seconds": 0.5, "thing": object()})
    try:
        raise RuntimeError("deep inside")
    except RuntimeError as error:
        note("error", level=logging.ERROR, error=error)
    logging.getLogger("uvicorn.error").warning("odd: %s", "x")
    logging.getLogger("uvicorn.error").info("chatter")
    writer.close()
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["request", "error", "odd: x"]
    assert lines[0]["path"].startswith("a\n") and lines[0]["level"] == "info" and lines[0]["time"].endswith("+00:00")
    assert "deep inside" in lines[1]["traceback"] and "traceback" not in lines[0]


def test_a_reader_that_is_stuck_stops_nothing_and_loses_only_lines() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        writer = Writer(stream, most=5)
        record = logging.LogRecord("a", logging.INFO, "", 0, "event " + "x" * 4000, (), None)
        for _ in range(100):
            writer.emit(record)
        assert writer.dropped > 50
        emptied = threading.Thread(target=empty, args=[reading], daemon=True)
        emptied.start()
        while writer._lines.full():
            time.sleep(0.001)
        last = logging.LogRecord("a", logging.INFO, "", 0, "last", (), None)
        writer.emit(last)
        assert json.loads(JsonLines().format(last))["dropped_lines"] > 50 and writer.dropped == 0
        writer.close()
    emptied.join(5)
    os.close(reading)


def empty(reading: int) -> None:
    while os.read(reading, 1 << 20):
        pass


def test_a_reader_that_has_gone_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    writer = Writer(stream)
    for _ in range(3):
        writer.emit(logging.LogRecord("a", logging.INFO, "", 0, "event", (), None))
    writer.close()
    with contextlib.suppress(BrokenPipeError):
        stream.close()
