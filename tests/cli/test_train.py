import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from ordinate.models.registry import load_model
from ordinate.retrieve.embeddings import read_embeddings
from tests.cli.call import ordinate
from tests.cli.pictures import make_folder

SMALL = ("--parameters", 20_000, "--batch-size", 16)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("pictures") / "images")


def test_a_model_is_trained_kept_and_used(images: Path, tmp_path: Path) -> None:
    said = ordinate("train", "vit-tiny", *SMALL, "--data", images, "--steps", 40, "--out", tmp_path / "run", "--json")
    assert said.status == 0, said.err
    assert said.document["accuracy"] > 60  # of three classes that a colour tells apart
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"run.json", "metrics.jsonl", "checkpoints", "model", "result.json"}
    again = ordinate("train", "vit-tiny", *SMALL, "--data", images, "--steps", 40, "--out", tmp_path / "run", "--resume", "--json")
    assert again.document == said.document
    for ending in ("parquet", "npy"):
        out = tmp_path / f"vectors.{ending}"
        embedded = ordinate("embed", tmp_path / "run", images, "-o", out, "--json")
        assert embedded.status == 0 and embedded.document["rows"] == 36
        found = read_embeddings(out)
        assert found.ids[0] == "class-0/00.png" and found.vectors.shape == (36, load_model(tmp_path / "run" / "model").num_features)
    assert read_embeddings(tmp_path / "vectors.parquet").labels[:2] == ["class-0", "class-0"]
    single = ordinate("embed", tmp_path / "run", images / "class-1" / "03.png", "-o", tmp_path / "one.npy", "--dim", 4, "--json")
    assert single.document["rows"] == 1 and read_embeddings(tmp_path / "one.npy").vectors.norm().item() == pytest.approx(1, abs=1e-5)
    ordinate("embed", tmp_path / "run", images, "--dim", 0).refused(2, "--dim must lie between 1 and")
    ordinate("embed", tmp_path / "run", tmp_path / "nowhere").refused(2, "no such file or folder")


def test_nested_embeddings_are_trained_from_the_command_line(tmp_path: Path) -> None:
    said = ordinate(
        "train",
        "vit-tiny",
        *SMALL,
        "--objective",
        "classification",
        "--data",
        "digits",
        "--matryoshka",
        "2,4,8",
        "--steps",
        5,
        "--out",
        tmp_path / "run",
        "--json",
    )
    assert said.status == 0, said.err
    assert load_file(tmp_path / "run" / "objective.safetensors")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["options"] == {"matryoshka": [2, 4, 8]}


def test_an_unfinished_run_says_how_to_finish_it(images: Path, tmp_path: Path) -> None:
    import shutil

    ordinate("train", "vit-tiny", *SMALL, "--data", images, "--steps", 3, "--out", tmp_path / "run", "-q")
    shutil.rmtree(tmp_path / "run" / "model")
    ordinate("embed", tmp_path / "run", images).refused(2, "is not finished")
    ordinate("train", "vit-tiny", *SMALL, "--data", images, "--steps", 4, "--out", tmp_path / "run", "--resume").refused(
        2, "another recipe"
    )


def test_control_c_then_the_printed_command_ends_the_run_with_the_same_bits(tmp_path: Path) -> None:
    """A real process, a real Ctrl-C, and the line that it prints."""
    words = ["train", "vit-tiny", "--parameters", "20000", "--data", "digits", "--steps", "120", "-q", "--out", "run"]
    program = [sys.executable, "-m", "ordinate.cli"]
    process = subprocess.Popen(
        [*program, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 90
    while not metrics.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "Go on with: ordinate train" in err
    again = err.split("Go on with: ordinate ")[1].splitlines()[0].split()
    subprocess.run([*program, *again], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([*program, *words[:-1], "whole"], cwd=tmp_path, check=True, capture_output=True)
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("run", "whole"))
    assert all(one[key].equal(other[key]) for key in other)
