"""One writer at a time: a lock that goes away with its process, however that ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ordinate.ground.errors import InputError

__all__ = ["only_writer"]


@contextmanager
def only_writer(lock: Path, what: str) -> Iterator[None]:
    """Hold the lock file `lock` while the block runs.

    Args:
        lock: a file in a folder that exists; it is made, and stays.
        what: is being written, for the message.

    Raises:
        InputError: another process holds it.
        OSError: the folder cannot be written.
    """
    with lock.open("a") as file:
        try:
            import fcntl
        except ImportError:  # where there are no such locks, writers must keep apart by themselves
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{what} is just being written by another process: wait for it") from None
        yield
