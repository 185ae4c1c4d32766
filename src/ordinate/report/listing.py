"""The listing: every paper of the catalogue, with what it provides, its claims, and what the latest evidence says of each.

Evidence has two homes. The project's own is committed in the package (`ordinate/papers/evidence/<slug>.json`, and `<slug>.gpu.json`); a user's is where `ordinate reproduce` left it
(`<runs>/reproduce/<slug>-<scale>/<time>/evidence.json`). For each claim the user's own comes before the project's, a larger scale before a smaller, and a newer run before an older; a run of a few claims only
leaves the others to the next in that order.
"""

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from ordinate.experiment.evidence import Evidence, Finding
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.provenance import changed_sources
from ordinate.experiment.setting import SCALES
from ordinate.experiment.verdict import Verdict
from ordinate.ground.errors import InputError, MissingError
from ordinate.papers import Card, catalogue, get_paper, list_papers

__all__ = ["Check", "ClaimEntry", "Entry", "Source", "committed_evidence", "list_entries", "make_entry", "own_evidence", "to_json"]

_LARGEST_FIRST = tuple(reversed(SCALES))
_TIME = re.compile(r"\d{8}-\d{6}")


@dataclass(frozen=True)
class Source:
    """One evidence document and whose it is.

    Attributes:
        evidence: the document.
        own: it is the user's own run, not the project's committed one.
        stale: modules that have changed since it was made; empty where it is fresh.
    """

    evidence: Evidence
    own: bool = False
    stale: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """One claim as one evidence document found it."""

    finding: Finding
    source: Source


@dataclass(frozen=True)
class ClaimEntry:
    """A claim and all that is known of it; the first of `checks` is what counts."""

    name: str
    statement: str
    published: str
    note: str = ""
    checks: tuple[Check, ...] = ()

    @property
    def check(self) -> Check | None:
        """The check that counts; None where the claim was never checked."""
        return self.checks[0] if self.checks else None

    @property
    def measured(self) -> str | None:
        """Our figure in a few words."""
        return self.check.finding.measured if self.check else None

    @property
    def verdict(self) -> Verdict | None:
        """`holds`, `fails`, `inconclusive`, or None where the claim was never checked."""
        return self.check.finding.verdict if self.check else None

    @property
    def scale(self) -> str | None:
        """The scale of the check that counts."""
        return self.check.source.evidence.scale if self.check else None

    @property
    def stale(self) -> bool:
        """Whether the sources have changed since that check."""
        return bool(self.check and self.check.source.stale)


@dataclass(frozen=True)
class Entry:
    """A paper in the listing. `built` is False for one that is in the catalogue only; `missing` says what an otherwise built paper lacks on this machine."""

    slug: str
    title: str
    arxiv: str
    year: int
    room: str
    about: str
    built: bool = False
    authors: str = ""
    venue: str = ""
    code: str | None = None
    summary: str = ""
    provides: tuple[Part, ...] = ()
    claims: tuple[ClaimEntry, ...] = ()
    snippet: str = ""
    outside: str = ""
    missing: str = ""

    @property
    def sources(self) -> list[Source]:
        """The evidence that the claims' verdicts come from, without repetition, in the order of the claims."""
        found: list[Source] = []
        for claim in self.claims:
            if claim.check and not any(claim.check.source is source for source in found):
                found.append(claim.check.source)
        return found

    def count(self, verdict: Verdict | None) -> int:
        """How many claims have this verdict."""
        return sum(claim.verdict == verdict for claim in self.claims)


def _read(path: Path, slug: str) -> Evidence | None:
    try:
        evidence = Evidence.load(path)
    except (InputError, OSError, ValueError, AttributeError) as error:
        warnings.warn(f"evidence passed over: {error}", stacklevel=2)
        return None
    if evidence.paper != slug or evidence.scale not in SCALES:
        warnings.warn(f"evidence passed over: {path} is of {evidence.paper!r} at scale {evidence.scale!r}, not of {slug}", stacklevel=2)
        return None
    return evidence


def committed_evidence(slug: str) -> list[Evidence]:
    """The project's own evidence of a paper, the larger scale first; damaged files are passed over with a warning."""
    found = []
    with as_file(files("ordinate.papers") / "evidence") as folder:
        for path in (folder / f"{slug}.gpu.json", folder / f"{slug}.json"):
            evidence = _read(path, slug) if path.is_file() else None
            if evidence:
                found.append(evidence)
    return found


