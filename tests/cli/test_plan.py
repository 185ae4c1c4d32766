import json
from pathlib import Path

import pytest

from ordinate.data.linear_sources import SourceSampler, strong_and_weak
from tests.cli.call import ordinate


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORDINATE_RUNS", str(tmp_path / "runs"))
    sampler = SourceSampler(strong_and_weak(0, inputs=5, rank=2, tasks=6, noise=0.1), 0)
    rows = ["task,a,b,c,d,e,y"]
    for number, name in [*((task, f"s{task}") for task in range(6)), (-1, "wanted")]:
        X, y = sampler(number, 40)
        rows += [
            ",".join([name, *(f"{value:.6f}" for value in [*inputs, target])])
            for inputs, target in zip(X.tolist(), y.tolist(), strict=True)
        ]
    path = tmp_path / "samples.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_plan_is_printed_and_kept(table: Path, tmp_path: Path) -> None:
    said = ordinate("plan", "samples", table, "--target", "wanted", "--budget", 500, "--features", 2, "--out", tmp_path / "plan")
    assert said.status == 0, said
    assert "500 to buy for wanted, by l1" in said.out and "for the same precision each rule would need: l1 500" in said.out
    kept = json.loads((tmp_path / "plan" / "plan.json").read_text())
    bought = {row["task"]: row["samples"] for row in kept["sources"]}
    assert sum(bought.values()) == 500 and sorted(bought, key=bought.__getitem__)[-2:] in (["s0", "s1"], ["s1", "s0"])


def test_the_document_stands_alone_and_keeps_to_prices(table: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text("task,cost,cap\n" + "".join(f"s{task},{1 + task},50\n" for task in range(6)))
    said = ordinate(
        "plan",
        "samples",
        table,
        "--target",
        "wanted",
        "--budget",
        300,
        "--features",
        2,
        "--prices",
        prices,
        "--minimum",
        2,
        "--json",
        "--out",
        tmp_path / "p",
    )
    assert said.status == 0 and said.err == ""
    rows = said.document["sources"]
    assert all(2 <= row["samples"] <= 50 for row in rows)
    assert said.document["cost"] == sum(row["samples"] * (1 + int(row["task"][1:])) for row in rows) <= 300


def test_help_names_the_plans() -> None:
    assert "samples" in ordinate("plan", "--help").out and "--budget" in ordinate("plan", "samples", "--help").out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--target", "wonted"), "did you mean wanted"),
        (("--features", 9), "6 tasks share has 1 to 6 features, not 9"),
        (("--budget", 10, "--minimum", 3), "take 18, and the budget is 10"),
        (("--rule", "l7"), "unknown rule"),
        (("--penalty", "some"), "--penalty is a number, or cv"),
        (("--penalty", -1), "the penalty is 0 or more"),
        (("--prices", "absent.csv"), "absent.csv: no such file"),
        (("--task-column", "group"), "unknown column of samples.csv"),
    ],
)
def test_bad_input_is_one_line(table: Path, change: tuple, words: str) -> None:
    given = {"--target": "wanted", "--budget": 500, "--features": 2, **dict(zip(change[::2], change[1::2], strict=True))}
    ordinate("plan", "samples", table, *(part for pair in given.items() for part in pair)).refused(2, words)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    ordinate("plan", "samples", tmp_path / "none.csv", "--target", "a", "--budget", 5, "--features", 1).refused(2, "no such file")
