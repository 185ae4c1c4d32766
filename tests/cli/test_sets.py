"""Sets from the command line."""

from pathlib import Path

import torch

from ordinate.generate.constraints import tour
from ordinate.generate.decoding import greedy
from ordinate.tasks.training_run import load_run
from tests.cli.call import ordinate

TINY = ("--set", "dim=8", "--steps", 6, "--batch-size", 8, "--json")


def test_a_sorter_is_trained_kept_and_used(tmp_path: Path) -> None:
    arguments = ("train", "read-process-write", "--objective", "pointing", "--data", "sorting:3-4", "--out", tmp_path / "run", *TINY)
    said = ordinate(*arguments)
    assert said.status == 0, said.err
    assert {"accuracy@4", "accuracy@3", "nats@4"} <= said.document.keys()
    assert ordinate(*arguments, "--resume").document == said.document
    answers = greedy(load_run(tmp_path / "run").model, {"points": torch.rand(2, 6, 1)}, most=7, constraint=tour).symbols
    assert answers.sort(dim=1).values.tolist() == [[0, 1, 2, 3, 4, 5, 6]] * 2


def test_the_order_may_be_sought(tmp_path: Path) -> None:
    said = ordinate(
        *(
            "train",
            "read-process-write",
            "--objective",
            "order-search",
            "--data",
            "sorting:3-4",
            "--with",
            "mode=greedy",
            "--with",
            "warmup=2",
        ),
        *("--set", "mask_used=True", "--out", tmp_path / "sets", *TINY),
    )
    assert said.status == 0, said.err
    (tmp_path / "text.txt").write_text("one two three four five " * 120)
    said = ordinate(
        "train", "placed-lstm", "--objective", "order-search", "--data", tmp_path / "text.txt", "--out", tmp_path / "grams", *TINY
    )
    assert said.status == 0 and "perplexity" in said.document, said.err


def test_other_planar_problems_are_pointed_at_too(tmp_path: Path) -> None:
    said = ordinate("train", "read-process-write", "--objective", "pointing", "--data", "hull:5", "--out", tmp_path / "run", *TINY)
    assert said.status == 0 and "area@5" in said.document, said.err


def test_bad_sets_are_one_line(tmp_path: Path) -> None:
    for arguments, words in (
        (("read-process-write", "--objective", "pointing", "--data", "sorting:x"), "how many numbers"),
        (("read-process-write", "--objective", "pointing", "--data", "sorting:5", "--set", "glimpses=-1"), "glimpses at least 0"),
        (("read-process-write", "--objective", "order-search", "--data", "sorting:5", "--with", "mode=best"), "unknown mode 'best'"),
        (("pointer", "--objective", "order-search", "--data", "sorting:5"), "such as read-process-write, not PointerNetwork"),
    ):
        ordinate("train", *arguments, "--out", tmp_path / "run", "--steps", 2).refused(2, words)
        assert not (tmp_path / "run").exists()
