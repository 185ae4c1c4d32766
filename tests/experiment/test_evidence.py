import dataclasses
import json
from pathlib import Path

import pytest

from ordinate.experiment.claim import Bar, Claim, level
from ordinate.experiment.evidence import Evidence, check_paper, judge_claim
from ordinate.experiment.provenance import _meaning, changed_sources, source_hashes
from ordinate.experiment.setting import Setting
from ordinate.ground.errors import InputError
from tests.experiment.counting import PAPER, SETTING, comparison, rows_of


def test_claims_share_a_run_and_get_their_verdicts(tmp_path: Path) -> None:
    evidence = check_paper(PAPER, SETTING, folder=tmp_path / "check")
    assert {finding.claim: finding.verdict for finding in evidence.findings} == {"better": "holds", "huge": "fails", "counts": "holds"}
    assert evidence.verdict == "fails" and list(evidence.tables) == ["good-poor"]
    assert len(rows_of(tmp_path / "check")) == 6
    assert "score of good: 91" in evidence.findings[1].measured


def test_a_claim_is_checked_only_at_its_scales() -> None:
    full = check_paper(PAPER, dataclasses.replace(SETTING, scale="full"), only=["unclear"])
    assert [finding.verdict for finding in full.findings] == ["inconclusive"]
    with pytest.raises(InputError, match="no such claim at the smoke scale"):
        check_paper(PAPER, SETTING, only=["unclear"])
    with pytest.raises(InputError, match="unknown claim 'beter': did you mean better"):
        check_paper(PAPER, SETTING, only=["beter"])


def test_evidence_survives_json_and_can_be_judged_again(tmp_path: Path) -> None:
    evidence = check_paper(PAPER, Setting(seeds=(5,)), folder=tmp_path)
    read = Evidence.load(tmp_path / "evidence.json")
    assert read.to_json() == evidence.to_json()
    assert json.loads((tmp_path / "evidence.json").read_text())["claims"][0]["bars"][0]["low"] is None
    again = judge_claim(PAPER.claims[0], SETTING, "good-poor", read.tables["good-poor"])
    assert again.verdict == read.findings[0].verdict == "inconclusive"


def test_damaged_evidence_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    check_paper(PAPER, SETTING, folder=tmp_path / "check").save(path)
    whole = path.read_text()
    for damage in (whole[: len(whole) // 2], "[]", '{"schema": 99}', '{"schema": 1}'):
        path.write_text(damage)
        with pytest.raises(InputError, match="evidence"):
            Evidence.load(path)


def test_a_folder_belongs_to_one_check(tmp_path: Path) -> None:
    check_paper(PAPER, SETTING, folder=tmp_path / "check")
    with pytest.raises(InputError, match="holds a run already"):
        check_paper(PAPER, SETTING, folder=tmp_path / "check")
    check_paper(PAPER, SETTING, folder=tmp_path / "check", resume=True)
    with pytest.raises(InputError, match="another setting"):
        check_paper(PAPER, dataclasses.replace(SETTING, seeds=(7, 8)), folder=tmp_path / "check", resume=True)
    with pytest.raises(InputError, match="holds no run to resume"):
        check_paper(PAPER, SETTING, folder=tmp_path / "other", resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="not a run of this kind"):
        check_paper(PAPER, SETTING, folder=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


def test_evidence_is_stale_when_code_changes_and_not_when_prose_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "ordinate_probe.py"
    import ordinate.experiment.provenance as provenance

    monkeypatch.setattr(provenance, "_file_of", lambda module: package if module == "ordinate.probe" else None)
    package.write_text('"""About."""\n\n\ndef double(x):\n    """Twice."""\n    return 2 * x  # why\n')
    recorded = source_hashes(["ordinate.probe"])
    package.write_text('"""About it."""\ndef double(x):\n    """Two times x."""\n    return 2 * x\n')
    assert changed_sources(recorded, ["ordinate.probe"]) == []
    package.write_text("def double(x):\n    return 3 * x\n")
    assert changed_sources(recorded, ["ordinate.probe"]) == ["ordinate.probe"]


def test_a_note_may_be_written_after_the_evidence_and_a_bar_may_not() -> None:
    claim = 'Claim(name="a", bars=[level("x", "y", at_least={})], note="{}")\n'
    assert _meaning(claim.format(1, "Early.")) == _meaning(claim.format(1, "Early, as it turned out."))
    assert _meaning(claim.format(1, "")) != _meaning(claim.format(2, ""))
    assert _meaning('Arm(note="a")') != _meaning('Arm(note="b")')


def test_the_hash_of_a_source_is_the_same_under_every_python() -> None:
    """Recorded under 3.11; the syntax trees of 3.12 and 3.13 have other empty fields, which do not count."""
    source = 'def f(x, *, y=None, **rest) -> str:\n    """About."""\n    return f"{x:>{y}} {rest!r}"\n'
    assert _meaning(source) == ("aa5bdb49bd438086", frozenset())


def test_sources_are_followed_through_imports() -> None:
    hashes = source_hashes(["ordinate.models.registry"])
    assert {"ordinate.models.registry", "ordinate.models.base", "ordinate.ground.errors"} <= hashes.keys()
    assert not any(name.startswith("ordinate.experiment") for name in hashes)


def test_a_bar_without_a_bound_could_not_be_missed() -> None:
    with pytest.raises(InputError):
        Bar("free", lambda table: [1.0])


def test_a_paper_names_its_claims_once() -> None:
    claim = Claim("same", "s", "p", comparison, [level("good", "score", at_least=0)])
    with pytest.raises(InputError, match="names a claim twice"):
        dataclasses.replace(PAPER, claims=(claim, claim))
