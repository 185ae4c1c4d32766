"""Whatever is wrong, it is one clear line and the right status, and nothing is lost."""

import json
from pathlib import Path

import pytest

from tests.cli.call import ordinate, small_disk
from tests.cli.pictures import make_folder

COMPARE = ("--task", "image-classification", "--seeds", 2, "--steps", 2)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDINATE_RUNS", str(tmp_path / "runs"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("reproduce", "matrioshka"), "did you mean matryoshka"),
        (("reproduce", "s5"), "unknown paper 's5'"),
        (("reproduce", "matryoshka", "--claim", "nothing-of-the-kind"), "unknown claim"),
        (("reproduce", "matryoshka", "--scale", "huge"), "unknown scale 'huge'"),
        (("reproduce", "matryoshka", "--seeds", -3), "--seeds must be at least 1"),
        (("reproduce", "matryoshka", "--seed", -1), "--seed must be 0 or more"),
        (("reproduce", "matryoshka", "--steps", 0), "steps must be at least 1"),
        (("reproduce", "matryoshka", "--device", "abacus"), "unknown device"),
        (("reproduce", "matryoshka", "--resume"), "no run to resume"),
        (("reproduce",), "Missing argument"),
        (("reproduce", "matryoshka", "--bogus"), "No such option"),
        (("compare", "vit-tiny", "--task", "nothing"), "unknown task"),
        (("compare", "vit-tinny", *COMPARE), "did you mean vit-tiny"),
        (("compare", "vit-tiny", "vit-tiny", *COMPARE), "named twice"),
        (("compare", "vit-tiny", *COMPARE, "--data", "mnits"), "did you mean mnist"),
        (("compare", "vit-tiny", *COMPARE, "--data", "./not/there"), "no such folder"),
        (("train", "vit-tinny"), "did you mean vit-tiny"),
        (("train", "vit-tiny", "--objective", "classify"), "did you mean classification"),
        (("train", "vit-tiny", "--set", "depth"), "name=value"),
        (("train", "vit-tiny", "--set", "deepness=3"), "deepness"),
        (("train", "vit-tiny", "--with", "smoothing=3"), "smoothing"),
        (("train", "vit-tiny", "--lr", -1), "lr must be positive"),
        (("train", "vit-tiny", "--optimizer", "adamm"), "did you mean adamw"),
        (("train", "vit-tiny", "--batch-size", 0), "batch size must be at least 1"),
        (("train", "vit-tiny", "--matryoshka", "8;16"), "--matryoshka takes sizes"),
        (("train", "vit-tiny", "--workers", -1), "--workers"),
        (("embed", "no-run", "x.png"), "is not a training run"),
        (("embed", "no-run", "x.png", "-o", "out.txt"), "ends in .parquet or .npy"),
        (("bench", "speeed"), "unknown bench"),
        (("bench", "hulls", "--sizes", "512..64"), "sizes must be positive and ascending"),
        (("bench", "hulls", "--sizes", "many"), "sizes are given as"),
        (("data", "get", "imagenett"), "unknown dataset"),
        (("nothing",), "No such command"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_wrong_words(arguments: tuple[object, ...], words: str) -> None:
    ordinate(*arguments).refused(2, words)
    assert not list(Path("runs").rglob("*.json")), "a refused call left a run behind"


def test_an_absent_dataset_names_the_command_that_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDINATE_DATA", str(tmp_path / "empty"))
    ordinate("compare", "vit-tiny", *COMPARE, "--data", "mnist").refused(3, "ordinate data get mnist")
    ordinate("train", "vit-tiny", "--data", "cifar10").refused(3, "ordinate data get cifar10")


def test_an_absent_device_is_status_3() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    ordinate("reproduce", "matryoshka", "--device", "cuda").refused(3, "no CUDA device")


def test_folders_that_hold_no_classes(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ordinate("compare", "vit-tiny", *COMPARE, "--data", tmp_path / "empty").refused(2, "holds no images")
    make_folder(tmp_path / "one", classes=1)
    ordinate("compare", "vit-tiny", *COMPARE, "--data", tmp_path / "one").refused(2, "one class only")


def test_a_text_file_named_png_is_named_and_left_out_or_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "images")
    (folder / "class-0" / "liar.png").write_text("I am no picture")
    ordinate("train", "vit-tiny", "--data", folder, "--strict", "--steps", 1).refused(2, "liar.png")
    with pytest.warns(UserWarning, match=r"1 of 37 images cannot be read and are left out: .*liar.png"):
        from ordinate.data.images import open_images

        open_images(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    images = make_folder(folder / "images")
    said = ordinate("train", "vit-tiny", "--parameters", 20_000, "--data", images, "--steps", 3, "--out", folder / "run", "-q")
    assert said.status == 0, said.err
    return folder / "run"


def test_damaged_files_of_a_run_are_named(run: Path, tmp_path: Path) -> None:
    import shutil

    for file in ("model/model.safetensors", "model/config.json", "model/ordinate.json", "run.json"):
        copy = tmp_path / file.replace("/", "-")
        shutil.copytree(run, copy)
        path = copy / file
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        ordinate("embed", copy, run.parent / "images", "-o", tmp_path / "out.npy").refused(2, str(path))
    assert not (tmp_path / "out.npy").exists()


def test_evidence_cut_in_half_is_passed_over(tmp_path: Path) -> None:
    said = ordinate(
        "reproduce",
        "matryoshka",
        "--out",
        tmp_path / "runs/reproduce/matryoshka-smoke/20260101-000000",
        "--claim",
        "adaptive-retrieval",
        "-q",
        "--json",
    )
    path = Path(tmp_path / "runs/reproduce/matryoshka-smoke/20260101-000000/evidence.json")
    assert said.status in (0, 1) and json.loads(path.read_text()) == said.document
    path.write_text(path.read_text()[: path.stat().st_size // 2])
    listed = ordinate("papers", "matryoshka", "--json")
    assert listed.status == 0 and listed.document[0]["slug"] == "matryoshka"


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("precious")
    for command in (("reproduce", "matryoshka"), ("compare", "vit-tiny", *COMPARE), ("train", "vit-tiny", "--steps", 1)):
        ordinate(*command, "--out", tmp_path / "thesis").refused(2, "choose another folder with --out")
    assert [file.name for file in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


@pytest.mark.parametrize(
    "command",
    [
        ("train", "vit-tiny", "--parameters", 20_000, "--steps", 2),
        ("compare", "vit-tiny", *COMPARE),
        ("reproduce", "matryoshka", "--claim", "adaptive-retrieval"),
    ],
    ids=lambda command: command[0],
)
def test_a_folder_that_cannot_be_written(tmp_path: Path, command: tuple[object, ...]) -> None:
    with small_disk(tmp_path / "closed", "ro") as closed:
        ordinate(*command, "--out", closed / "run", "-q").refused(2, "cannot be written: choose another folder with --out")
    (tmp_path / "file").write_text("in the way")
    ordinate(*command, "--out", tmp_path / "file" / "run", "-q").refused(2, str(tmp_path / "file"))


def test_a_full_disk_is_one_line_and_the_run_goes_on_elsewhere(tmp_path: Path) -> None:
    """The disk fills while checkpoints are written; with room again, the same command with --resume ends the run."""
    train = ("train", "vit-tiny", "--parameters", 20_000, "--steps", 4, "-q")
    with small_disk(tmp_path / "disk", "size=200k") as disk:
        ordinate(*train, "--out", disk / "run").refused(2, "the disk is full")
        assert not list((disk / "run").rglob("*.partial"))
        import subprocess

        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        said = ordinate(*train, "--out", disk / "run", "--resume", "--json")
        assert said.status == 0 and said.document["run"] == str(disk / "run")
