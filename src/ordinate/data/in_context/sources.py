"""Sources of prompts by name: ``"linear:d=4,n=12,noise=0.1"``.

A file of this folder offers its families in `PROMPTS: dict[str, Callable[..., PromptSource]]`; what follows the colon are the arguments, name=value with commas between them.
"""

import ast
import re
from collections.abc import Callable
from functools import cache

from ordinate.data.in_context.prompts import PromptSource
from ordinate.ground.discovery import offered
from ordinate.ground.errors import InputError, choose

__all__ = ["list_sources", "make_source", "source_family"]

_BETWEEN = re.compile(r",(?=[a-z_]+=)")  # a mixture of distributions has commas of its own


@cache
def _families() -> dict[str, Callable[..., PromptSource]]:
    return offered("ordinate.data.in_context", "PROMPTS")


def list_sources() -> list[str]:
    """The names of the families, sorted."""
    return sorted(_families())


def source_family(text: str) -> str:
    """The family that a source is of: what stands before the colon.

    Raises:
        InputError: there is none of that name.
    """
    return choose("family of prompts", text.partition(":")[0], _families())


def make_source(text: str) -> PromptSource:
    """The source that `text` describes.

    Raises:
        InputError: an unknown family or argument, an argument without a value, or a value that the family refuses.
    """
    family, given = source_family(text), text.partition(":")[2]
    arguments = {}
    for pair in _BETWEEN.split(given) if given else []:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier() or not value:
            raise InputError(f"{family}: arguments are name=value with commas between them, not {pair!r}")
        try:
            arguments[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            arguments[name] = value
    try:
        return _families()[family](**arguments)
    except TypeError as error:
        raise InputError(f"{family}: {str(error).split('()')[-1].strip()}") from None
