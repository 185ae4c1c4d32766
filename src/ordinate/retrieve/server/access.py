"""Who is let in: on the machine itself by default, and elsewhere only with a token.

Without a token a server listens on the loopback interface alone, and answers only requests that are addressed to it: a page on the web that has a name of its own resolve to 127.0.0.1 ("DNS rebinding") sends
that name in `Host`, and is refused. With a token every request but for the page and the health check carries ``Authorization: Bearer TOKEN``; tokens are compared in a time that does not depend on where they
differ. Both are looked at before anything of the body is read.
"""

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path

from ordinate.ground.errors import InputError
from ordinate.retrieve.server.refusal import Refused

__all__ = ["OPEN_PATHS", "Access", "is_loopback", "read_token"]

OPEN_PATHS = ("/", "/health")
"""Paths that are answered without a token: they tell nothing about the model or the index."""
_SHORTEST = 8


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without a port, is this machine's own loopback interface."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_token(file: Path | None) -> str | None:
    """The token in `file`, or in ``$ORDINATE_TOKEN``; None where neither is given.

    Raises:
        InputError: a file that cannot be read, or a token that is shorter than 8 characters or has others than visible ASCII ones.
    """
    if file is None:
        token, origin = os.environ.get("ORDINATE_TOKEN"), "$ORDINATE_TOKEN"
        if token is None:
            return None
    else:
        try:
            token, origin = file.read_text(encoding="utf-8"), str(file)
        except (OSError, UnicodeDecodeError):
            raise InputError(f"{file}: no token can be read from it") from None
    token = token.strip()
    if len(token) < _SHORTEST or not all("!" <= letter <= "~" for letter in token):
        raise InputError(f"the token in {origin} must be {_SHORTEST} or more visible ASCII characters: openssl rand -hex 32 makes one")
    return token


class Access:
    """Lets requests in or refuses them."""

    def __init__(self, host: str, token: str | None) -> None:
        """
        Args:
            host: the name or address that is listened on.
            token: what requests must carry, or None.

        Raises:
            InputError: other machines could reach `host`, and there is no token.
        """
        if token is None and not is_loopback(host):
            raise InputError(
                f"{host} can be reached from other machines: give a token with --token-file or $ORDINATE_TOKEN, or leave out --host"
            )
        self._expected = None if token is None else _digest(b"Bearer " + token.encode())

    @property
    def needs_token(self) -> bool:
        """Whether requests must carry a token."""
        return self._expected is not None

    def check(self, path: str, headers: Mapping[bytes, bytes]) -> None:
        """Raise `Refused` unless a request for `path` with these headers (names in lower case) is let in."""
        if self._expected is None:
            name = headers.get(b"host", b"localhost").decode("latin-1")
            if not is_loopback(_without_port(name)):
                raise Refused(400, "this server answers only requests addressed to localhost: set a token to serve other names")
            return
        if path in OPEN_PATHS:
            return
        scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
        given = b"Bearer " + rest.strip() if scheme.lower() == b"bearer" else b""
        # of digests, so that not even the length shows in the time
        if not hmac.compare_digest(_digest(given), self._expected):
            words = "a wrong token" if given else "a token is needed: send it as Authorization: Bearer TOKEN"
            raise Refused(401, words, {"WWW-Authenticate": "Bearer"})


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _without_port(name: str) -> str:
    if name.startswith("["):
        return name.partition("]")[0][1:]
    return name.rpartition(":")[0] if name.count(":") == 1 else name
