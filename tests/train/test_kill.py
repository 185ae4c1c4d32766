"""Real processes are killed at random moments; nothing is lost, and what is resumed ends with the same bits. `ORDINATE_KILLS=200 pytest tests/train/test_kill.py` is the long form."""

import os
import random
import time
from pathlib import Path

from ordinate.train.checkpoint import latest_checkpoint, load_checkpoint
from tests.train.small import in_a_process, run, same

KILLS = int(os.environ.get("ORDINATE_KILLS", "12"))


def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    expected, _ = run(None)
    start = time.perf_counter()
    assert in_a_process(lambda: run(tmp_path / "whole", checkpoint_every=1)) == 0
    span = time.perf_counter() - start
    draw = random.Random(0)
    kills = folders = 0
    while kills < KILLS:
        folder = tmp_path / f"run-{folders}"
        folders += 1
        for _ in range(20):
            status = in_a_process(
                lambda folder=folder: run(folder, resume=True, checkpoint_every=1), kill_after=draw.uniform(0, 0.8 * span)
            )
            assert status in (-9, 0), "a resumed run failed by itself"
            found = latest_checkpoint(folder / "checkpoints")
            if found:
                load_checkpoint(found)  # whole, whenever the kill came
            if status == 0:
                break
            kills += 1
        weights, history = run(folder, resume=True, checkpoint_every=1)
        assert same(weights, expected)
        assert [step for step, _ in history.curves["loss"]] == list(range(1, 41))
