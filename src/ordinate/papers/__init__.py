"""The papers, one file each, named by slug: citation, what it provides, its claims. No algorithm lives here.

`catalogue.toml` lists all 53 with their citations; a paper is built when it has a file, which says in `PAPER` what it provides and what is checked.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files

from ordinate.experiment.paper import Paper
from ordinate.ground.discovery import modules_of
from ordinate.ground.errors import InputError, choose

__all__ = ["Card", "catalogue", "get_paper", "list_papers"]


@dataclass(frozen=True)
class Card:
    """A line of the catalogue: the citation of a paper, built or not."""

    slug: str
    title: str
    arxiv: str
    year: int
    room: str
    about: str


@cache
def catalogue() -> dict[str, Card]:
    """All papers by slug, in alphabetical order."""
    cards = tomllib.loads((files(__package__) / "catalogue.toml").read_text(encoding="utf-8"))
    return {slug: Card(slug, **card) for slug, card in sorted(cards.items())}


@cache
def list_papers() -> tuple[str, ...]:
    """The slugs of the papers that are built, sorted."""
    return tuple(module.rpartition(".")[2].replace("_", "-") for module in modules_of(__name__))


def get_paper(slug: str) -> Paper:
    """The paper called `slug`.

    Raises:
        InputError: there is none of that name, or it is listed and not built yet.
    """
    if slug in catalogue() and slug not in list_papers():
        raise InputError(f"{slug} is in the catalogue and not built yet; built: {', '.join(list_papers())}")
    choose("paper", slug, {*list_papers(), *catalogue()})
    paper: Paper = import_module(f"{__name__}.{slug.replace('-', '_')}").PAPER
    return paper
