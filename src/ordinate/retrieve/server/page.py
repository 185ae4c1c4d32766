"""The page at /: one drops a picture or types a text, and sees its neighbours.

It is one document with its style and script inside, which loads nothing but answers of this server. The policy that is sent with it says so, and allows no other script than this one, by its hash.
"""

import base64
import hashlib
from functools import cache
from importlib.resources import files

__all__ = ["page", "page_policy"]


@cache
def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


@cache
def page() -> str:
    """The document."""
    return _part("page.html").replace("{{style}}", _part("page.css")).replace("{{script}}", _part("page.js"))


@cache
def page_policy() -> str:
    """Its Content-Security-Policy."""
    style, script = (_hash(_part(name)) for name in ("page.css", "page.js"))
    return (
        f"default-src 'none'; style-src '{style}'; script-src '{script}'; img-src blob: data:; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
