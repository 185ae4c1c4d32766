"""A request's body, read no further than allowed: by its announced length at once, and by what really comes, piece by piece."""

import asyncio
from collections.abc import AsyncIterator

from ordinate.retrieve.server.refusal import Refused

__all__ = ["read_body"]


async def read_body(stream: AsyncIterator[bytes], announced: str | None, most: int, deadline: float) -> bytes:
    """The body, whole.

    Args:
        stream: its pieces as they come.
        announced: the header ``Content-Length``, or None where the body comes in chunks of unknown number.
        most: bytes that are taken.
        deadline: when it must be there, by the loop's clock.

    Raises:
        Refused: 413 for a longer body, 408 for one that is not there in time, 400 for one that the client broke off.
    """
    if announced is not None and announced.isdecimal() and int(announced) > most:
        raise _too_long(most)
    pieces: list[bytes] = []
    length = 0
    try:
        async with asyncio.timeout_at(deadline):
            async for piece in stream:
                length += len(piece)
                if length > most:
                    raise _too_long(most)
                pieces.append(piece)
    except TimeoutError:
        raise Refused(408, "the body did not come in time", {"Connection": "close"}) from None
    return b"".join(pieces)


def _too_long(most: int) -> Refused:
    return Refused(413, f"the body is longer than the {most:,} bytes that are taken")
