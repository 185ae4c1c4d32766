"""The contract of a paper, over every paper that is built."""

from importlib.resources import files

import pytest

from ordinate.experiment.evidence import Evidence, check_paper, judge_claim
from ordinate.experiment.setting import Setting
from ordinate.ground.errors import InputError, MissingError
from ordinate.papers import catalogue, get_paper, list_papers

SLUGS = list_papers()
EVIDENCE = files("ordinate.papers") / "evidence"


def test_the_catalogue_lists_53_papers_and_every_built_one() -> None:
    assert len(catalogue()) == 53
    assert set(SLUGS) <= catalogue().keys()


@pytest.mark.parametrize("slug", SLUGS)
def test_the_file_and_the_catalogue_agree(slug: str) -> None:
    paper, card = get_paper(slug), catalogue()[slug]
    assert (paper.slug, paper.title, paper.arxiv, paper.year, paper.room) == (slug, card.title, card.arxiv, card.year, card.room)


@pytest.mark.parametrize("slug", SLUGS)
def test_every_part_is_importable_and_documented(slug: str) -> None:
    paper = get_paper(slug)
    assert paper.provides
    for part in paper.provides:
        assert getattr(part.load(), "__doc__", None), f"{part.where} has no docstring"


@pytest.mark.parametrize("slug", SLUGS)
def test_every_claim_says_what_could_be_false(slug: str) -> None:
    for claim in get_paper(slug).claims:
        assert claim.statement.endswith(".") and claim.published, claim.name
        for scale in claim.scales:
            assert claim.bars_at(Setting(scale=scale)), f"{claim.name} has no bar at {scale}"


@pytest.mark.parametrize("slug", SLUGS)
def test_the_snippet_runs_as_it_stands(slug: str) -> None:
    exec(compile(get_paper(slug).snippet, f"{slug} snippet", "exec"), {})


@pytest.mark.parametrize("slug", SLUGS)
def test_committed_evidence_is_whole_and_judged_again_gives_its_verdicts(slug: str) -> None:
    paper = get_paper(slug)
    evidence = Evidence.load(EVIDENCE / f"{slug}.json")  # type: ignore[arg-type]
    setting = Setting(scale="full", seeds=tuple(evidence.setting["seeds"]))
    assert evidence.scale == "full" and len(setting.seeds) >= 3 and evidence.revision
    assert [finding.claim for finding in evidence.findings] == [claim.name for claim in paper.claims if "full" in claim.scales]
    for claim, finding in zip((claim for claim in paper.claims if "full" in claim.scales), evidence.findings, strict=True):
        again = judge_claim(claim, setting, finding.comparison, evidence.tables[finding.comparison])
        assert (again.verdict, again.statement, again.published) == (finding.verdict, finding.statement, finding.published), claim.name


@pytest.mark.parametrize("slug", SLUGS)
def test_the_claims_run_at_smoke_and_point_the_right_way(slug: str) -> None:
    """A claim that holds at full scale may be undecided at smoke, but must not fail."""
    paper = get_paper(slug)
    full = {finding.claim: finding.verdict for finding in Evidence.load(EVIDENCE / f"{slug}.json").findings}  # type: ignore[arg-type]
    try:
        smoke = check_paper(paper, Setting(scale="smoke"))
    except MissingError as error:
        pytest.skip(str(error))
    fallen = [finding.claim for finding in smoke.findings if finding.verdict == "fails" and full.get(finding.claim, "holds") == "holds"]
    assert not fallen, {finding.claim: finding.measured for finding in smoke.findings if finding.claim in fallen}


def test_unknown_and_unbuilt_papers_are_told_apart() -> None:
    with pytest.raises(InputError, match="did you mean matryoshka"):
        get_paper("matrioshka")
    for slug in catalogue().keys() - set(SLUGS):
        with pytest.raises(InputError, match="not built yet"):
            get_paper(slug)
