import json
from pathlib import Path

import pytest

from tests.cli.call import ordinate
from tests.experiment.counting import PAPER, rows_of


@pytest.fixture
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take longer than the counting does."""
    monkeypatch.setattr("ordinate.report.figures.save_evidence_figures", lambda evidence, folder: [])


@pytest.fixture(autouse=True)
def _counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ordinate.papers.get_paper", lambda slug: PAPER)
    monkeypatch.setenv("ORDINATE_RUNS", str(tmp_path / "runs"))


def test_claims_figures_and_verdicts_are_shown_and_a_failing_claim_is_status_1(tmp_path: Path) -> None:
    said = ordinate("reproduce", PAPER.slug, "--out", tmp_path / "check")
    assert said.status == 1
    for part in ("better", "by 39 (Table 1)", "✓ holds", "✗ fails", "huge: It is not.", "91"):
        assert part in said.out, part
    assert "evidence and 6 figures" in said.err
    assert sorted(path.name for path in (tmp_path / "check" / "figures").glob("*.png")) == [
        "claims.png",
        "good-poor-curves.png",
        "good-poor-scores.png",
    ]


@pytest.mark.usefixtures("_undrawn")
def test_the_document_is_the_evidence(tmp_path: Path) -> None:
    said = ordinate("reproduce", PAPER.slug, "--claim", "better", "--out", tmp_path / "check", "--json")
    assert said.status == 0 and said.err == ""
    assert said.document == json.loads((tmp_path / "check" / "evidence.json").read_text())
    assert [claim["verdict"] for claim in said.document["claims"]] == ["holds"]


@pytest.mark.usefixtures("_undrawn")
def test_an_undecided_claim_does_not_fail(tmp_path: Path) -> None:
    said = ordinate("reproduce", PAPER.slug, "--claim", "unclear", "--scale", "full", "--out", tmp_path / "check")
    assert said.status == 0 and "? inconclusive" in said.out


@pytest.mark.usefixtures("_undrawn")
def test_without_out_a_new_folder_is_made_and_the_latest_is_resumed(tmp_path: Path) -> None:
    for _ in range(2):
        assert ordinate("reproduce", PAPER.slug, "--claim", "better", "-q").status == 0
    folders = sorted((tmp_path / "runs" / "reproduce" / f"{PAPER.slug}-smoke").iterdir())
    assert len(folders) == 2
    rows_of(folders[1])[0].unlink()
    assert ordinate("reproduce", PAPER.slug, "--claim", "better", "-q", "--resume").status == 0
    assert len(rows_of(folders[1])) == 6 and len(list(folders[0].parent.iterdir())) == 2


@pytest.mark.usefixtures("_undrawn")
def test_an_interrupted_check_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.experiment.counting import Counting

    run = Counting.run

    def stop(self: Counting, *rest: object) -> object:
        if len(self.runs) == 3:
            raise KeyboardInterrupt
        return run(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Counting, "run", stop)
    command = ("reproduce", PAPER.slug, "--seeds", 4, "--seed", 7, "--claim", "better", "--out", tmp_path / "check")
    said = ordinate(*command)
    assert said.status == 130 and "finished runs are kept" in said.err
    again = said.err.replace("\n", " ").partition("Go on with: ordinate ")[2].partition(" ordinate:")[0].split()
    assert len(rows_of(tmp_path / "check")) == 3
    monkeypatch.setattr(Counting, "run", run)
    assert ordinate(*again).status == 0
    assert len(rows_of(tmp_path / "check")) == 8
