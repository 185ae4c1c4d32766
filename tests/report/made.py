"""Hand-made entries: the whole catalogue, with evidence of the counting paper under some slugs, and one paper all of whose strings are hostile."""

from dataclasses import replace
from functools import cache

from ordinate.experiment.comparison import Row, Table
from ordinate.experiment.evidence import Evidence, check_paper
from ordinate.experiment.paper import Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Metric
from ordinate.papers import catalogue
from ordinate.report.listing import Check, ClaimEntry, Entry, Source, make_entry
from tests.experiment.counting import PAPER

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=\"alert(1)\">{{ 7 * 7 }} & \"quoted\" 'too' $\\frac{"
FULL = ("pointer-networks", "matryoshka", "nprf")
STALE = "matryoshka"
HOSTILE_SLUG = "hornet"


@cache
def evidence(scale: str = "full", seeds: int = 3) -> Evidence:
    """Of the counting paper."""
    return check_paper(PAPER, Setting(scale=scale, seeds=tuple(range(seeds))))


def _hostile() -> Entry:
    rows = [
        Row(arm, seed, {HOSTILE: seed + 1.0}, {HOSTILE: [(0, 1.0), (1, float("inf")), (2, 3.0)]})
        for arm in (HOSTILE, "b")
        for seed in (0, 1)
    ]
    base = evidence()
    finding = replace(
        base.findings[0], claim=HOSTILE, statement=HOSTILE, published=HOSTILE, measured=HOSTILE, note=HOSTILE, comparison=HOSTILE
    )
    finding.bars = [replace(bar, label=HOSTILE, unit=HOSTILE) for bar in finding.bars]
    source = Source(
        replace(
            base,
            tables={HOSTILE: Table(rows, [Metric(HOSTILE, HOSTILE, meaning=HOSTILE)], HOSTILE)},
            findings=[finding],
            machine={"cpu": HOSTILE, "gpus": [HOSTILE]},
            versions={HOSTILE: HOSTILE},
            revision={"commit": HOSTILE, "dirty": True},
        ),
        own=True,
        stale=(HOSTILE,) * 9,
    )
    claim = ClaimEntry(HOSTILE, HOSTILE, HOSTILE, HOSTILE, (Check(finding, source),) * 2)
    card = catalogue()[HOSTILE_SLUG]
    return Entry(
        card.slug, HOSTILE, HOSTILE, card.year, HOSTILE, HOSTILE, True, HOSTILE, HOSTILE, HOSTILE, HOSTILE,
        (Part(HOSTILE, HOSTILE),), (claim,), HOSTILE, HOSTILE, HOSTILE,
    )  # fmt: skip


@cache
def entries() -> tuple[Entry, ...]:
    """One for every paper of the catalogue."""
    made = []
    for slug, card in catalogue().items():
        if slug == HOSTILE_SLUG:
            made.append(_hostile())
        elif slug in FULL:
            stale = ("ordinate.nn.pointer",) if slug == STALE else ()
            sources = [Source(evidence("smoke", 1), own=True), Source(evidence(), stale=stale)]
            made.append(make_entry(card, PAPER, sources[slug != "nprf" :]))
        else:
            made.append(make_entry(card, None))
    return tuple(made)
