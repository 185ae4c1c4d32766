"""A user's own text: train on it, and write more of it."""

from pathlib import Path

import pytest

from tests.cli.call import ordinate

MIXERS = [("softmax-rotary", "rotary"), ("nprf", "sinusoidal")]


@pytest.mark.parametrize(("mixer", "position"), MIXERS)
def test_a_text_of_ones_own_is_learnt_and_gone_on_with(mixer: str, position: str, tmp_path: Path) -> None:
    (tmp_path / "my.txt").write_text("the cat sat on the mat. " * 60)
    run = tmp_path / "run"
    shape = [word for pair in ("dim=16", "depth=1", "heads=2", f"mixer={mixer}", f"position={position}") for word in ("--set", pair)]
    trained = ordinate(
        *("train", "sequence", "--objective", "next-token", "--data", tmp_path / "my.txt", "--steps", 40, *shape, "--out", run, "-q")
    )
    assert trained.status == 0, trained.err
    asked = ("generate", run, "-p", "the c", "-p", "sat", "-n", 90, "--json", "--temperature", 0.7, "--top-k", 5)
    texts = ordinate(*asked).document
    assert [one["prompt"] for one in texts] == ["the c", "sat"]
    assert all(len(one["text"]) == 90 and set(one["text"]) <= set("the cat sat on the mat. ") for one in texts)
    assert ordinate(*asked).document == texts
    alone = ordinate("generate", run, "-n", 5, "--temperature", 0)
    assert alone.status == 0
    assert len(alone.out) == 1 + 5 + 1
    ordinate("generate", run, "-p", "dog!").refused(2, "vocabulary")
    ordinate("generate", run, "--top-p", 0).refused(2, "top_p")
    ordinate("generate", run, "--temperature", -1).refused(2, "temperature")
    ordinate("generate", run, "-p", "").refused(2, "prompt")


def test_what_does_not_write_text_says_so(tmp_path: Path) -> None:
    ordinate("generate", tmp_path).refused(2, "not a training run")
