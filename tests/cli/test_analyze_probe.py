import json
from pathlib import Path

import pytest

from ordinate.tasks.run_probe import probe_runs
from tests.cli.call import ordinate


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = [tmp_path_factory.mktemp("runs") / f"seed-{seed}" for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        said = ordinate(
            "train",
            "mlp",
            "--data",
            "digits",
            "--steps",
            20,
            "--seed",
            seed,
            "--set",
            "hidden=[8]",
            "--set",
            "num_features=4",
            "--out",
            folder,
        )
        assert said.status == 0, said.err
    return folders


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ordinate.analyze.feature_cache.cache_folder", lambda: tmp_path / "cache")


def test_runs_are_probed_each_by_itself_and_side_by_side(runs: list[Path], tmp_path: Path) -> None:
    said = ordinate(
        "analyze", "probe", *runs, "--data", "digits", "--labels", 200, "--limit", 300, "--l2", "1e-3,1e-1", "--out", tmp_path / "p"
    )
    assert said.status == 0, said.err
    for word in ("fitted on 200 images", "scored on 300", "side by side", "adds %", "CKA"):
        assert word in said.out, word
    document = json.loads((tmp_path / "p" / "probe.json").read_text())
    assert [row["width"] for row in document["rows"]] == [4, 4, 8]
    accuracies = [row["accuracy"] for row in document["rows"]]
    assert accuracies[2] > max(accuracies[:2]) and accuracies[0] - accuracies[2] == pytest.approx(-document["rows"][1]["adds"])


def test_the_document_is_what_the_python_call_gives(runs: list[Path], tmp_path: Path) -> None:
    said = ordinate("analyze", "probe", runs[0], "--data", "digits", "--limit", 200, "--solver", "ridge", "--json", "--out", tmp_path / "p")
    assert said.err == "" and said.document == probe_runs(runs[:1], "digits", limit=200, solver="ridge").to_json()
    assert said.document["cka"] is None and len(said.document["rows"]) == 1


def test_features_are_kept(runs: list[Path], tmp_path: Path) -> None:
    probe_runs(runs, "digits", limit=100, l2=(1e-2,), folder=tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 4  # two runs, training and test images


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--l2", "much"), "--l2 takes penalties"),
        (("--l2", "0,1"), "positive"),
        (("--labels", 1), "two or more images"),
        (("--solver", "newtn"), "did you mean newton"),
        (("--data", "mnst"), "mnist"),
    ],
)
def test_bad_usage_is_one_line(runs: list[Path], tmp_path: Path, options: tuple[object, ...], words: str) -> None:
    ordinate("analyze", "probe", runs[0], "--data", "digits", "--out", tmp_path / "p", *options).refused(2, words)


def test_the_same_run_twice_and_images_of_another_size_are_one_line(runs: list[Path], tmp_path: Path) -> None:
    ordinate("analyze", "probe", runs[0], runs[0], "--data", "digits", "--out", tmp_path / "p").refused(2, "the same weights")
    ordinate("analyze", "probe", runs[0], "--data", "digits@16", "--out", tmp_path / "p").refused(2, "digits@8")
    ordinate("analyze", "probe", tmp_path, "--data", "digits", "--out", tmp_path / "p").refused(2, "is not a training run")
