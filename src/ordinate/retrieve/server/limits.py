"""How much a server takes in, how much waits, and how long anything lasts. Together they bound its memory: `queue` requests of `body` bytes, and two pictures of `pixels` being decoded."""

from dataclasses import dataclass, fields

from ordinate.ground.errors import InputError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Bounds of one server.

    Attributes:
        queue: requests that are being read, waiting or computed at once; one more is told to come again (429).
        batch: rows that are encoded and searched together, at most; a larger request is encoded in several parts.
        timeout: seconds from a request's first byte to its answer; a body that comes slower is refused (408), an answer that takes longer is given up (504).
        body: bytes of a request's body (413 beyond).
        pixels: of a picture, counted from its header before anything is decoded (413 beyond).
        rows: pictures, texts or vectors in one request (422 beyond).
        text: characters of one text (422 beyond).
        results: neighbours of one query, k at most.

    Raises:
        InputError: a bound that is not positive.
    """

    queue: int = 64
    batch: int = 32
    timeout: float = 10.0
    body: int = 8 << 20
    pixels: int = 1 << 25
    rows: int = 256
    text: int = 10_000
    results: int = 1000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise InputError(f"the server's {field.name} must be positive, not {value}")
