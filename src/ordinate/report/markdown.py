"""Pieces of Markdown: text in which nothing is taken for markup, and tables."""

import re
from collections.abc import Sequence

__all__ = ["plain", "table"]

_MARKUP = re.compile(r"([\\`*_{}\[\]<>|$~^#])")


def plain(text: str) -> str:
    """A text on one line that Markdown (GitHub's, and MyST with its mathematics) shows as it stands."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table of Markdown cells.

    Args:
        head: the columns' names.
        rows: of as many cells each.
        right: the columns that are set to the right, by number.
    """
    rules = ["---:" if index in right else "---" for index in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rules, *rows)) + "\n"
