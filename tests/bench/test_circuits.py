import pytest

from ordinate.bench.base import get_bench


@pytest.mark.parametrize(("name", "sizes", "contenders"), [("circuit-edges", [3], 2), ("circuit-methods", None, 3)])
def test_every_bench_times_all_its_contenders(name: str, sizes: list[int] | None, contenders: int) -> None:
    said: list[str] = []
    result = get_bench(name).run(sizes, "cpu", True, said.append)
    assert len(result.rows) == len(said) == contenders and result.peer in {row.contender for row in result.rows}
    assert all(row.seconds > 0 for row in result.rows)
