"""A request that is not served: one status, one message, and whatever headers tell the client what to do next."""

from collections.abc import Mapping

__all__ = ["Refused", "one_line"]

_LONGEST = 300


def one_line(message: str) -> str:
    """`message` without line breaks, cut where it is long: it may quote what was sent."""
    message = " ".join(message.split())
    return message if len(message) <= _LONGEST else message[: _LONGEST - 3] + "..."


class Refused(Exception):
    """Raised anywhere below a request; the answer is ``{"error": message}`` with that status.

    Args:
        status: of HTTP, 400 to 599.
        message: one line that says what was wrong, and what to do.
        headers: further headers of the answer, such as ``Retry-After``.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = one_line(message)
        self.headers = dict(headers or {})
