"""A paper: its citation, the parts that it provides here, and its claims."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ordinate.experiment.claim import Claim
from ordinate.ground.errors import InputError

__all__ = ["Paper", "Part"]


@dataclass(frozen=True)
class Part:
    """Something that a paper provides here.

    Attributes:
        name: the field's term for it.
        where: ``"package.module:Name"``.
    """

    name: str
    where: str

    def load(self) -> Any:
        """The thing itself."""
        module, _, attribute = self.where.partition(":")
        thing: Any = import_module(module)
        for name in attribute.split("."):
            thing = getattr(thing, name)
        return thing


@dataclass(frozen=True)
class Paper:
    """One of the papers.

    Attributes:
        slug: kebab-case; the file is `papers/<slug with underscores>.py`.
        title, authors, year, venue: the citation.
        arxiv: its number, ``"2205.13147"``.
        code: the official repository, ``"github.com/owner/name"``, or None.
        room: where its main part lives, ``"objectives"``.
        summary: two or three sentences for someone who does not know it.
        provides: the parts.
        claims: what is checked.
        snippet: a few lines of Python that use it, runnable as they stand.
        outside: claims of the paper that are not checked here, and why.
    """

    slug: str
    title: str
    authors: str
    year: int
    venue: str
    arxiv: str
    code: str | None
    room: str
    summary: str
    provides: tuple[Part, ...]
    claims: tuple[Claim, ...]
    snippet: str
    outside: str = ""

    def __post_init__(self) -> None:
        names = [claim.name for claim in self.claims]
        if len(set(names)) != len(names):
            raise InputError(f"paper {self.slug!r} names a claim twice: {', '.join(names)}")
