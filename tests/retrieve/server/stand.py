"""A process that serves the made-up encoder: `python -m tests.retrieve.server.stand SECONDS_A_BATCH TIMEOUT`; prints its address."""

import sys

from ordinate.retrieve.server.access import Access
from ordinate.retrieve.server.app import Server
from ordinate.retrieve.server.limits import Limits
from ordinate.retrieve.server.logs import logging_to
from ordinate.retrieve.server.process import listen, run_server
from tests.retrieve.server.made import MadeEncoder, served

if __name__ == "__main__":
    limits = Limits(queue=8, batch=4, timeout=float(sys.argv[2]))
    encoder = MadeEncoder(seconds=float(sys.argv[1]))
    writer = logging_to()
    run_server(
        Server(served(encoder, limits), limits=limits, access=Access("127.0.0.1", None)),
        listen("127.0.0.1", 0),
        lambda url: print(url, flush=True),
    )
    writer.close()
