import dataclasses
import shutil
import warnings
from functools import cache
from pathlib import Path

import pytest

from ordinate.experiment.evidence import Evidence, check_paper
from ordinate.experiment.setting import Setting
from ordinate.ground.errors import MissingError
from ordinate.papers import catalogue
from ordinate.report import listing
from ordinate.report.listing import Entry, Source, list_entries, make_entry, own_evidence, to_json
from tests.experiment.counting import PAPER

SLUG = PAPER.slug
CLAIMS = [claim.name for claim in PAPER.claims]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs where the counting paper is the only one that is built, and no evidence is committed."""
    monkeypatch.setattr(listing, "list_papers", lambda: (SLUG,))
    monkeypatch.setattr(listing, "get_paper", lambda slug: PAPER)
    monkeypatch.setattr(listing, "committed_evidence", lambda slug: [])
    return tmp_path / "runs"


@cache
def checked(scale: str, only: tuple[str, ...] = ()) -> Evidence:
    return check_paper(PAPER, Setting(scale=scale), only=only)


def leave(runs: Path, scale: str, time: str, only: tuple[str, ...] = (), **changes: object) -> Evidence:
    """Leave evidence where `ordinate reproduce` would."""
    evidence = dataclasses.replace(checked(scale, only), started=time, **changes)
    folder = runs / "reproduce" / f"{SLUG}-{scale}" / time
    folder.mkdir(parents=True)
    evidence.save(folder / "evidence.json")
    return evidence


def entry(runs: Path) -> Entry:
    return next(entry for entry in list_entries(runs) if entry.slug == SLUG)


def origins(found: Entry) -> dict[str, str | None]:
    return {claim.name: claim.check.source.evidence.started if claim.check else None for claim in found.claims}


def test_without_runs_every_claim_is_unchecked(runs: Path) -> None:
    found = list_entries(runs)
    assert [each.slug for each in found] == list(catalogue())
    assert {claim.verdict for claim in entry(runs).claims} == {None} and not entry(runs).sources
    assert [each.slug for each in found if each.built] == [SLUG]


def test_a_larger_scale_comes_before_a_newer_run_and_a_newer_before_an_older(runs: Path) -> None:
    leave(runs, "smoke", "20260103-000000")
    leave(runs, "full", "20260101-000000")
    leave(runs, "full", "20260102-000000")
    assert set(origins(entry(runs)).values()) == {"20260102-000000"}
    assert {claim.scale for claim in entry(runs).claims} == {"full"}
    assert [check.source.evidence.scale for check in entry(runs).claims[0].checks] == ["full", "smoke"]


def test_a_run_of_one_claim_leaves_the_others_to_the_next(runs: Path) -> None:
    leave(runs, "smoke", "20260103-000000")
    leave(runs, "full", "20260101-000000")
    leave(runs, "full", "20260102-000000", only=("huge",))
    assert origins(entry(runs)) == dict.fromkeys(CLAIMS, "20260101-000000") | {"huge": "20260102-000000"}
    assert [source.evidence.started for source in entry(runs).sources] == ["20260101-000000", "20260102-000000"]


def test_own_runs_come_before_the_committed_evidence(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = dataclasses.replace(checked("full"), started="committed")
    monkeypatch.setattr(listing, "committed_evidence", lambda slug: [committed])
    leave(runs, "smoke", "20260101-000000")
    assert origins(entry(runs)) == dict.fromkeys(CLAIMS, "20260101-000000") | {"unclear": "committed"}
    assert [source.own for source in entry(runs).sources] == [True, False]
    alone = next(each for each in list_entries(runs, own=False) if each.slug == SLUG)
    assert set(origins(alone).values()) == {"committed"}


def test_changed_sources_make_a_check_stale(runs: Path) -> None:
    leave(runs, "smoke", "20260101-000000")
    assert not any(claim.stale for claim in entry(runs).claims)
    leave(runs, "smoke", "20260102-000000", sources={"ordinate.ground.errors": "other"})
    assert [claim.stale for claim in entry(runs).claims] == [True, True, True, False]
    assert "ordinate.ground.errors" in entry(runs).sources[0].stale


def test_runs_in_folders_of_other_names_count_after_those_with_a_time(runs: Path) -> None:
    leave(runs, "smoke", "my-run")
    leave(runs, "smoke", "20260101-000000")
    assert origins(entry(runs))["better"] == "20260101-000000"
    shutil.rmtree(runs / "reproduce" / f"{SLUG}-smoke" / "20260101-000000")
    assert origins(entry(runs))["better"] == "my-run"


def test_damaged_or_foreign_evidence_is_passed_over_with_a_warning(runs: Path) -> None:
    leave(runs, "smoke", "20260101-000000")
    leave(runs, "smoke", "20260102-000000", paper="nprf")
    leave(runs, "smoke", "20260103-000000")
    path = runs / "reproduce" / f"{SLUG}-smoke" / "20260103-000000" / "evidence.json"
    path.write_text(path.read_text()[:100])
    with pytest.warns(UserWarning, match="evidence passed over"):
        assert origins(entry(runs))["better"] == "20260101-000000"


def test_an_unfinished_run_is_no_evidence(runs: Path) -> None:
    (runs / "reproduce" / f"{SLUG}-smoke" / "20260101-000000" / "rows").mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert own_evidence(SLUG, runs, CLAIMS) == []


def test_a_paper_whose_extra_is_absent_is_listed_from_its_evidence(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(slug: str) -> None:
        raise MissingError("this needs rdkit, which is not installed: pip install 'ordinate[molecules]'")

    leave(runs, "smoke", "20260101-000000")
    monkeypatch.setattr(listing, "get_paper", absent)
    found = entry(runs)
    assert found.built and "ordinate[molecules]" in found.missing
    assert [(claim.name, claim.verdict) for claim in found.claims] == [("better", "holds"), ("huge", "fails"), ("counts", "holds")]


def test_the_document_has_its_keys_for_every_paper(runs: Path) -> None:
    leave(runs, "smoke", "20260101-000000")
    document = to_json(list_entries(runs))
    assert len(document) == 53
    for paper in document:
        assert {"slug", "title", "arxiv", "year", "room", "provides", "claims"} <= paper.keys()
    (paper,) = [paper for paper in document if paper["slug"] == SLUG]
    assert paper["provides"] == [{"name": "the ground's errors", "where": "ordinate.ground.errors:InputError"}]
    assert paper["claims"][0] == {
        "name": "better",
        "statement": "Good is better than poor.",
        "published": "by 39 (Table 1)",
        "measured": "score, good minus poor: 40.7 [37.8, 43.5] %",
        "verdict": "holds",
        "stale": False,
        "scale": "smoke",
    }
    assert paper["claims"][3] == {
        "name": "unclear",
        "statement": "Good is above 91.",
        "published": "91",
        "measured": None,
        "verdict": None,
        "stale": False,
        "scale": None,
    }


def test_counts_are_of_the_checks_that_count() -> None:
    found = make_entry(catalogue()[SLUG], PAPER, [Source(checked("smoke"))])
    assert (found.count("holds"), found.count("fails"), found.count("inconclusive"), found.count(None)) == (2, 1, 0, 1)
