"""A request that is not served: one status, one message, and whatever headers tell the client what to do next."""

from collections.abc import Mapping

__all__ = ["Refused"]


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
        self.message = " ".join(message.split())
        self.headers = dict(headers or {})
