import json
from pathlib import Path

import pytest
import torch

from ordinate.cli.analyze_circuit import open_subject
from ordinate.models.planted_induction import planted_induction
from ordinate.models.registry import save_model
from tests.analyze.transformers_models import gpt2
from tests.cli.call import ordinate

BRIEF = ("--steps", "5", "--features", "8", "--examples", "4", "--autoencoders", "2")


def numbers(path: Path, rows: list[list[int]]) -> Path:
    path.write_text("\n".join(" ".join(map(str, row)) for row in rows) + "\n\n")
    return path


@pytest.fixture
def asked(tmp_path: Path) -> list[object]:
    """The options that name the prompts."""
    draws = torch.Generator().manual_seed(0)
    places = [numbers(tmp_path / f"{name}.txt", torch.randint(0, 11, (6, 7), generator=draws).tolist()) for name in ("p", "n")]
    return ["--positive", places[0], "--negative", places[1], *BRIEF, "--out", tmp_path / "found"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    gpt2().save_pretrained(tmp_path / "gpt2")  # type: ignore[operator]
    return tmp_path / "gpt2"


def test_a_gpt2_is_ranked_with_a_table_a_figure_and_a_document(folder: Path, asked: list[object], tmp_path: Path) -> None:
    said = ordinate("analyze", "circuit", folder, *asked, "--truth", "0.1 1.2")
    assert said.status == 0, said.err
    for part in ("2 layers of 3 heads, 6 prompts", "L1H2", "AUC against the known heads: codes"):
        assert part in said.out, part
    assert {path.name for path in (tmp_path / "found").iterdir()} == {"circuit.json", "circuit.svg", "circuit.png"}
    document = json.loads((tmp_path / "found" / "circuit.json").read_text())
    assert document["AUC"].keys() == {"codes", "edges", "output norm", "mean difference"} and len(document["scores"]) == 2


def test_the_document_stands_alone_and_mlps_are_nodes(folder: Path, asked: list[object]) -> None:
    said = ordinate("analyze", "circuit", folder, *asked, "--mlp", "--matched", "--json")
    assert said.document["labels"][3] == "L0MLP" and "AUC" not in said.document and "figures" not in said.err


def test_a_model_of_ours_is_read(asked: list[object], tmp_path: Path) -> None:
    save_model(planted_induction(0, layers=2).model, tmp_path / "planted")
    assert ordinate("analyze", "circuit", tmp_path / "planted", *asked, "--json").document["layers"] == 2


def test_a_run_reads_text_with_its_own_vocabulary(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat. " * 60)
    arguments = ("--set", "dim=8", "--set", "depth=1", "--set", "heads=2")
    trained = ordinate(
        "train", "sequence", "--objective", "next-token", "--data", text, "--steps", "2", "--out", tmp_path / "run", *arguments
    )
    assert trained.status == 0, trained.err
    _, encode = open_subject(tmp_path / "run")
    assert encode is not None and len(encode("cat")) == 3
    (tmp_path / "p.txt").write_text("the cat\nthe mat\n")
    (tmp_path / "n.txt").write_text("cat the\nmat the\n")
    prompts = ("--positive", tmp_path / "p.txt", "--negative", tmp_path / "n.txt")
    assert ordinate("analyze", "circuit", tmp_path / "run", *prompts, *BRIEF, "--out", tmp_path / "found").status == 0
    (tmp_path / "n.txt").write_text("CAT\nmat\n")
    ordinate("analyze", "circuit", tmp_path / "run", *prompts, *BRIEF).refused(2, "has no 'A', 'C', 'T'")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--truth", "2.0"), "there is no head 2.0"),
        (("--truth", "0-1"), "layer.head"),
        (("--truth", "0.0 0.1 0.2 1.0 1.1 1.2"), "all are inside"),
        (("--pool", "max"), "unknown pooling"),
        (("--score", "guess"), "unknown score"),
        (("--examples", "1"), "at least 2"),
        (("--autoencoders", "0"), "at least one autoencoder"),
        (("--top", "0"), "--top"),
    ],
)
def test_bad_usage_is_one_line(folder: Path, asked: list[object], more: tuple[str, ...], words: str) -> None:
    ordinate("analyze", "circuit", folder, *asked, *more).refused(2, words)


def test_bad_prompts_and_folders_are_one_line(folder: Path, asked: list[object], tmp_path: Path) -> None:
    def call(model: Path, positive: Path) -> None:
        said.append(ordinate("analyze", "circuit", model, "--positive", positive, *asked[2:]))

    said: list[object] = []
    call(folder, numbers(tmp_path / "few.txt", [[1, 2]]))
    call(folder, numbers(tmp_path / "long.txt", [[1] * 17] * 6))
    call(folder, numbers(tmp_path / "none.txt", []))
    call(folder, tmp_path / "absent.txt")
    (tmp_path / "words.txt").write_text("one two\n")
    call(folder, tmp_path / "words.txt")
    call(folder, numbers(tmp_path / "beyond.txt", [[11]] * 6))
    call(tmp_path / "nowhere", tmp_path / "few.txt")
    (tmp_path / "empty").mkdir()
    call(tmp_path / "empty", tmp_path / "few.txt")
    expected = (
        "not 1 and 6",
        "17 tokens, and the model takes at most 16",
        "has no prompt",
        "no such file",
        "no tokenizer of its own",
        "has token 11",
        "no such folder",
        "holds no model",
    )
    for each, words in zip(said, expected, strict=True):
        each.refused(2, words)  # type: ignore[attr-defined]
