import json
from pathlib import Path

import pytest

from tests.cli.call import ordinate


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    rows = [(m, n, 3 / m + 2 / n) for m in (100, 400, 1600) for n in (50, 200, 800)] + [(0, 100, 0.2), (0, 1000, 0.02)]
    path.write_text("m,n,risk\n" + "".join(f"{m},{n},{risk}\n" for m, n, risk in rows))
    return path


def test_a_plan_is_shown_and_kept(runs: Path, tmp_path: Path) -> None:
    said = ordinate("plan", "labels", runs, "--target", 0.005, "--cost-unlabelled", 1, "--cost-labelled", 100, "--out", tmp_path / "plan")
    assert said.status == 0, said.err
    for part in ("unlabelled rows", "labels alone would need", "bottleneck of the largest run", "95 % interval"):
        assert part in said.out, part
    assert "2 figures" in said.err
    assert {path.name for path in (tmp_path / "plan").iterdir()} == {"label-plan.json", "label-plan.svg", "label-plan.png"}


def test_the_document_stands_alone(runs: Path, tmp_path: Path) -> None:
    said = ordinate("plan", "labels", runs, "--target", 0.005, "--out", tmp_path / "plan", "--json")
    assert said.status == 0 and said.err == ""
    document = said.document
    assert document == json.loads((tmp_path / "plan" / "label-plan.json").read_text())
    assert 3 / document["m"] + 2 / document["n"] == pytest.approx(0.005, rel=0.01)
    assert document["m"] / document["n"] == pytest.approx((150) ** 0.5, rel=0.05)  # c_m m^2 / 3 = c_n n^2 / 2
    assert document["labels_alone"] == pytest.approx(4000, abs=2) and set(document["fit"]) == {"a", "p", "b", "q", "c"}


def test_what_cannot_be_planned_is_one_line(runs: Path, tmp_path: Path) -> None:
    def plan(*arguments: object):
        return ordinate("plan", "labels", *arguments, "--out", tmp_path / "plan")

    plan(tmp_path / "nothing.csv", "--target", 0.1).refused(2, "no such file")
    plan(runs, "--target", 0).refused(2, "out of reach")
    plan(runs, "--target", 0.1, "--cost-labelled", 0).refused(2, "prices must be positive")
    plan(runs).refused(2, "--target")
    (tmp_path / "few.csv").write_text("m,n,risk\n10,10,0.5\n")
    plan(tmp_path / "few.csv", "--target", 0.1).refused(2, "do not fix the curve")
    assert not (tmp_path / "plan").exists()
