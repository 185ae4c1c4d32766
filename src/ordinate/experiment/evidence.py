"""Evidence: what checking a paper's claims found, as one JSON document that can be read without the code that made it.

The document holds every row of every comparison, every bar with its values, interval and bound, the verdicts, and where it all comes from: machine, versions, revision, sources, setting, duration.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ordinate.experiment.claim import Bar, Claim
from ordinate.experiment.comparison import Comparison, Moment, Table
from ordinate.experiment.folder import claim_folder
from ordinate.experiment.paper import Paper
from ordinate.experiment.provenance import changed_sources, machine, revision, source_hashes, versions
from ordinate.experiment.setting import Setting
from ordinate.experiment.verdict import Verdict, combine, interval, judge
from ordinate.ground.errors import InputError, choose
from ordinate.ground.files import read_json, write_json

__all__ = ["SCHEMA", "Evidence", "Finding", "Judgement", "check_paper", "judge_claim", "source_roots"]

SCHEMA = 1


@dataclass
class Judgement:
    """One bar, measured."""

    label: str
    unit: str
    method: str
    values: list[float]
    mean: float
    low: float
    high: float
    at_least: float | None
    at_most: float | None
    verdict: Verdict


@dataclass
class Finding:
    """One claim, checked."""

    claim: str
    statement: str
    published: str
    measured: str
    verdict: Verdict
    comparison: str
    bars: list[Judgement]
    note: str = ""


@dataclass
class Evidence:
    """All that one check of a paper found."""

    paper: str
    scale: str
    setting: dict[str, Any]
    findings: list[Finding]
    tables: dict[str, Table]
    started: str
    seconds: float
    machine: dict[str, Any] = field(default_factory=machine)
    versions: dict[str, str] = field(default_factory=versions)
    revision: dict[str, Any] | None = field(default_factory=revision)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """Of all claims together."""
        return combine(finding.verdict for finding in self.findings)

    def stale(self, paper: Paper) -> list[str]:
        """The modules that have changed since; empty where the evidence is fresh."""
        return changed_sources(self.sources, source_roots(paper))

    def to_json(self) -> dict[str, Any]:
        """The document. Infinite interval ends (too few seeds) are written as null."""
        return {
            "schema": SCHEMA,
            "paper": self.paper,
            "scale": self.scale,
            "verdict": self.verdict,
            "setting": self.setting,
            "started": self.started,
            "seconds": round(self.seconds, 2),
            "machine": self.machine,
            "versions": self.versions,
            "revision": self.revision,
            "sources": self.sources,
            "claims": [_finite(asdict(finding)) for finding in self.findings],
            "comparisons": {name: table.to_json() for name, table in self.tables.items()},
        }

    def save(self, path: Path) -> None:
        """Write the document to `path`, whole or not at all."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> "Evidence":
        """Read a document.

        Raises:
            InputError: the file is not there, is damaged, or has another schema.
        """
        document = read_json(path)
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise InputError(f"{path} is not evidence of schema {SCHEMA}: make it afresh with ordinate reproduce")
        try:
            findings = [
                Finding(**{**claim, "bars": [Judgement(**_infinite(bar)) for bar in claim["bars"]]}) for claim in document["claims"]
            ]
            return cls(
                paper=document["paper"],
                scale=document["scale"],
                setting=document["setting"],
                findings=findings,
                tables={name: Table.from_json(table) for name, table in document["comparisons"].items()},
                started=document["started"],
                seconds=document["seconds"],
                machine=document["machine"],
                versions=document["versions"],
                revision=document["revision"],
                sources=document["sources"],
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} is not whole evidence ({error}): make it afresh with ordinate reproduce") from None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def _infinite(bar: dict[str, Any]) -> dict[str, Any]:
    ends = {"low": -math.inf, "high": math.inf}
    return {key: ends[key] if key in ends and value is None else value for key, value in bar.items()}


