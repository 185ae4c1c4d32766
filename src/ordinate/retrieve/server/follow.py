"""Taking up what was recorded in an index while it is being served: a replacement model, or the index written anew.

The index is looked at every second. What has changed is loaded in a thread beside the requests and takes over in one assignment, when it is whole and has embedded something; until then, and for as long as it cannot be
loaded, what was served before is served on.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable
from typing import Any

from ordinate.retrieve.server.app import Server
from ordinate.retrieve.server.logs import note
from ordinate.retrieve.server.served import Served

__all__ = ["following"]

_LONGEST = 60.0


def following(
    stamp: Callable[[], Hashable], load: Callable[[], Served], *, seen: Hashable, every: float = 1.0
) -> Callable[[Server], Coroutine[Any, Any, None]]:
    """The `watch` of a `Server` that follows an index.

    Args:
        stamp: something cheap that differs when the index has changed.
        load: what is to be served now; called in a thread.
        seen: the stamp of what is served at first.
        every: seconds between two looks; after a failure the pause doubles, up to a minute.
    """

    async def watch(server: Server) -> None:
        nonlocal seen
        pause = every
        while True:
            await asyncio.sleep(pause)
            try:
                now = await asyncio.to_thread(stamp)
                if now == seen:
                    pause = every
                    continue
                served = await asyncio.to_thread(load)
            except Exception as error:
                pause = min(2 * pause, _LONGEST)
                server.metrics.failed_swaps.inc()
                note("cannot follow the index", {"why": " ".join(str(error).split())}, level=logging.ERROR)
                continue
            seen, pause = now, every
            server.swap(served)
            note("following the index", {"run": served.run, "fingerprint": served.fingerprint, "rows": len(served.index)})

    return watch
