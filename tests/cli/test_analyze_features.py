import json
from pathlib import Path

import pytest

from ordinate.tasks.feature_audit import audit_run
from tests.cli.call import ordinate


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mlp"
    said = ordinate("train", "mlp", "--data", "digits", "--steps", 60, "--set", "hidden=[32]", "--set", "num_features=16", "--out", folder)
    assert said.status == 0, said.err
    return folder


def test_a_run_is_held_against_the_labels_of_its_data(run: Path, tmp_path: Path) -> None:
    said = ordinate(
        "analyze", "features", run, "--data", "digits", "--limit", 300, "--layer", "body", "--layer", "body.0", "--out", tmp_path / "f"
    )
    assert said.status == 0, said.err
    for word in ("300 images, 2 layers", "class", "brightness", "contrast", "decoded %", "RSA of body and body.0", "are correlated"):
        assert word in said.out, word
    assert "2 figures" in said.err
    assert {path.name for path in (tmp_path / "f").iterdir()} == {"features.json", "features.svg", "features.png"}


def test_the_document_stands_alone_and_is_what_the_python_call_gives(run: Path, tmp_path: Path) -> None:
    said = ordinate("analyze", "features", run, "--data", "digits", "--limit", 200, "--no-properties", "--json", "--out", tmp_path / "f")
    assert said.err == "" and said.document == json.loads((tmp_path / "f" / "features.json").read_text())
    (row,) = said.document["rows"]
    assert (row["layer"], row["feature"]) == ("head:input", "class") and row["accuracy"] > 0.5 > row["chance"]
    again = audit_run(run, "digits", limit=200, properties=False)
    assert again.to_json() == said.document


def test_labels_of_one_s_own(run: Path, tmp_path: Path) -> None:
    ids = [f"{split}/{row}" for split, count in (("train", 1438), ("test", 359)) for row in range(count)]
    path = tmp_path / "own.csv"
    path.write_text("id,third\n" + "".join(f"{each},{number % 3}\n" for number, each in enumerate(ids)))
    report = audit_run(run, "digits", labels=path, limit=300, properties=False)
    assert report.row("head:input", "third").recovered < 0.3 < report.row("head:input", "class").recovered


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--layer", "neck"), "has no module 'neck'"),
        (("--pool", "middle"), "unknown pooling"),
        (("--limit", 5), "at least 20 images"),
        (("--labels", "nowhere.csv"), "no such file"),
    ],
)
def test_bad_usage_is_one_line(run: Path, tmp_path: Path, options: tuple[object, ...], words: str) -> None:
    ordinate("analyze", "features", run, "--data", "digits", "--out", tmp_path / "f", *options).refused(2, words)


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    ordinate("analyze", "features", tmp_path, "--data", "digits").refused(2, "is not a training run")