def source_roots(paper: Paper) -> list[str]:
    """The modules from which a paper's dependence on the sources is followed: its own file, and those of the parts that it provides."""
    return [f"ordinate.papers.{paper.slug.replace('-', '_')}", *(part.where.partition(":")[0] for part in paper.provides)]


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _measured(bars: Sequence[Judgement]) -> str:
    """The bar that decides, in a few words: the first that does not hold, else the first."""
    bar = next((bar for bar in bars if bar.verdict == "fails"), next((bar for bar in bars if bar.verdict != "holds"), bars[0]))
    unit = f" {bar.unit}" if bar.unit else ""
    spread = "" if bar.method == "exact" or not math.isfinite(bar.high) else f" [{_number(bar.low)}, {_number(bar.high)}]"
    return f"{bar.label}: {_number(bar.mean)}{spread}{unit}"


def _judge_bar(bar: Bar, table: Table) -> Judgement:
    values = [float(value) for value in bar.values(table)]
    found = interval(values, bar.method)
    return Judgement(
        bar.label,
        bar.unit,
        bar.method,
        values,
        found.mean,
        found.low,
        found.high,
        bar.at_least,
        bar.at_most,
        judge(found, bar.at_least, bar.at_most),
    )


def judge_claim(claim: Claim, setting: Setting, comparison: str, table: Table) -> Finding:
    """Hold a claim's bars against a table. A pure function of the rows: committed evidence is judged again by the tests."""
    bars = [_judge_bar(bar, table) for bar in claim.bars_at(setting)]
    return Finding(
        claim=claim.name,
        statement=claim.statement,
        published=claim.published,
        measured=claim.measured(table) if claim.measured else _measured(bars),
        verdict=combine(bar.verdict for bar in bars),
        comparison=comparison,
        bars=bars,
        note=claim.note,
    )


def check_paper(
    paper: Paper,
    setting: Setting,
    *,
    folder: Path | None = None,
    resume: bool = False,
    only: Iterable[str] = (),
    watch: Callable[[Moment], None] | None = None,
    found: Callable[[Finding], None] | None = None,
) -> Evidence:
    """Check a paper's claims.

    Args:
        paper: whose claims.
        setting: scale, seeds, device, data.
        folder: where rows, and at the end `evidence.json`, are kept; None keeps nothing.
        resume: go on with what `folder` holds, which must come from the same setting and sources.
        only: names of claims; empty checks all that are checked at this scale.
        watch: called before and after each run.
        found: called with each claim's finding.

    Raises:
        InputError: an unknown claim, none at this scale, a folder that holds another check, or nothing to resume from.
    """
    wanted = [choose("claim", name, [claim.name for claim in paper.claims]) for name in only]
    claims = [claim for claim in paper.claims if setting.scale in claim.scales and (not wanted or claim.name in wanted)]
    if not claims:
        raise InputError(f"{paper.slug} has no {'such ' if wanted else ''}claim at the {setting.scale} scale")
    sources = source_hashes(source_roots(paper))
    if folder:
        claim_folder(folder, "check.json", {"paper": paper.slug, "setting": setting.to_json(), "sources": sources}, resume)
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    runs: dict[Callable[[Setting], Comparison], tuple[str, Table]] = {}
    findings = []
    for claim in claims:
        if claim.comparison not in runs:
            comparison = claim.comparison(setting)
            if any(comparison.name == name for name, _ in runs.values()):
                raise InputError(f"{paper.slug}: two comparisons are called {comparison.name!r}")
            runs[claim.comparison] = comparison.name, comparison.run(setting, folder=folder and folder / "rows", resume=resume, watch=watch)
        name, table = runs[claim.comparison]
        finding = judge_claim(claim, setting, name, table)
        findings.append(finding)
        if found:
            found(finding)
    evidence = Evidence(
        paper=paper.slug,
        scale=setting.scale,
        setting=setting.to_json(),
        findings=findings,
        tables=dict(runs.values()),
        started=started,
        seconds=time.perf_counter() - clock,
        sources=sources,
    )
    if folder:
        evidence.save(folder / "evidence.json")
    return evidence
