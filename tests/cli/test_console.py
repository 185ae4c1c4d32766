import pytest

from ordinate.cli.console import arm_table, show, verdict_text
from ordinate.experiment.comparison import Row, Table
from ordinate.experiment.task import Metric


def make(metrics: int, arms: int, seeds: int = 3) -> Table:
    names = [f"metric {index}" for index in range(metrics)]
    rows = [Row(f"arm {arm}", seed, dict.fromkeys(names, arm + seed / 10)) for arm in range(arms) for seed in range(seeds)]
    return Table(rows, [Metric(name, "%", higher_is_better=False) for name in names], "A table")


def shown(table: Table, capsys: pytest.CaptureFixture[str]) -> list[str]:
    show(arm_table(table))
    return capsys.readouterr().out.splitlines()


def test_few_metrics_are_columns(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(make(2, 3), capsys)
    assert "3 seeds; ± is the half-width" in lines[0]
    (line,) = [line for line in lines if line.startswith("│ arm 1")]
    assert line.count("1.1 ± 0.25") == 2


def test_many_metrics_are_rows_so_that_no_name_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(make(8, 3), capsys)
    (line,) = [line for line in lines if line.startswith("│ metric 7 ↓  %")]
    assert "0.1 ± 0.25" in line and "1.1 ± 0.25" in line and "2.1 ± 0.25" in line
    assert any(line.startswith("│ peak MiB") and line.count("–") == 3 for line in lines)


def test_many_metrics_of_many_arms_are_several_tables(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(make(10, 11), capsys)
    assert sum(line.startswith("│ arm 10 ") for line in lines) == 2 and not any("…" in line for line in lines)
    assert sum("metric 9 ↓" in line for line in lines) == 1 and sum("peak MiB" in line for line in lines) == 1


def test_one_seed_has_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(make(1, 2, seeds=1), capsys)
    assert "1 seed: no interval" in lines[0] and "±" not in "".join(lines)


@pytest.mark.parametrize("verdict", ["holds", "fails", "inconclusive", None])
def test_a_verdict_has_a_sign_beside_its_colour(verdict: str | None) -> None:
    text = verdict_text(verdict)
    assert text.plain[0] in "✓✗?–" and text.style
