from pathlib import Path

from tests.cli.call import ordinate


def test_contenders_are_compared_on_several_tables_at_once(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("a,b,price\n" + "\n".join(f"{n},{n % 7},{3.5 * n + n % 3}" for n in range(40)))
    said = ordinate(
        "compare", "dkm", "ridge", "--task", "tables", "--data", f"{tmp_path / 'mine.csv'},wine", "--steps", "3", "--seeds", "1",
        "--json", "--out", tmp_path / "run",
    )  # fmt: skip
    assert said.status == 0
    names = [metric["name"] for metric in said.document["metrics"]]
    assert f"rmse@{tmp_path / 'mine.csv'}" in names and "ece@wine" in names and len(said.document["rows"]) == 2


def test_tables_that_cannot_be_compared_are_one_line(tmp_path: Path) -> None:
    for data, why in (("wine,wine", "none twice"), ("wine,nothing", "no table 'nothing'")):
        said = ordinate("compare", "dkm", "ridge", "--task", "tables", "--data", data, "--out", tmp_path / "run")
        assert said.status == 2 and why in said.err and said.out == ""
