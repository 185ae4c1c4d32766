import json
from pathlib import Path

import pytest

from tests.cli.call import ordinate

TINY = ("--set", "hidden=8", "--set", "layers=1", "--set", "heads=2", "--steps", 6, "--batch-size", 8, "--json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    said = ordinate(
        "train", "in-context-transformer", "--objective", "in-context", "--data", "linear:d=2,n=5,noise=0.2", "--out", folder, *TINY
    )
    assert said.status == 0, said.err
    assert {"risk", "SPD OLS", "SPD Bayes"} <= said.document.keys()
    return folder


def test_a_run_is_followed(trained: Path, tmp_path: Path) -> None:
    said = ordinate("analyze", "incontext", trained, "--prompts", 30, "--asked", 4, "--out", tmp_path / "study")
    assert said.status == 0, said.err
    for part in ("nearest to", "OLS", "k-NN", "Bayes", "ILWD", "linear in the query"):
        assert part in said.out, part
    assert "2 figures" in said.err
    assert {path.name for path in (tmp_path / "study").iterdir()} == {"incontext.json", "incontext.svg", "incontext.png"}


def test_the_document_stands_alone_and_other_prompts_can_be_given(trained: Path, tmp_path: Path) -> None:
    arguments = ("analyze", "incontext", trained, "--data", "linear:d=2,n=4,noise=1", "--prompts", 20, "--asked", 0, "--json")
    said = ordinate(*arguments, "--out", tmp_path / "study")
    assert said.err == "" and said.document == json.loads((tmp_path / "study" / "incontext.json").read_text())
    assert said.document["n"] == 4 and len(said.document["nearest"]) == 3 and said.document["linearity"] is None
    assert set(said.document["references"]) == {"OLS", "ridge", "GD", "SGD", "k-NN", "Bayes", "zero"}


def test_what_cannot_be_followed_is_one_line(trained: Path, tmp_path: Path) -> None:
    def follow(*arguments: object):
        return ordinate("analyze", "incontext", *arguments, "--prompts", 10, "--out", tmp_path / "study")

    follow(trained, "--data", "linear:d=2,n=30").refused(2, "this network has 12 positions, and the prompt has 59 tokens")
    follow(trained, "--data", "linear:d=3,n=4").refused(2, "reads tokens (batch, tokens, 3)")
    follow(trained, "--data", "linear:d=2,n=0").refused(2, "d and n of at least 1")
    follow(tmp_path / "nowhere").refused(2, "is not a training run")
    assert not (tmp_path / "study").exists()


def test_a_run_of_another_kind_is_one_line(tmp_path: Path) -> None:
    points = ("train", "pointer", "--objective", "pointing", "--data", "hull:4", "--set", "hidden=8", "--steps", 2, "--batch-size", 4)
    assert ordinate(*points, "--out", tmp_path / "run", "--json").status == 0
    ordinate("analyze", "incontext", tmp_path / "run", "--out", tmp_path / "x").refused(2, "was trained on 'pointing', not in context")


def test_bad_networks_are_one_line(tmp_path: Path) -> None:
    start = ("train", "in-context-transformer", "--objective", "in-context", "--out", tmp_path / "run")
    ordinate(*start, "--data", "linear:d=2", "--set", "hidden=10", "--set", "heads=4", "--steps", 2).refused(
        2, "cannot be divided among 4 heads"
    )
    ordinate(*start, "--data", "linear:d=2,n=6", "--set", "max_length=4", "--set", "hidden=8", "--steps", 2).refused(2, "has 4 positions")
