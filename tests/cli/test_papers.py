from functools import cache
from pathlib import Path

import pytest

from ordinate.experiment.evidence import Evidence, check_paper
from ordinate.papers import catalogue
from ordinate.report import listing
from tests.cli.call import ordinate
from tests.experiment.counting import PAPER, SETTING


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No runs but those that a test leaves."""
    monkeypatch.setenv("ORDINATE_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@cache
def _checked() -> Evidence:
    return check_paper(PAPER, SETTING)


@pytest.fixture
def counted(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counting paper is the only one that is built, and was checked once."""
    monkeypatch.setattr(listing, "list_papers", lambda: (PAPER.slug,))
    monkeypatch.setattr(listing, "get_paper", lambda slug: PAPER)
    monkeypatch.setattr(listing, "committed_evidence", lambda slug: [])
    _checked().save(runs / "reproduce" / f"{PAPER.slug}-smoke" / "20260101-000000" / "evidence.json")


def test_all_papers_are_listed() -> None:
    said = ordinate("papers")
    assert said.status == 0 and said.err == ""
    assert all(slug in said.out for slug in catalogue())


def test_the_document_has_the_keys_that_a_program_relies_on(counted: None) -> None:
    said = ordinate("papers", "--json")
    assert said.status == 0 and said.err == "" and len(said.document) == 53
    for paper in said.document:
        assert {"slug", "title", "arxiv", "year", "room", "provides", "claims"} <= paper.keys()
        for claim in paper["claims"]:
            assert claim.keys() == {"name", "statement", "published", "measured", "verdict", "stale", "scale"}
    (paper,) = [paper for paper in said.document if paper["slug"] == PAPER.slug]
    assert [(claim["name"], claim["verdict"], claim["scale"]) for claim in paper["claims"]] == [
        ("better", "holds", "smoke"),
        ("huge", "fails", "smoke"),
        ("counts", "holds", "smoke"),
        ("unclear", None, None),
    ]


def test_a_query_ranks_and_nonsense_finds_nothing() -> None:
    assert ordinate("papers", "shorter embeddings", "--json").document[0]["slug"] == "matryoshka"
    nothing = ordinate("papers", "sourdough bread")
    assert nothing.status == 0 and nothing.out == "" and "no paper matches" in nothing.err
    assert ordinate("papers", "sourdough bread", "--json").document == []


def test_a_slug_shows_its_paper_whole(counted: None) -> None:
    said = ordinate("papers", PAPER.slug)
    for part in ("A paper of numbers", "arXiv 2001.00001", "It counts.", "ordinate.ground.errors:InputError", "Good is above 95.", "96 (Table 1)", "✗ fails", "unchecked"):  # fmt: skip
        assert part in said.out, part
    assert len(ordinate("papers", PAPER.slug, "--json").document) == 1


def test_counts_and_what_is_not_built_are_told_apart(counted: None) -> None:
    lines = ordinate("papers").out.splitlines()
    (line,) = [line for line in lines if line.startswith(f"│ {PAPER.slug} ")]
    assert "✓2 ✗1 –1" in line
    assert sum("not built yet" in line for line in lines) == 52
