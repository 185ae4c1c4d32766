"""A user's own points, from the command line."""

from pathlib import Path

import pytest
import torch

from ordinate.data.planar import sample
from ordinate.data.planar_files import write_planar
from ordinate.generate.constraints import hull
from ordinate.generate.decoding import greedy
from ordinate.tasks.training_run import load_run
from tests.cli.call import ordinate

TINY = ("--set", "hidden=8", "--steps", 6, "--batch-size", 8, "--json")


@pytest.mark.parametrize("model", ["pointer", "seq2seq"])
def test_a_network_is_trained_on_a_file_of_points_kept_and_used(tmp_path: Path, model: str) -> None:
    write_planar(tmp_path / "hulls.txt", sample("hull", (4, 6), 30, 0))
    arguments = ("train", model, "--objective", "pointing", "--data", f"hull:{tmp_path / 'hulls.txt'}", "--out", tmp_path / "run", *TINY)
    said = ordinate(*arguments)
    assert said.status == 0, said.err
    assert {"accuracy@held-out", "area@held-out", "not simple@held-out"} <= said.document.keys()
    assert ordinate(*arguments, "--resume").document == said.document
    answers = greedy(load_run(tmp_path / "run").model, {"points": torch.rand(4, 6, 2)}, most=7, constraint=hull).symbols
    assert answers.shape[0] == 4 and (answers[:, :3] > 0).all()


def test_arms_are_compared_on_drawn_points(tmp_path: Path) -> None:
    said = ordinate(
        "compare",
        "pointer",
        "nearest-neighbour",
        "random",
        "--task",
        "planar",
        "--data",
        "tsp:4",
        "--steps",
        5,
        "--seeds",
        2,
        "--out",
        tmp_path / "out",
        "--json",
    )
    assert said.status == 0, said.err
    assert {row["arm"] for row in said.document["rows"]} == {"pointer", "nearest-neighbour", "random"}


def test_bad_points_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("0 0 1 0 output 1 2 1\n0 0 1 output 1 2 1\n")
    for data, words in (
        (f"hull:{tmp_path / 'bad.txt'}", "bad.txt, line 2"),
        ("hull:2", "3 or more points"),
        ("hole:5", "unknown planar problem 'hole'"),
    ):
        ordinate("train", "pointer", "--objective", "pointing", "--data", data, "--out", tmp_path / "run", *TINY).refused(2, words)
        assert not (tmp_path / "run").exists()
    ordinate("train", "vit-tiny", "--objective", "pointing", "--data", "hull:5", "--out", tmp_path / "run").refused(2, "n_max")