def own_evidence(slug: str, runs: Path, claims: Sequence[str]) -> list[Evidence]:
    """A user's own evidence of a paper, the larger scale first and in it the newest.

    Args:
        slug: the paper.
        runs: the folder of the user's runs; need not exist.
        claims: the paper's claims; within a scale older runs are read only for claims that the newer ones left out. Empty reads the newest of each scale.
    """
    found = []
    for scale in _LARGEST_FIRST:
        left = set(claims)
        for evidence in _newest_first(slug, runs / "reproduce" / f"{slug}-{scale}"):
            if evidence.scale != scale:
                continue
            found.append(evidence)
            left -= {finding.claim for finding in evidence.findings}
            if not left:
                break
    return found


def _newest_first(slug: str, folder: Path) -> Iterator[Evidence]:
    places = [path for path in folder.iterdir() if (path / "evidence.json").is_file()] if folder.is_dir() else []
    for place in sorted(places, key=lambda path: (bool(_TIME.match(path.name)), path.name), reverse=True):
        evidence = _read(place / "evidence.json", slug)
        if evidence:
            yield evidence


def make_entry(card: Card, paper: Paper | None, sources: Sequence[Source] = (), missing: str = "") -> Entry:
    """Merge a line of the catalogue with the built paper and with evidence.

    Args:
        card: the line of the catalogue.
        paper: the paper, or None where it is not built or cannot be loaded here.
        sources: evidence, what counts most first.
        missing: why a built paper cannot be loaded here; its claims are then those that the evidence names.
    """
    checks: dict[str, list[Check]] = {}
    for source in sources:
        for finding in source.evidence.findings:
            checks.setdefault(finding.claim, []).append(Check(finding, source))
    if paper is None:
        findings = {name: found[0].finding for name, found in checks.items()}
        claims = tuple(ClaimEntry(name, of.statement, of.published, of.note, tuple(checks[name])) for name, of in findings.items())
        return Entry(
            card.slug, card.title, card.arxiv, card.year, card.room, card.about, built=bool(missing), claims=claims, missing=missing
        )
    return Entry(
        slug=card.slug,
        title=paper.title,
        arxiv=paper.arxiv,
        year=paper.year,
        room=paper.room,
        about=card.about,
        built=True,
        authors=paper.authors,
        venue=paper.venue,
        code=paper.code,
        summary=paper.summary,
        provides=paper.provides,
        claims=tuple(
            ClaimEntry(claim.name, claim.statement, claim.published, claim.note, tuple(checks.get(claim.name, ())))
            for claim in paper.claims
        ),
        snippet=paper.snippet,
        outside=paper.outside,
    )


def _entry(card: Card, runs: Path | None) -> Entry:
    if card.slug not in list_papers():
        return make_entry(card, None)
    try:
        paper, missing = get_paper(card.slug), ""
    except MissingError as error:
        paper, missing = None, str(error)
    names = [claim.name for claim in paper.claims] if paper else []
    found = [(evidence, True) for evidence in (own_evidence(card.slug, runs, names) if runs else [])]
    found += [(evidence, False) for evidence in committed_evidence(card.slug)]
    sources = []
    for evidence, own in found:
        changed = evidence.stale(paper) if paper else changed_sources(evidence.sources, evidence.sources)
        sources.append(Source(evidence, own, tuple(changed)))
    return make_entry(card, paper, sources, missing)


def list_entries(runs: Path | None = None, *, own: bool = True) -> list[Entry]:
    """All papers of the catalogue, in alphabetical order of their slugs.

    Args:
        runs: the folder of the user's runs; `$ORDINATE_RUNS`, or `./runs`, by default.
        own: whether the user's runs count; without them the listing is a pure function of the package.
    """
    place = (runs or Path(os.environ.get("ORDINATE_RUNS", "runs"))) if own else None
    return [_entry(card, place) for card in catalogue().values()]


def to_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The document of `ordinate papers --json`."""
    return [
        {
            "slug": entry.slug,
            "title": entry.title,
            "arxiv": entry.arxiv,
            "year": entry.year,
            "room": entry.room,
            "about": entry.about,
            "built": entry.built,
            "provides": [{"name": part.name, "where": part.where} for part in entry.provides],
            "claims": [
                {
                    "name": claim.name,
                    "statement": claim.statement,
                    "published": claim.published,
                    "measured": claim.measured,
                    "verdict": claim.verdict,
                    "stale": claim.stale,
                    "scale": claim.scale,
                }
                for claim in entry.claims
            ],
        }
        for entry in entries
    ]
