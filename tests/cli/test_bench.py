import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ordinate.bench import base
from ordinate.bench.base import Bench, BenchResult, Timing, list_benches
from ordinate.cli.bench import parse_sizes
from ordinate.ground.errors import InputError
from tests.cli.call import ordinate


def _run(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    watch("softmax")
    rows = [
        Timing(contender, size, 1e-6 * size**power, None if contender == "nprf" else 2**20, {"recall": 0.5})
        for size in sizes or (256, 512)
        for contender, power in (("softmax", 2.0), ("nprf", 1.0))
    ]
    return BenchResult(rows, "softmax", "length", {"nprf": (1.0, 0.9, 1.1)}, ("nprf is ahead from 256 on",))


@pytest.fixture(autouse=True)
def _benches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_benches", lambda: {"made-up": Bench("A made-up bench", _run)})
    monkeypatch.setenv("ORDINATE_RUNS", str(tmp_path / "runs"))


def test_sizes_double_or_are_listed() -> None:
    assert parse_sizes("256..2048") == [256, 512, 1024, 2048] and parse_sizes("100,300") == [100, 300] and parse_sizes("8..8") == [8]


@pytest.mark.parametrize("text", ["", "a", "1..b", "0..8", "8..4", "3,2", "2,2", "-1,2", "1.5", "4..8..16"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_sizes(text)


def test_without_a_name_the_benches_are_listed() -> None:
    assert "A made-up bench" in ordinate("bench").out
    assert ordinate("bench", "--json").document == {"made-up": "A made-up bench"}


def test_a_bench_prints_its_table_and_leaves_rows_and_figures(tmp_path: Path) -> None:
    said = ordinate("bench", "made-up", "--lengths", "64..256", "--out", tmp_path / "made")
    assert said.status == 0
    for part in ("times softmax", "recall", "1.00", "–", "nprf: time grows as length^1.00 [0.90, 1.10]", "nprf is ahead from 256 on"):
        assert part in said.out, part
    assert "softmax" in said.err and "6 figures" in said.err
    document = json.loads((tmp_path / "made" / "bench.json").read_text())
    assert [row["size"] for row in document["rows"]] == [64, 64, 128, 128, 256, 256]
    assert {path.stem for path in (tmp_path / "made" / "figures").iterdir()} == {"time", "memory", "quality"}


def test_the_document_stands_alone(tmp_path: Path) -> None:
    said = ordinate("bench", "made-up", "--json", "--out", tmp_path / "made")
    assert said.err == "" and said.document == json.loads((tmp_path / "made" / "bench.json").read_text())
    assert {"bench", "title", "machine", "versions", "revision", "rows", "peer", "exponents", "remarks"} <= said.document.keys()


def test_an_unknown_bench_or_device_is_refused() -> None:
    ordinate("bench", "made-down").refused(2, "did you mean made-up")
    ordinate("bench", "made-up", "--device", "abacus").refused(2, "unknown device")


def test_the_projects_own_benches_have_titles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert all(base.get_bench(name).title for name in list_benches())
