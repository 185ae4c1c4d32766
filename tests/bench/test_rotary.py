import pytest

from ordinate.bench.base import get_bench


def test_the_bench_runs() -> None:
    pytest.importorskip("transformers", reason="needs ordinate[language]")
    said: list[str] = []
    result = get_bench("rotary").run([16], "cpu", True, said.append)
    assert {row.contender for row in result.rows} == {"ordinate", "transformers"}
    assert len(said) == 2
